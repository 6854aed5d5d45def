"""Which examples of a large data set are searched: whole units, chosen by a hash, whatever the order of the rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from icm_api.config import Config, ConstraintSection, CoreSection
from icm_api.consistency import AbsentKeyError
from icm_api.data import DataChecking, DataSource, Row, read_rows
from icm_api.errors import ConfigError, RunError
from icm_api.journal import Journal
from icm_api.prompts import PromptBuilder
from icm_api.runs import plan
from icm_api.runs.auditing import audit_config
from icm_api.runs.choosing import choose_core
from icm_api.runs.core import Rows, Split, Unit, units_of
from icm_api.runs.parts import data_source
from icm_api.runs.spill import read_part, spill
from icm_api.types import Dataset, Example, PromptTemplate, Verbalizer

SOURCE = DataSource("no file")
BUILDER = PromptBuilder(PromptTemplate(), Verbalizer.plain(["True", "False"]), len, 3_000)
"""Counts characters; a text of 9 takes 17 as a demonstration."""


def rows(examples: Sequence[Example]) -> Rows:
    return Rows(SOURCE, Dataset(examples))


def units(found: Rows, constraints: Sequence[ConstraintSection] = ()) -> Callable[[bool], Unit]:
    return lambda single: units_of(found, constraints, 0, single=single)


def grouped(sizes: Sequence[int]) -> list[Example]:
    return [
        Example(f"{group}.{at}", {"text": f"{group:05}-{at:03}"}, f"g{group}")
        for group, size in enumerate(sizes)
        for at in range(size)
    ]


def core_of(found: Rows, settings: CoreSection | None = None, **given: Sequence[ConstraintSection]) -> frozenset[str]:
    core = choose_core(found, units(found, **given), BUILDER, settings)
    assert core is not None
    again = found.chosen(core.split, units(found, **given)(core.split.single))
    assert again.ids == core.dataset.ids
    return frozenset(again.ids)


def constraint(**values: object) -> ConstraintSection:
    return Config.model_validate({"data": {"path": "x"}, "constraints": [values]}).constraints[0]


def test_what_fits_the_window_is_searched_whole() -> None:
    assert choose_core(rows(grouped([2] * 80)), units(rows([])), BUILDER, None) is None


def test_a_small_set_is_searched_whole_even_if_not_all_of_it_fits_together() -> None:
    few = [replace(example, fields={"text": "x" * 1000}) for example in grouped([1] * 60)]
    assert choose_core(rows(few), units(rows(few)), BUILDER, None) is None


def test_a_core_is_whole_groups_that_fit_in_any_order_of_the_rows() -> None:
    examples = grouped([1, 2, 3] * 100)
    core = core_of(rows(examples))
    taken = [example for example in examples if example.id in core]
    assert 150 < len(core) <= (3_000 - len(" False")) // 17
    assert {example.group for example in taken}.isdisjoint(
        example.group for example in examples if example.id not in core
    )
    for seed in range(3):
        shuffled = list(examples)
        Random(seed).shuffle(shuffled)
        assert core_of(rows(shuffled)) == core


def test_the_size_that_is_stated_is_the_most() -> None:
    core = core_of(rows(grouped([3] * 60)), CoreSection(size=32))
    assert len(core) == 30


def test_a_group_too_large_for_the_core_is_left_to_the_rest_and_pushes_nothing_out() -> None:
    small = grouped([2] * 200)
    without = core_of(rows(small))
    huge = [Example(f"huge{at}", {"text": f"{at:09}"}, "huge") for at in range(400)]
    for mixed in ([*huge, *small], [*small, *huge]):
        assert core_of(rows(mixed)) == without


def test_if_one_group_is_all_there_is_it_is_cut_rather_than_nothing_searched() -> None:
    core = core_of(rows([Example(f"{at}", {"text": f"{at:09}"}, "all") for at in range(500)]))
    assert 150 < len(core) < 180


def test_an_example_that_no_prompt_can_hold_does_not_make_a_small_set_large() -> None:
    long = Example("long", {"text": "x" * 5_000})
    assert choose_core(rows([*grouped([1] * 100), long]), units(rows([])), BUILDER, None) is None


@pytest.mark.parametrize(
    ("section", "metadata"),
    [
        (
            constraint(kind="asymmetric", label="True"),
            lambda at: {"left": f"t{min(at, at ^ 1) if at % 2 else at ^ 1}", "right": f"t{at}"},
        ),
        (constraint(kind="implies", if_label="True", then_label="True"), lambda at: {"implies": str(at ^ 1)}),
        (
            constraint(kind="transitive", label="True"),
            lambda at: {"left": f"t{at // 2}", "right": f"u{at // 2}"},
        ),
    ],
)
def test_what_a_constraint_relates_across_groups_is_not_parted(
    section: ConstraintSection, metadata: Callable[[int], dict[str, object]]
) -> None:
    examples = [Example(str(at), {"text": f"{at:09}"}, metadata=metadata(at)) for at in range(400)]
    found = rows(examples)
    core = core_of(found, constraints=[section])
    assert 100 < len(core) < 200
    assert all((str(at) in core) == (str(at ^ 1) in core) for at in range(400))


def test_a_split_is_read_back_and_a_damaged_one_is_refused() -> None:
    split = Split(2**63, frozenset({5}), 10, 90, 4)
    assert Split.of({"core": json.loads(json.dumps(split.as_json()))}) == split
    assert Split.of({}) is None
    with pytest.raises(RunError, match="core"):
        Split.of({"core": {"below": 3}})


def test_parts_hold_the_rest_in_whole_units_and_are_cut_once(tmp_path: Path) -> None:
    examples = grouped([1, 2, 3] * 100)
    found = rows(examples)
    chosen = choose_core(found, units(found), BUILDER, CoreSection(part=100))
    assert chosen is not None
    split, core, unit = chosen.split, chosen.dataset, chosen.unit
    index = spill(found, split, unit, tmp_path, "one")
    assert len(index.examples) == -(-(600 - len(core)) // 100)
    parts = [read_part(tmp_path, part) for part in range(len(index.examples))]
    held = [example for part in parts for _, example in part]
    assert sorted([*held, *core], key=lambda one: one.id) == sorted(examples, key=lambda one: one.id)
    for part in parts:
        groups = [example.group for _, example in part]
        assert len(set(groups)) == sum(one != other for one, other in zip(groups, ["", *groups], strict=False))
    assert spill(found, split, unit, tmp_path, "one") == index
    with pytest.raises(RunError, match="other data"):
        spill(found, split, unit, tmp_path, "two")
    # As whoever stopped between the rows and the index, or between the index and the rows, has left them.
    for lost in ("parts.json", "rows"):
        (tmp_path / lost).rename(tmp_path / f"{lost}.lost")
        assert spill(found, split, unit, tmp_path, "one") == index
        assert [read_part(tmp_path, part) for part in range(len(index.examples))] == parts


def test_lines_written_together_stand_after_those_that_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    with Journal(path) as journal:
        journal.write_all([{"at": at} for at in range(4)])
    path.write_bytes(path.read_bytes() + b'{"at": 4')
    with Journal(path) as journal:
        assert (journal.recorded, journal.torn) == (4, 8)
        journal.keep(2)
        journal.write_all([{"at": "new"}, {"at": "newer"}])
    assert [json.loads(line)["at"] for line in path.read_text().splitlines()] == [0, 1, "new", "newer"]


def test_a_large_set_is_audited_in_parts_with_the_same_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"id": f"r{at}", "text": f"{at}", "group": f"g{at // 3}", "answer": str(at % 2)}
        | ({"to": "r0"} if at == 2 else {})
        for at in range(120)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    kinds = [
        {"kind": "mutually_exclusive", "label": "True"},
        {"kind": "implies", "if_label": "True", "then_label": "True", "to": "to"},
    ]
    config = Config.model_validate(
        {"data": {"path": tmp_path / "rows.jsonl"}, "constraints": kinds, "run": {"folder": tmp_path}}
    )
    whole = audit_config(config)
    monkeypatch.setattr("icm_api.runs.core.MOST_WHOLE", 50)
    monkeypatch.setattr("icm_api.runs.auditing.PARTS", 5)
    parts = audit_config(config)
    assert parts.histogram == whole.histogram
    assert (parts.constraints, parts.relations, parts.examples) == (whole.constraints, whole.relations, whole.examples)
    assert sorted(parts.unreached) == sorted(whole.unreached)
    wrong = config.changed(constraints=[{"kind": "equivalent", "by": "nothing"}])
    with pytest.raises(AbsentKeyError, match="nothing"):
        audit_config(wrong)


@pytest.fixture
def groups_apart(tmp_path: Path) -> Config:
    """Groups whose rows do not follow one another, rows without a group or a value, and equal numbers."""
    lines: list[dict[str, object]] = [
        {
            "id": f"r{at}",
            "text": f"text {at}",
            "group": f"g{at % 41}",
            "answer": str(at % 3),
            "score": (3, 3.0, "3")[at % 3],
        }
        for at in range(123)
    ]
    lines += [{"id": f"alone{at}", "text": f"alone {at}"} for at in range(4)]
    # No labeling of two equal answers has exactly one of them right.
    lines += [{"id": f"same{at}", "text": f"same {at}", "group": f"h{at // 2}", "answer": "7"} for at in range(4)]
    Random(0).shuffle(lines)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    kinds = [
        {"kind": "mutually_exclusive", "label": "True"},
        {"kind": "equivalent", "by": "answer"},
        {"kind": "mutually_exclusive", "label": "False", "by": "score"},
        {"kind": "exactly_one", "label": "True"},
    ]
    values = {"data": {"path": tmp_path / "rows.jsonl"}, "constraints": kinds, "run": {"folder": tmp_path / "run"}}
    return Config.model_validate(values | {"cache": {"enabled": False}})


def test_groups_that_are_alike_are_audited_once_with_the_same_answer(
    groups_apart: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audit_config(groups_apart)
    monkeypatch.setattr("icm_api.runs.core.MOST_WHOLE", 50)
    parts = audit_config(groups_apart)
    assert parts.lines()[:6] == whole.lines()[:6]
    assert parts.histogram == whole.histogram == ((2, 0, 2), (3, 3, 41))
    assert parts.constraints == whole.constraints
    assert sorted(parts.unreached) == sorted(whole.unreached) == [f"alone{at}" for at in range(4)]
    assert {(frozenset(one.ids), one.constraints) for one in parts.contradictions} == {
        (frozenset(one.ids), one.constraints) for one in whole.contradictions
    }
    with pytest.raises(AbsentKeyError, match="nothing"):
        audit_config(groups_apart.changed(constraints=[{"kind": "equivalent", "by": "nothing"}]))
    with pytest.raises(ConfigError, match="'no label' is none of the labels"):
        audit_config(groups_apart.changed(constraints=[{"kind": "exactly_one", "label": "no label"}]))


@pytest.mark.parametrize("most", [10, 4_000], ids=["many", "few"])
def test_what_a_format_leaves_out_is_said_once_however_often_the_rows_are_gone_through(
    most: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_api.runs.core.MOST_WHOLE", most)
    path = tmp_path / "pairs.csv"
    path.write_text("chosen,rejected\nx,x\n" + "".join(f"x,{n}\n" for n in range(20)), encoding="utf-8")
    found = Rows.open(DataSource(str(path), "preferences"))
    why = "whose replies are equal or of which one is empty"
    said = f"left out 1 comparison, {why}; the first: line 2 of {path}"
    assert len({len(list(each)) for each in (found, found, found)}) == 1
    assert caplog.messages == [said]
    caplog.clear()
    audit_config(Config.model_validate({"data": {"path": path, "format": "preferences"}}))
    assert caplog.messages == [said]


def test_a_large_set_is_read_once_to_be_audited_or_planned(
    groups_apart: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(*given: object, **more: object) -> Iterator[Row]:
        for row in read_rows(*given, **more):  # type: ignore[arg-type]
            read.append(row.id)
            yield row

    monkeypatch.setattr("icm_api.data.loading.read_rows", counted)
    monkeypatch.setattr("icm_api.runs.core.MOST_WHOLE", 50)
    checking = DataChecking(data_source(groups_apart))
    audit_config(groups_apart, checking)
    assert (checking.found().examples, len(read)) == (131, 131)
    read.clear()
    found = asyncio.run(plan(groups_apart.changed(core={"size": 20})))
    assert (found.examples, found.rest > 100) == (131, True)
    # A glance at how many there are comes first.
    assert len(read) <= 131 + 51
