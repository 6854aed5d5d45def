"""From a source to examples and gold, whatever the format: columns, samples, and what the configuration says."""

from __future__ import annotations

import ast
import csv
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from icm_api import config as icm_config
from icm_api.cli.main import main
from icm_api.config import load_config
from icm_api.data import (
    DataSource,
    Format,
    Row,
    fingerprint,
    format_names,
    load_examples,
    load_gold,
    load_gold_labels,
    registry,
)
from icm_api.data.left_out import Note
from icm_api.data.pairs import Pair, both_labels, both_orders, ordered
from icm_api.errors import ConfigError, DataError
from icm_api.runs import data_source, load_dataset
from icm_api.types import Dataset, Example, Label

DATA = Path(__file__).parents[1] / "data"
SENTIMENT = str(DATA / "sentiment.csv")


def configured(folder: Path, data: str, prompt: str = 'template = "{text}"', rest: str = "") -> icm_config.Config:
    path = folder / "config.toml"
    path.write_text(f"[data]\n{data}\n\n[prompt]\n{prompt}\n\n{rest}\n")
    return load_config(path, environment=False)


def test_a_csv_file_is_classified_by_its_columns_and_gold_is_named_at_evaluation() -> None:
    source = DataSource(SENTIMENT, fields=["text"], metadata=())
    assert [(e.id, dict(e.fields), dict(e.metadata)) for e in load_examples(source)] == [
        ("a", {"text": "I loved it"}, {}),
        ("b", {"text": "It was bad,\ntruly bad"}, {}),
        ("c", {"text": 'It was "there"'}, {}),
        ("d", {"text": "Great fun"}, {}),
    ]
    stars = load_gold_labels(source, label_field="stars", labels=["1", "2", "3", "4", "5"])
    assert dict(stars) == {"a": "5", "b": "1", "c": "3", "d": "4"}
    assert load_gold(SENTIMENT, label_field="sentiment")["c"] == "neutral"
    with pytest.raises(DataError) as caught:
        load_gold_labels(source, label_field="stars", labels=["1", "5"])
    assert str(caught.value) == f"{SENTIMENT}:5: gold label '3' is not in the label set ['1', '5']"


@pytest.mark.parametrize(
    ("name", "content", "form", "what"),
    [
        ("a.csv", "text\na\n", "rows", ":2: text field 'claim' is missing; the line has the keys ['text']"),
        ("a.csv", "claim\na\n' '\n", "rows", None),
        (
            "a.csv",
            "claim,n\n,1\n",
            "rows",
            ":2: text field 'claim' is empty (null or no text); fill it, or leave the line out",
        ),
        ("a.json", '[{"claim": 3}]', "rows", ": row 1: text field 'claim' is a number; it must be a string"),
        (
            "a.json",
            '[{"claim": " "}]',
            "rows",
            ": row 1: text field 'claim' is empty; give it a text, or leave the row out",
        ),
        (
            "a.csv",
            "Question,Best Answer,Correct Answers,Incorrect Answers\nq,a,a,\n",
            "truthfulqa",
            ":2: 'Incorrect Answers' is empty; it must be a text",
        ),
        (
            "a.csv",
            "Question,Best Answer,Correct Answers,Incorrect Answers\nq,a,a,\n",
            "truthfulqa-pairs",
            ":2: 'Incorrect Answers' is empty; it must be a text",
        ),
        (
            "a.csv",
            "chosen,rejected\nx,\n",
            "preferences",
            ":2: 'rejected' is null; it must be a text or a list of messages",
        ),
        (
            "a.json",
            '[{"solutions": []}]',
            "gsm8k",
            ": row 1: 'question' is missing; the row has the keys ['solutions']",
        ),
    ],
)
def test_every_format_names_a_bad_row_of_a_file(
    tmp_path: Path, name: str, content: str, form: str, what: str | None
) -> None:
    path = tmp_path / name
    path.write_text(content)
    source = DataSource(str(path), form, fields=["claim"] if form == "rows" else None)
    if what is None:
        assert len(load_examples(source)) == 2
        return
    with pytest.raises(DataError) as caught:
        load_examples(source)
    assert str(caught.value) == str(path) + what


def test_a_source_whose_rows_give_no_example_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text('{"prompt": "q", "chosen": "x", "rejected": "x"}\n')
    with pytest.raises(DataError, match="there are rows, but none yields an example"):
        load_examples(DataSource(str(path), "preferences"))


def shuffled_gold(form: str, folder: Path) -> tuple[Path, Path]:
    """A file of the format, and the same one with its gold labels changed."""
    rng = random.Random(0)
    one, other = folder / "one.csv", folder / "other.csv"
    if form == "rows":
        rows = [{"text": f"t{at}", "group": f"g{at % 5}", "verdict": str(at % 2)} for at in range(40)]
        verdicts = [row["verdict"] for row in rows]
        rng.shuffle(verdicts)
        changed = [row | {"verdict": verdict} for row, verdict in zip(rows, verdicts, strict=True)]
    elif form == "preferences":
        rows = [{"prompt": f"q{at}", "chosen": f"x{at}", "rejected": f"y{at}"} for at in range(40)]
        changed = [
            row | ({"chosen": row["rejected"], "rejected": row["chosen"]} if rng.random() < 0.5 else {}) for row in rows
        ]
    else:
        sides = [([f"a{at}", f"b{at}"], [f"c{at}", f"d{at}", f"e{at}"]) for at in range(40)]
        rows = [_question(at, true, false) for at, (true, false) in enumerate(sides)]
        turned = [(true, false) if rng.random() < 0.5 else (false, true) for true, false in sides]
        changed = [_question(at, true, false) for at, (true, false) in enumerate(turned)]
    for path, content in ((one, rows), (other, changed)):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(content[0]))
            writer.writeheader()
            writer.writerows(content)
    assert one.read_bytes() != other.read_bytes()
    return one, other


def _question(at: int, true: list[str], false: list[str]) -> dict[str, str]:
    return {
        "Question": f"q{at}",
        "Best Answer": true[0],
        "Correct Answers": "; ".join(true),
        "Incorrect Answers": "; ".join(false),
    }


@pytest.mark.parametrize("form", ["rows", "preferences", "truthfulqa", "truthfulqa-pairs"])
def test_gold_labels_shuffled_the_same_bytes_of_examples(tmp_path: Path, form: str) -> None:
    """As a configuration loads them: nothing that the search reads depends on gold, a sample of them included."""
    prompts = {"rows": "{text}", "truthfulqa": "{question} {answer}"}
    prompt = f'template = "{prompts.get(form, "{first} {second}")}"'
    found, golds = [], []
    for path in shuffled_gold(form, tmp_path):
        config = configured(tmp_path, f'path = "{path.name}"\nformat = "{form}"\nlimit = 24\nseed = 3', prompt)
        found.append(repr(list(load_dataset(config))).encode())
        golds.append(load_gold_labels(data_source(config), label_field="verdict" if form == "rows" else None))
        assert b"verdict" not in found[-1]
    assert found[0] == found[1]
    assert golds[0] != golds[1]


def _duel(row: Row) -> Pair:
    return Pair(row.id, row.id, {}, ordered(row.text("red"), row.text("blue")))


def _duels(rows: Iterable[Row], source: DataSource, note: Note) -> Iterator[Example]:
    return (example for row in rows for example in both_orders(_duel(row)))


def _winners(
    rows: Iterable[Row], source: DataSource, label_field: str | None, labels: Sequence[Label] | None
) -> Iterator[tuple[str, Label]]:
    return (each for row in rows for each in both_labels(_duel(row), row.text(label_field or "winner")))


def test_a_format_of_ones_own_is_one_row_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Configuration, run, gold labels and exports know it without another line."""
    duels = Format("duels", _duels, _winners, pairs=True)
    monkeypatch.setattr(registry, "FORMATS", {**registry.FORMATS, duels.name: duels})
    (tmp_path / "duels.csv").write_text("red,blue,winner\nab,cd,cd\nef,gh,ef\nij,kl,ij\n")
    rest = '[[constraints]]\nkind = "asymmetric"\nlabel = "A"\ntotal = true\n[cache]\nenabled = false'
    data = 'path = "duels.csv"\nformat = "duels"'
    config = configured(tmp_path, data, 'template = "{first}>{second}"\nlabels = ["A", "B"]', rest)
    assert load_dataset(config).ids == ("1-1", "1-2", "2-1", "2-2", "3-1", "3-2")
    run, gold = str(tmp_path / "runs" / "config"), str(tmp_path / "duels.csv")
    assert main(["run", str(tmp_path / "config.toml"), "--steps", "3"]) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "--gold", gold, "--format", "duels", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compared"] == 6
    assert main(["export", run, "--to", "trl-reward"]) == 0
    # Pairs become preferences: two examples are one row.
    assert len((tmp_path / "runs/config/export/trl-reward/train.jsonl").read_text().splitlines()) == 3
    with pytest.raises(ConfigError, match=r'data\.fields: format = "duels" has fields of its own'):
        configured(tmp_path, data + '\nfields = ["red"]')


def test_nothing_outside_the_package_names_a_format() -> None:
    root = Path(icm_config.__file__).parents[1]
    names = {*format_names()} - {DataSource("").format}
    found = [
        f"{path}: {node.value}"
        for path in root.rglob("*.py")
        if not path.is_relative_to(Path(registry.__file__).parent)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert len(names) == 4
    assert found == []


def grouped(sizes: list[int]) -> list[Example]:
    return [Example(f"{at}-{k}", {}, f"g{at}") for at, size in enumerate(sizes) for k in range(size)]


def test_a_limit_takes_whole_groups_in_file_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rng = random.Random(1)
    rows = [{"id": f"{at}-{k}", "text": "t", "group": f"g{at}"} for at in range(30) for k in range(rng.randint(1, 5))]
    rng.shuffle(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = load_examples(DataSource(str(path)))
    sizes = Counter(example.group for example in whole)
    seen = set()
    for seed in range(20):
        some = load_examples(DataSource(str(path), limit=20, seed=seed))
        assert len(some) <= 20
        # Groups of five at most: what is left over is smaller than any group left out.
        assert len(some) > 15
        assert all(count == sizes[group] for group, count in Counter(example.group for example in some).items())
        assert [key for key in whole.ids if key in set(some.ids)] == list(some.ids)
        seen.add(some.ids)
    assert len(seen) == 20
    assert load_examples(DataSource(str(path), limit=len(whole))).ids == whole.ids


def test_a_limit_takes_every_group_equally_often(tmp_path: Path) -> None:
    """Over 400 seeds, groups of one size: each within four standard errors of its share."""
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": e.id, "text": "t", "group": e.group}) + "\n" for e in grouped([2] * 10)))
    taken: Counter[str | None] = Counter()
    for seed in range(400):
        taken.update({example.group for example in load_examples(DataSource(str(path), limit=6, seed=seed))})
    for group in (f"g{at}" for at in range(10)):
        assert abs(taken[group] - 120) < 4 * (400 * 0.3 * 0.7) ** 0.5, group


def test_a_limit_below_every_group_is_an_error_and_gold_knows_no_limit(tmp_path: Path) -> None:
    source = DataSource(str(DATA / "truthfulqa.csv"), "truthfulqa", limit=2)
    with pytest.raises(ConfigError, match=r"data\.limit is 2, but the smallest group has \d+ examples; raise it"):
        load_examples(source)
    whole = load_gold_labels(DataSource(source.path, "truthfulqa"))
    assert load_gold_labels(source) == whole


def test_gold_whose_ids_stand_under_another_key_is_not_counted_by_rows(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text("id,gold\n2,A\n1,B\n")
    with pytest.raises(DataError) as caught:
        load_gold_labels(DataSource(str(path), id="key"))
    expected = (
        f"{path}:2: has no 'key', by which the examples are named, but has 'id'; name the key of its ids: --id-field id"
    )
    assert str(caught.value) == expected
    assert dict(load_gold_labels(DataSource(str(path)))) == {"2": "A", "1": "B"}


def changed(example: Example, **changes: object) -> Example:
    values = {key: getattr(example, key) for key in ("id", "fields", "group", "answer", "metadata")}
    return Example(**{**values, **changes})


@pytest.mark.parametrize(
    "change",
    [
        lambda e: changed(e, id="z"),
        lambda e: changed(e, fields={"text": "z"}),
        lambda e: changed(e, group="z"),
        lambda e: changed(e, answer="z"),
        lambda e: changed(e, metadata={"left": "z"}),
    ],
)
def test_a_fingerprint_changes_with_anything_in_an_example(change: Callable[[Example], Example]) -> None:
    example = Example("a", {"text": "t"}, "g", "1", {"left": "x"})
    data = Dataset([example, Example("b", {"text": "t"})])
    assert fingerprint(data) == fingerprint(Dataset([changed(example), data[1]]))
    assert fingerprint(Dataset([change(example), data[1]])) != fingerprint(data)


def test_thoughts_are_dropped_from_every_text_where_that_is_asked_for(tmp_path: Path) -> None:
    thought = {"role": "assistant", "content": "[THINK]hm[/THINK]Red."}
    row = {"prompt": "A color?", "chosen": [thought], "rejected": "so</think>Music."}
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    source = DataSource(str(tmp_path / "p.jsonl"), "preferences")
    kept, dropped = source, replace(source, drop_thoughts=True)
    for read, texts in ((kept, {"[THINK]hm[/THINK]Red.", "so</think>Music."}), (dropped, {"Red.", "Music."})):
        assert {example.fields["first"] for example in load_examples(read)} == texts
    assert load_gold_labels(dropped).keys() == set(load_examples(dropped).ids)


@pytest.mark.parametrize(
    ("form", "fields", "rows", "kept"),
    [
        ("rows", ("text",), "text,label\na,1\n,1\n  ,1\nb,1\n", {"1", "4"}),
        ("preferences", ("q", "r", "s"), "q,r,s,label\nQ,x,y,1\n,x,y,1\nQ,z,w,2\n", {"1", "3"}),
    ],
)
def test_rows_without_a_text_can_be_left_out(
    form: str, fields: tuple[str, ...], rows: str, kept: set[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "d.csv").write_text(rows, encoding="utf-8")
    source = DataSource(str(tmp_path / "d.csv"), form, fields)
    with pytest.raises(DataError, match=r"d\.csv:3: "):
        load_examples(source)
    skipping = replace(source, on_empty="skip")
    data = load_examples(skipping)
    assert {(each.group or each.id) for each in data} == kept
    assert "without a text (data.on_empty); the first: " in caplog.messages[0]
    assert set(data.ids) <= load_gold_labels(skipping).keys()


def test_what_else_is_left_out_is_counted_over_rows_without_a_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "d.csv"
    path.write_text("q,r,s\nQ,x,x\nQ,y,y\n,x,y\nQ,z,w\nQ,v,v\n", encoding="utf-8")
    data = load_examples(DataSource(str(path), "preferences", ("q", "r", "s"), on_empty="skip"))
    assert data.ids == ("4-1", "4-2")
    assert [message.partition(" (")[0].partition(",")[0] for message in caplog.messages] == [
        "left out 1 row without a text",
        "left out 3 comparisons",
    ]
    assert caplog.messages[1].endswith(f"; the first: line 2 of {path}")


@pytest.mark.parametrize(
    ("form", "rows", "meanings", "gold"),
    [
        (
            "rows",
            "id,text,label\na,x,0\nb,y,1\nc,z,2\n",
            {"0": "False", "1": "True", "2": ""},
            {"a": "False", "b": "True"},
        ),
        (
            "rows",
            "id,text,label\na,x,SUPPORTS\nb,y,refutes\n",
            {"supports": "True", "Refutes": "False"},
            {"a": "True", "b": "False"},
        ),
        ("preferences", "id,prompt,a,b,label\np,q,x,y,0\nq,q,x,y,1\n", {"0": "B", "1": "A"}, {"p": "y", "q": "x"}),
        (
            "preferences",
            "id,prompt,a,b,label\np,q,x,y,GPT-4\nq,q,x,y,even\n",
            {"gpt-4": "A", "even": "tie"},
            {"p": "x"},
        ),
    ],
)
def test_what_gold_labels_mean_can_be_said(
    form: str, rows: str, meanings: dict[str, str], gold: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "g.csv").write_text(rows, encoding="utf-8")
    source = DataSource(str(tmp_path / "g.csv"), form)
    found = load_gold_labels(source, meanings=meanings)
    if form == "rows":
        assert dict(found) == gold
        return
    better = {
        str(each.group): each.fields["first" if found[each.id] == "A" else "second"]
        for each in load_examples(source)
        if each.id in found
    }
    assert better == gold


def test_a_part_of_the_map_that_no_gold_label_is_written_as_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A slip of the pen would count right labels as wrong."""
    (tmp_path / "g.csv").write_text("id,text,label\na,x,TRUE\nb,y,no\n", encoding="utf-8")
    load_gold_labels(DataSource(str(tmp_path / "g.csv")), meanings={"true": "True", "No": "False"})
    assert not caplog.messages
    load_gold_labels(DataSource(str(tmp_path / "g.csv")), meanings={"true": "True", "non": "False"})
    assert caplog.messages == ["no gold label is written 'non': that part of the map changed nothing"]


def test_a_format_that_finds_gold_labels_by_itself_has_none_to_map() -> None:
    with pytest.raises(ConfigError, match="there is none to map"):
        load_gold_labels(DataSource(str(DATA / "truthfulqa.csv"), "truthfulqa"), meanings={"0": "True"})


class TestConfiguration:
    def test_a_file_starts_at_the_configuration_and_the_hub_nowhere(self, tmp_path: Path) -> None:
        assert configured(tmp_path, 'path = "a.csv"').data.path == tmp_path / "a.csv"
        data = configured(tmp_path, 'path = "hub:owner/name"\nname = "main"\nsplit = "test"').data
        assert str(data.path) == "hub:owner/name"
        assert data.from_hub

    def test_every_key_reaches_the_source(self, tmp_path: Path) -> None:
        data = 'path = "hub:o/n"\nname = "m"\nsplit = "s"\nlimit = 5\nseed = 2\nfields = ["a"]\n'
        data += 'id = "i"\ngroup = "g"\nanswer = "w"\ndrop_thoughts = true\non_empty = "skip"'
        assert data_source(configured(tmp_path, data)) == DataSource(
            "hub:o/n", "rows", ("a",), "i", "g", "w", (), "m", "s", 5, 2, True, None, "skip"
        )

    def test_only_what_the_prompt_shows_and_constraints_name_is_loaded(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("question,claim,left,right,verdict,notes\nq,c,x,y,True,\n")
        rest = '[[constraints]]\nkind = "asymmetric"\nlabel = "True"'
        config = configured(tmp_path, 'path = "a.csv"', 'template = "{question}: {claim}"', rest)
        [example] = load_dataset(config)
        assert dict(example.fields) == {"question": "q", "claim": "c"}
        assert dict(example.metadata) == {"left": "x", "right": "y"}

    def test_a_constraint_or_a_prompt_cannot_name_a_key_of_gold(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,group,label\nt,g,True\n")
        rest = '[[constraints]]\nkind = "equivalent"\nby = "label"'
        with pytest.raises(ConfigError, match="key 'label' holds gold labels"):
            load_dataset(configured(tmp_path, 'path = "a.csv"', rest=rest))
        with pytest.raises(ConfigError, match="key 'label' holds gold labels"):
            load_dataset(configured(tmp_path, 'path = "a.csv"', 'template = "{text} {label}"'))

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            ('path = "a.csv"\nsplit = "test"', "data.name and data.split are of a hub data set"),
            ('path = "a.csv"\nname = "main"', "data.name and data.split are of a hub data set"),
            ('path = "a"\nformat = "gsm8k"\nfields = ["text"]', 'data.fields: format = "gsm8k" has fields of its own'),
            ('path = "a"\nformat = "truthfulqa"\ngroup = "q"', 'data.group, data.answer: format = "truthfulqa" knows'),
            ('path = "a.csv"\nformat = "poems"', "data.format: no such format; there are rows, gsm8k, truthfulqa"),
            ('path = "a.csv"\nlimit = 0', "data.limit"),
        ],
    )
    def test_keys_that_would_mean_nothing_are_refused(self, tmp_path: Path, data: str, what: str) -> None:
        with pytest.raises(ConfigError) as caught:
            configured(tmp_path, data)
        assert what in str(caught.value)
