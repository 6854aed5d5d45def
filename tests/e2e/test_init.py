"""`icm-api init`: each packaged configuration runs as it is written, on the embedded model and files of its format."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.config import load_config
from icm_api.config.presets import task_config, task_names
from icm_api.data import load_gold_labels
from icm_api.errors import ConfigError
from icm_api.runs import build_task, data_source, load_dataset
from icm_api.testing import serve

DATA = Path(__file__).parents[1] / "data"
SAMPLES = {
    "alpaca": "alpaca.json",
    "classification": "sentiment.csv",
    "gsm8k": "gsm8k_example_solutions.jsonl",
    "principle": "hh.jsonl",
    "ratings": "sentiment.csv",
    "truthfulqa": "truthfulqa.csv",
    "truthfulqa-pairs": "truthfulqa.csv",
}
COLUMNS = {"classification": "sentiment", "ratings": "stars"}
Printed = pytest.CaptureFixture[str]


def init(folder: Path, task: str, *flags: str) -> Path:
    out = folder / f"{task}.toml"
    assert main(["init", task, "--data", str(DATA / SAMPLES[task]), "--out", str(out), *flags]) == 0
    return out


def test_there_is_a_sample_for_every_task() -> None:
    assert task_names() == tuple(sorted(SAMPLES))


@pytest.mark.parametrize("task", SAMPLES)
def test_init_run_evaluate_on_a_file_of_the_tasks_own_format(
    task: str, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = init(tmp_path, task, "--model", "pocket")
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    monkeypatch.setenv("ICM_DATA__LIMIT", "6")
    assert main(["audit", str(config)]) == 0
    assert main(["plan", str(config)]) == 0
    assert main(["run", str(config), "--steps", "3"]) == 0
    capsys.readouterr()
    label = ["--label-field", COLUMNS[task]] if task in COLUMNS else []
    gold = str(DATA / SAMPLES[task])
    assert main(["evaluate", str(tmp_path / "runs" / task), "--gold", gold, "--json", *label]) == 0
    found = json.loads(capsys.readouterr().out)
    labelled = (tmp_path / "runs" / task / "labels.jsonl").read_text().splitlines()
    loaded = load_config(config, environment=False)
    whole = load_gold_labels(data_source(loaded), label_field=COLUMNS.get(task))
    assert found["compared"] + found["without_gold"] == len(labelled)
    assert found["unknown_ids"] == len(set(whole) - {json.loads(line)["id"] for line in labelled})


@pytest.mark.slow  # The same runs on the embedded model are never left out.
@pytest.mark.parametrize("task", SAMPLES)
def test_it_runs_on_a_server(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    monkeypatch.setenv("ICM_DATA__LIMIT", "6")
    # The embedded model reads most words byte by byte, and takes 1,024 of them.
    monkeypatch.setenv("ICM_MODEL__OPTIONS", json.dumps({"context_window": 340}))
    with serve(dialect="vllm") as server:
        config = init(tmp_path, task, "--model", f"vllm:{server.model}@{server.url}")
        assert main(["run", str(config), "--steps", "3"]) == 0
        assert server.log.total > 0
    rows = (tmp_path / "runs" / task / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    labels = build_task(load_config(config, environment=False)).verbalizer.labels
    assert {json.loads(row)["label"] for row in rows} <= set(labels)
    verdict = json.loads((tmp_path / "runs" / task / "summary.json").read_text(encoding="utf-8"))["diagnosis"]
    # It knows nothing of these texts.
    assert verdict["coherent"] != "coherent"


@pytest.mark.parametrize("task", SAMPLES)
def test_the_prompt_fits_the_data_and_the_labels_the_gold(task: str, tmp_path: Path) -> None:
    config = load_config(init(tmp_path, task), environment=False)
    template = tomllib.loads(task_config(task))["prompt"]["template"]
    assert template == template.strip()
    built, data = build_task(config), load_dataset(config)
    assert all(built.template.render(example) for example in data)
    gold = load_gold_labels(data_source(config), label_field=COLUMNS.get(task))
    assert set(gold.values()) <= set(built.verbalizer.labels)


def test_the_model_and_the_data_are_filled_in_and_nothing_else_changes(tmp_path: Path) -> None:
    strange = 'a\\1 "b"\u00fc.csv'
    plain, filled = (task_config("truthfulqa", **values) for values in ({}, {"data": strange, "model": "pocket"}))
    found = tomllib.loads(filled)
    assert (found["data"]["path"], found["model"]["provider"]) == (strange, "pocket")
    differing = [one for one, other in zip(plain.splitlines(), filled.splitlines(), strict=True) if one != other]
    assert len(differing) == 2
    with pytest.raises(ConfigError, match=r"no task 'poems'; there are alpaca, classification, gsm8k"):
        task_config("poems")


def test_a_principle_of_the_users_own_is_the_instruction(tmp_path: Path, capsys: Printed) -> None:
    said = 'A reply says "no" \\ first,\n and then why.'
    config = load_config(init(tmp_path, "principle", "--principle", said), environment=False)
    assert config.prompt.instruction == 'Principle: A reply says "no" \\ first, and then why.'
    # Neither label says which reply is good.
    assert config.prompt.labels == ("A", "B")
    for task, principle in (("alpaca", "Be kind."), ("principle", "  "), (str(DATA / "sentiment.csv"), "Be kind.")):
        assert main(["init", task, "--principle", principle, "--out", str(tmp_path / "not.toml")]) == 2
        assert "--principle" in capsys.readouterr().err
    assert not (tmp_path / "not.toml").exists()


def test_a_relative_path_means_the_same_file_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.csv").write_bytes((DATA / "truthfulqa.csv").read_bytes())
    assert main(["init", "truthfulqa", "--data", "mine.csv"]) == 0
    assert main(["init", "truthfulqa", "--data", "mine.csv", "--out", "below/a.toml"]) == 0
    assert main(["init", "truthfulqa", "--data", "hub:owner/name", "--out", "below/b.toml"]) == 0
    paths = [str(load_config(name).data.path) for name in ("truthfulqa.toml", "below/a.toml", "below/b.toml")]
    assert paths == [str(tmp_path / "mine.csv")] * 2 + ["hub:owner/name"]
    assert 'path = "mine.csv"' in Path("truthfulqa.toml").read_text()
    assert "not there yet" not in capsys.readouterr().out


def test_it_says_what_to_do_next_and_overwrites_nothing(tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "c.toml"
    assert main(["init", "ratings", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"the data are not there yet: put the file there, or change data.path in {out}" in printed
    assert f"icm-api run {out}" in printed
    out.write_text("mine")
    assert main(["init", "ratings", "--out", str(out)]) == 2
    assert (
        capsys.readouterr().err
        == f"icm-api: {out} is there already, and nothing was written: choose another file with --out\n"
    )
    assert out.read_text() == "mine"


def test_it_names_the_columns_of_the_data(tmp_path: Path, capsys: Printed) -> None:
    init(tmp_path, "classification")
    header = (DATA / SAMPLES["classification"]).read_text(encoding="utf-8").splitlines()[0]
    assert f"columns of the data: {header.split(',')}" in capsys.readouterr().out


def test_a_plan_says_what_it_may_cost_and_what_is_cheaper(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = init(tmp_path, "gsm8k", "--model", "pocket")
    monkeypatch.setenv("ICM_PRICES__INPUT", "1.0")
    monkeypatch.setenv("ICM_PRICES__OUTPUT", "3.0")
    monkeypatch.setenv("ICM_SEARCH__RESTARTS", "2")
    capsys.readouterr()
    assert main(["plan", str(config), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["money"] == pytest.approx((found["prompt_tokens"] + 3 * found["requests"]) / 1e6)
    assert found["likely"]["money"] < found["money"]
    assert main(["plan", str(config), "--engine", "bootstrap", "--json"]) == 0
    cheaper = json.loads(capsys.readouterr().out)
    assert main(["plan", str(config), "--compare", "--json"]) == 0
    table = {(row["engine"], row["estimator"]): row for row in json.loads(capsys.readouterr().out)}
    assert table["bootstrap", cheaper["estimator"]] == cheaper
    assert cheaper["likely"]["requests"] < found["likely"]["requests"]


def test_help_has_an_example_that_works(capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        main(["init", "--help"])
    lines = re.findall(r"^  icm-api (init .*)$", capsys.readouterr().out, flags=re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_text("nr,review\n1,x\n", encoding="utf-8")
    for line in lines:
        assert main(line.split()) == 0
    assert {path.name for path in tmp_path.glob("*.toml")} == {"reviews.toml", "truthfulqa.toml"}


def test_gold_of_another_form_is_read_where_a_flag_says_so(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    monkeypatch.setenv("ICM_DATA__LIMIT", "6")
    config, run = init(tmp_path, "truthfulqa", "--model", "pocket"), str(tmp_path / "runs" / "truthfulqa")
    assert main(["run", str(config), "--steps", "2", "--json"]) == 0
    labels = [json.loads(line) for line in (Path(run) / "labels.jsonl").read_text().splitlines()]
    gold = tmp_path / "people.csv"
    gold.write_text("claim,person\n" + "".join(f"{row['id']},{row['label']}\n" for row in labels))
    capsys.readouterr()
    flags = ["--format", "rows", "--id-field", "claim", "--label-field", "person"]
    assert main(["evaluate", run, "--gold", str(gold), "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["value"] == 1
    assert main(["evaluate", run, "--gold", str(gold)]) == 2
    assert f"{gold}:2: no TruthfulQA row" in capsys.readouterr().err


class TestHubRun:
    """A run on data that come through the package `datasets`: resumed, and refused once they changed."""

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hub"))
        monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
        datasets.disable_progress_bars()

    def write(self, path: Path, last: str) -> None:
        import datasets

        rows = [
            {
                "question": f"Is it {at}?",
                "best_answer": "Yes",
                "correct_answers": ["Yes"],
                "incorrect_answers": ["No", last if at == 2 else "Never"],
            }
            for at in range(3)
        ]
        datasets.Dataset.from_list(rows).to_parquet(path)

    def test_run_resume_evaluate_and_a_change_of_the_data(self, tmp_path: Path, capsys: Printed) -> None:
        path = tmp_path / "data.parquet"
        self.write(path, "Never")
        config, source = tmp_path / "c.toml", f"hub:{path}"
        flags = ["--data", source, "--model", "pocket", "--out", str(config)]
        assert main(["init", "truthfulqa", *flags]) == 0
        assert main(["run", str(config), "--steps", "3"]) == 0
        run = str(tmp_path / "runs" / "c")
        assert main(["resume", run]) == 0
        capsys.readouterr()
        assert main(["evaluate", run, "--gold", source, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["compared"] == 9
        self.write(path, "Perhaps")
        assert main(["resume", run]) == 2
        assert "data_sha256" in capsys.readouterr().err


def test_a_table_of_ones_own_gives_a_file_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICM_CACHE__FOLDER", str(tmp_path / "cache"))
    rows = "".join(f"r{at};{text};\r\n" for at, text in enumerate(["good, really", "bad {so}", "", "well"]))
    Path("Reviews.csv").write_text("nr;review text;stars\r\n" + rows, encoding="utf-8-sig")
    given = ["--text", "review text", "--labels", "good,bad,so so", "--id", "nr"]
    assert main(["init", "Reviews.csv", *given]) == 0
    config = load_config("Reviews.toml")
    assert "good, bad or so so" in config.prompt.instruction
    assert main(["run", "Reviews.toml", "--engine", "bootstrap"]) == 0
    labelled = [json.loads(line) for line in Path("runs/Reviews/labels.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in labelled] == ["r0", "r1", "r3"]
    assert {row["label"] for row in labelled} <= {"good", "bad", "so so"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], r"--text is missing: say which columns the prompt shows, of \['nr', 'text'\]"),
        (["--text", "text"], "--labels is missing"),
        (["--text", "texts", "--labels", "a,b"], r"--text texts: no such column in a\.csv; it has \['nr', 'text'\]"),
        (["--text", "text", "--labels", "a,b", "--id", "key"], "--id key: no such column"),
        (["--text", "text", "--labels", "1,10"], "--labels 1,10: form ' 1' of label '1' begins form ' 10'"),
        (["--text", "text", "--labels", "a,b", "--id", "nr"], "id '1' occurs twice"),
    ],
)
def test_what_does_not_fit_a_table_is_said_and_nothing_written(
    flags: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("nr,text\n1,x\n1,y\n", encoding="utf-8")
    assert main(["init", "a.csv", *flags]) == 2
    assert re.search(words, capsys.readouterr().err)
    assert not Path("a.toml").exists()


@pytest.mark.parametrize("task", ["classification", "ratings"])
def test_the_instruction_of_a_classification_names_every_label(task: str) -> None:
    prompt = tomllib.loads(task_config(task))["prompt"]
    assert all(label in prompt["instruction"] for label in prompt["labels"])
