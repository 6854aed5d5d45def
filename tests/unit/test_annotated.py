"""Labels to Argilla and Label Studio, and a person's answers back from them.

What needs the tools' own packages (`pip install argilla label-studio-sdk`) is skipped where they are missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from xml.etree import ElementTree

import pytest

from icm_api.cli.main import main
from icm_api.data import answered_ids, load_fixed
from icm_api.errors import DataError
from icm_api.export import FormatName, LabelledData, Options, export_labels
from icm_api.types import Dataset, Example
from tests.labelled import NASTY, claims, reply_pairs, with_line

LABELS = ("True", "False")
PERSON, OTHER = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def exported(data: LabelledData, to: FormatName, folder: Path, options: Options | None = None) -> Path:
    return export_labels(data, to, folder / to, options).folder


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def written(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def named(data: LabelledData, name: str) -> LabelledData:
    """The same claims, their text under another name."""
    examples = [Example(each.id, {name: each.fields["text"]}, each.group) for each in data.dataset]
    template = replace(data.template, template=data.template.template.replace("{text}", f"{{{name}}}"))
    return replace(data, dataset=Dataset(examples), template=template)


def test_argilla_gets_suggestions_with_score_and_agent(tmp_path: Path) -> None:
    data = replace(
        with_line(claims("ab", instruction="Judge."), 1, fixed=True), model="vllm/me:key@10.0.0.1:8000/v1/m@1"
    )
    folder = exported(data, "argilla", tmp_path)
    first, second = rows(folder / "records.json")
    assert (first["id"], first["fields"], first["metadata"]) == ("c0", {"text": "a"}, {"confidence": 0.9})
    suggestion = {"value": "True", "score": 0.9, "agent": "vllm/10.0.0.1:8000/v1/m_1", "type": "model"}
    assert first["suggestions"] == {"label": suggestion}
    assert second["suggestions"]["label"]["type"] == "human"
    settings = json.loads((folder / ".argilla" / "settings.json").read_text())
    assert settings["guidelines"] == "Judge."
    assert [option["value"] for option in settings["questions"][0]["settings"]["options"]] == ["True", "False"]


def test_label_studio_gets_predictions_and_a_form(tmp_path: Path) -> None:
    folder = exported(named(claims("ab", instruction='Say "yes" & <no>'), "The Claim"), "label-studio", tmp_path)
    first, _ = rows(folder / "tasks.json")
    assert first["data"] == {"example_id": "c0", "the_claim": "a"}
    (prediction,) = first["predictions"]
    assert (prediction["score"], prediction["model_version"]) == (0.9, "m/1")
    answer = {"from_name": "label", "to_name": "the_claim", "type": "choices", "value": {"choices": ["True"]}}
    assert prediction["result"] == [answer]
    form = ElementTree.parse(folder / "config.xml").getroot()
    assert [each.get("value") for each in form.iter("Choice")] == ["True", "False"]
    assert [each.get("value") for each in form.iter("Text")] == ["$the_claim"]
    assert next(form.iter("Header")).get("value") == 'Say "yes" & <no>  It is'


@pytest.mark.parametrize(("to", "file"), [("argilla", "records.json"), ("label-studio", "tasks.json")])
def test_blind_shows_nothing_of_what_was_found(to: FormatName, file: str, tmp_path: Path) -> None:
    folder = exported(claims("ab"), to, tmp_path, Options(blind=True))
    text = (folder / file).read_text()
    assert '"True"' not in text
    assert "0.9" not in text
    assert "m/1" not in text


@pytest.mark.parametrize("to", ["argilla", "label-studio"])
def test_names_that_a_tool_does_not_take_are_changed_and_stay_apart(to: FormatName, tmp_path: Path) -> None:
    fields = {"Text": "a", "text ": "b", "label": "c", "ÜÖ": "d", "id": "e"}
    data = claims("a")
    data = replace(data, dataset=Dataset([Example("c0", fields, "g0")]))
    data = replace(data, template=replace(data.template, template="{Text}"))
    (row,) = rows(exported(data, to, tmp_path) / ("records.json" if to == "argilla" else "tasks.json"))
    texts = row["fields"] if to == "argilla" else {k: v for k, v in row["data"].items() if k != "example_id"}
    assert list(texts.values()) == list("abcde")
    assert len(texts) == 5
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_]*", name) for name in texts)
    assert not {"label", "id"} & texts.keys()


def argilla_answers(data: LabelledData, folder: Path, answers: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Records as Argilla writes them, with what people answered."""
    found = rows(exported(data, "argilla", folder) / "records.json")
    for record, given in zip(found, answers, strict=True):
        people = (PERSON, OTHER, OTHER[::-1])
        record["responses"] = {
            "label": [{"value": value, "user_id": person} for value, person in zip(given, people, strict=False)]
        }
    return found


def studio_answers(data: LabelledData, folder: Path, answers: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Tasks as Label Studio exports them, with what people answered."""
    found = rows(exported(data, "label-studio", folder) / "tasks.json")
    number = 0
    for at, (task, given) in enumerate(zip(found, answers, strict=True), start=1):
        task |= {"id": at, "annotations": []}
        for value in given:
            number += 1
            answer = {**task["predictions"][0]["result"][0], "id": f"r{number}", "value": {"choices": [value]}}
            task["annotations"].append(
                {
                    "id": number,
                    "completed_by": 1,
                    "was_cancelled": False,
                    "created_at": "2026-11-26T00:00:00Z",
                    "updated_at": "2026-11-26T00:00:00Z",
                    "lead_time": 1.5,
                    "result": [answer],
                }
            )
    return found


def flat(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As `to_list(flatten=True)` writes the records."""
    found = []
    for record in records:
        answers = record["responses"]["label"]
        found.append(
            {
                "id": record["id"],
                **record["fields"],
                "label.responses": [each["value"] for each in answers] or None,
                "label.responses.status": ["submitted" for _ in answers] or None,
                "label.suggestion": "False",
            }
        )
    return found


def short(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As Label Studio's JSON-MIN writes the tasks: a row an annotation."""
    return [
        {**task["data"], "id": task["id"], "label": each["result"][0]["value"]["choices"][0], "annotator": 1,
         "annotation_id": each["id"], "lead_time": 1.5}
        for task in tasks for each in task["annotations"]
    ]  # fmt: skip


def as_table(rows: list[dict[str, Any]]) -> str:
    keys = list(rows[0])
    lines = [keys, *([str(row[key]) for key in keys] for row in rows)]
    return "".join(",".join(line) + "\r\n" for line in lines)


ANSWERS: tuple[list[str], ...] = (["False"], ["True", "False", "True"], [], ["True", "False"])
"""One person; two of three; nobody; two who differ."""
MEANT = {"c0": "False", "c1": "True"}


@pytest.mark.parametrize("shape", ["argilla", "argilla flat", "label-studio", "label-studio min", "label-studio csv"])
def test_answers_come_back_from_every_shape(shape: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = claims("abcd")
    if shape.startswith("argilla"):
        found = argilla_answers(data, tmp_path, ANSWERS)
        path = written(tmp_path / "answers.json", flat(found) if shape.endswith("flat") else found)
    else:
        found = studio_answers(data, tmp_path, ANSWERS)
        path = written(tmp_path / "answers.json", short(found) if shape.endswith("min") else found)
        if shape.endswith("csv"):
            path = tmp_path / "answers.csv"
            path.write_text(as_table(short(found)), encoding="utf-8")
    assert dict(load_fixed(path, data.dataset, LABELS)) == MEANT
    assert "1 example is left open" in caplog.text
    assert answered_ids(path) >= MEANT.keys()


def test_what_was_cancelled_or_is_a_draft_is_no_answer(tmp_path: Path) -> None:
    data = claims("ab")
    tasks = studio_answers(data, tmp_path, (["True"], ["False"]))
    tasks[0]["annotations"][0]["was_cancelled"] = True
    assert dict(load_fixed(written(tmp_path / "t.json", tasks), data.dataset, LABELS)) == {"c1": "False"}
    records = argilla_answers(data, tmp_path, (["True"], ["False"]))
    records[0]["responses"]["label"][0]["status"] = "draft"
    assert dict(load_fixed(written(tmp_path / "r.json", records), data.dataset, LABELS)) == {"c1": "False"}
    listed = flat(argilla_answers(data, tmp_path / "flat", (["True"], ["False"])))
    listed[0]["label.responses.status"] = ["discarded"]
    assert dict(load_fixed(written(tmp_path / "f.json", listed), data.dataset, LABELS)) == {"c1": "False"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotations": {"a": 1}}, "'annotations' is"),
        ({"annotations": [{"id": 1}]}, "no 'result'"),
        ({"annotations": [{"result": [{"from_name": "label", "value": {"choices": ["True", "False"]}}]}]}, "one label"),
        (
            {"annotations": [{"result": [{"from_name": "label", "value": {"choices": ["Maybe"]}}]}]},
            "not in the label set",
        ),
        (
            {"annotations": [{"result": [{"from_name": "mood", "value": {"choices": ["True"]}}]}]},
            "'mood', and no 'label'",
        ),
        ({"data": {"text": "a"}}, "none of an annotation tool"),
        ({"data": {"example_id": "c9"}}, "not in the data set"),
    ],
)
def test_answers_that_cannot_be_used_are_named(change: dict[str, object], says: str, tmp_path: Path) -> None:
    data = claims("ab")
    tasks = studio_answers(data, tmp_path, (["True"], ["False"]))
    tasks[1] |= change
    with pytest.raises(DataError, match=rf"t\.json.*2.*{says}"):
        load_fixed(written(tmp_path / "t.json", tasks), data.dataset, LABELS)


def test_another_question_of_argilla_is_named(tmp_path: Path) -> None:
    data = claims("a")
    (record,) = argilla_answers(data, tmp_path, (["True"],))
    record["responses"] = {"mood": record["responses"]["label"]}
    with pytest.raises(DataError, match=r"answers 'mood', and no 'label'"):
        load_fixed(written(tmp_path / "r.json", [record]), data.dataset, LABELS)


def test_a_sample_goes_blind_to_a_tool_and_its_answers_check_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--task", "facts", "--size", "16", "--out", str(tmp_path / "demo")]) == 0
    run = str(next((tmp_path / "demo").iterdir()) / "run")
    out = tmp_path / "sample"
    assert main(["queue", run, "--random", "6", "--to", "label-studio", "--out", str(out)]) == 0
    assert "without labels" in capsys.readouterr().out
    tasks = rows(out / "tasks.json")
    assert [task["predictions"] for task in tasks] == [[]] * 6
    labels = {row["id"]: row["label"] for row in map(json.loads, (Path(run) / "labels.jsonl").read_text().splitlines())}
    for at, task in enumerate(tasks):
        value = {"choices": [labels[task["data"]["example_id"]]]}
        task |= {"id": at, "annotations": [{"result": [{"from_name": "label", "type": "choices", "value": value}]}]}
    assert main(["check", run, str(written(tmp_path / "answers.json", tasks)), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["right"], found["answered"]) == (6, 6)


PAIRS = reply_pairs(["AB", "BA"])


@pytest.fixture
def argilla(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, with no server behind it."""
    argilla = pytest.importorskip("argilla")
    monkeypatch.setattr(argilla.Argilla, "_get_default", classmethod(lambda cls: MagicMock()))
    return argilla


@pytest.mark.parametrize("data", [claims(NASTY), PAIRS], ids=["claims", "pairs"])
def test_argilla_reads_what_was_written_and_its_answers_are_read(
    data: LabelledData, argilla: Any, tmp_path: Path
) -> None:
    folder = exported(data, "argilla", tmp_path)
    settings = argilla.Settings.from_json(folder / ".argilla" / "settings.json")
    settings.validate()
    (question,) = settings.questions
    assert [label if isinstance(label, str) else label.value for label in question.labels] == list(
        data.verbalizer.labels
    )
    records = [argilla.Record.from_dict(each) for each in rows(folder / "records.json")]
    assert [each.id for each in records] == list(data.dataset.ids)
    assert [dict(each.fields) for each in records] == [dict(each.fields) for each in data.dataset]
    assert [each.suggestions["label"].value for each in records] == [line.label for line in data.result.examples]
    other = {
        row.id: next(label for label in data.verbalizer.labels if label != row.label) for row in data.result.examples
    }
    for record in records:
        record.responses.add(argilla.Response("label", other[record.id], user_id=PERSON))
    path = written(tmp_path / "answers.json", [record.to_dict() for record in records])
    assert dict(load_fixed(path, data.dataset, data.verbalizer.labels)) == other


@pytest.mark.parametrize("data", [claims(NASTY), PAIRS], ids=["claims", "pairs"])
def test_label_studio_reads_what_was_written_and_its_exports_are_read(data: LabelledData, tmp_path: Path) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    converter = pytest.importorskip("label_studio_sdk.converter")
    folder = exported(data, "label-studio", tmp_path)
    form = (folder / "config.xml").read_text(encoding="utf-8")
    project = interface.LabelInterface(form)
    project.validate()
    tasks = rows(folder / "tasks.json")
    for task in tasks:
        assert project.validate_task({"data": task["data"]})
        assert [project.validate_prediction(each, return_errors=True) for each in task["predictions"]] == [[]]
    first = data.verbalizer.labels[0]
    answered = studio_answers(data, tmp_path / "answers", [[first]] * len(tasks))
    source = written(tmp_path / "export.json", answered)
    made = converter.Converter(form, project_dir=str(tmp_path), upload_dir=str(tmp_path))
    made.convert_to_json_min(str(source), str(tmp_path / "min"), is_dir=False)
    made.convert_to_csv(str(source), str(tmp_path / "csv"), is_dir=False, sep=",")
    meant = dict.fromkeys(data.dataset.ids, first)
    (csv,) = (tmp_path / "csv").iterdir()
    for path in (source, tmp_path / "min" / "result.json", csv):
        assert dict(load_fixed(path, data.dataset, data.verbalizer.labels)) == meant
