"""Held-out examples: whole groups, and a file of the searched ones that means the same to a run."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_api.compare.measuring import demonstrations_of, random_labels
from icm_api.compare.split import gold_of_splits, load_splits, split, write_searched
from icm_api.config import Config, load_config
from icm_api.config.judging import CompareSettings
from icm_api.consistency import compile_relations
from icm_api.errors import ConfigError, DataError, RunError
from icm_api.runs import build_task, load_dataset
from icm_api.types import Dataset, Example
from tests.worlds import write_world


@given(
    st.lists(st.sampled_from([None, "a", "b", "c", "d", "e"]), min_size=1, max_size=30),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
    st.sets(st.integers(0, 29), max_size=3),
)
@settings(max_examples=200)
def test_a_split_holds_out_whole_groups_of_at_most_its_share(
    groups: list[str | None], share: float, seed: int, fixed: set[int]
) -> None:
    data = Dataset(Example(str(at), {}, group) for at, group in enumerate(groups))
    kept = {str(at) for at in fixed if at < len(groups)}
    try:
        found = split(data, share, seed, kept)
    except ConfigError:
        return
    assert sorted([*found.searched.ids, *found.held_out.ids]) == sorted(data.ids)
    assert 0 < len(found.held_out) <= share * len(data)
    out = {example.group for example in found.held_out} - {None}
    assert not out & {example.group for example in found.searched}
    assert kept <= set(found.searched.ids)
    assert list(found.searched.ids) == [key for key in data.ids if key in set(found.searched.ids)]


def test_seeds_hold_out_different_groups_and_the_same_seed_the_same() -> None:
    data = Dataset(Example(str(at), {}, str(at // 2)) for at in range(40))
    assert split(data, 0.5, 0).held_out.ids == split(data, 0.5, 0).held_out.ids
    assert split(data, 0.5, 0).held_out.ids != split(data, 0.5, 1).held_out.ids


@pytest.mark.parametrize("number", [2, 9, 20])
def test_a_number_of_examples_may_be_held_out(number: int) -> None:
    data = Dataset(Example(str(at), {}, str(at // 2)) for at in range(40))
    assert len(split(data, number, 0).held_out) == number - number % 2
    assert CompareSettings(held_out=number).held_out == number
    with pytest.raises(ConfigError, match="nothing is left to search"):
        split(data, 40, 0)
    for amount in (0, 1, 1.5, -3):
        with pytest.raises(ValueError, match="held_out"):
            CompareSettings(held_out=amount)


def test_one_group_cannot_be_split() -> None:
    data = Dataset(Example(str(at), {}, "all") for at in range(4))
    with pytest.raises(ConfigError, match="groups stay whole"):
        split(data, 0.5, 0)


@pytest.mark.parametrize("task", ["comparisons", "sums", "facts"])
def test_the_searched_file_means_the_same_to_a_run(tmp_path: Path, task: str) -> None:
    config = load_config(write_world(tmp_path, task))
    dataset = load_dataset(config)
    data = write_searched(config, dataset, tmp_path / "out" / "searched.jsonl")
    again = load_dataset(config.model_copy(update={"data": data}))
    made = build_task(config)
    assert again.ids == dataset.ids
    for one, other in zip(dataset, again, strict=True):
        assert made.template.render(one) == made.template.render(other)
        assert (one.group, one.answer) == (other.group, other.answer)
    labels = made.verbalizer.labels
    relations = [compile_relations(each, labels, made.constraints) for each in (dataset, again)]
    assert list(relations[0]) == list(relations[1])
    assert len(relations[0]) > 0


def named_like_the_keys(tmp_path: Path) -> Config:
    """Texts that are called "id", "group" and "answer", unlike the id, group and answer of the examples."""
    rows = '{"key": "x", "id": "one", "group": "g text", "answer": "a text", "q": "1", "a": 2}\n'
    (tmp_path / "rows.jsonl").write_text(rows + rows.replace('"x"', '"y"').replace('"q": "1"', '"q": "2"'))
    (tmp_path / "config.toml").write_text(
        '[data]\npath = "rows.jsonl"\nid = "key"\ngroup = "q"\nanswer = "a"\n[prompt]\n'
        'template = "{id} {group} {answer}"\n'
    )
    return load_config(tmp_path / "config.toml")


def test_texts_may_be_called_like_keys(tmp_path: Path) -> None:
    config = named_like_the_keys(tmp_path)
    dataset = load_dataset(config)
    assert [(example.id, example.group, example.answer) for example in dataset] == [("x", "1", "2"), ("y", "2", "2")]
    data = write_searched(config, dataset, tmp_path / "searched.jsonl")
    assert list(load_dataset(config.model_copy(update={"data": data}))) == list(dataset)


def test_other_examples_in_the_same_place_are_refused(tmp_path: Path) -> None:
    config = load_config(write_world(tmp_path))
    dataset = load_dataset(config)
    write_searched(config, dataset, tmp_path / "searched.jsonl")
    with pytest.raises(RunError, match="holds other examples"):
        write_searched(config, Dataset(dataset[2:]), tmp_path / "searched.jsonl")


def with_test_file(tmp_path: Path, more: str = "") -> Config:
    path = write_world(tmp_path)
    (tmp_path / "test.jsonl").write_text((tmp_path / "claims.jsonl").read_text())
    path.write_text(path.read_text() + f'\n[compare]\ntest = "test.jsonl"\nseeds = 2\n{more}')
    return load_config(path)


def test_a_test_file_leaves_all_examples_to_the_search_whatever_its_ids(tmp_path: Path) -> None:
    config = with_test_file(tmp_path, 'test_gold = "gold.jsonl"\n')
    splits = load_splits(config)
    assert [one.seed for one in splits] == [0, 1]
    assert splits[0].searched.ids == load_dataset(config).hashed().ids
    assert not set(splits[0].searched.ids) & set(splits[0].held_out.ids)
    gold = gold_of_splits(config, tmp_path / "gold.jsonl", splits)
    assert [gold[key] for key in splits[0].held_out.ids] == [gold[key] for key in splits[0].searched.ids]


def test_examples_that_are_in_both_files_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = with_test_file(tmp_path, 'test_gold = "gold.jsonl"\n')
    first = load_dataset(config).hashed().ids[0]
    load_splits(config)
    assert f"such as {first!r}: accuracy on them is too good" in caplog.text
    caplog.clear()
    (tmp_path / "test.jsonl").write_text((tmp_path / "claims.jsonl").read_text().replace('"text": "', '"text": "  '))
    load_splits(config)
    assert "16 of 16 examples of compare.test have the texts of examples in the data" in caplog.text
    caplog.clear()
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    others = (json.dumps({**row, "text": f"another {row['text']}"}) + "\n" for row in rows)
    (tmp_path / "test.jsonl").write_text("".join(others))
    load_splits(config)
    assert not caplog.text


def test_an_id_that_a_test_example_goes_by_is_refused(tmp_path: Path) -> None:
    config = with_test_file(tmp_path, 'test_gold = "gold.jsonl"\n')
    first = load_dataset(config).ids[0]
    rows = (tmp_path / "claims.jsonl").read_text()
    (tmp_path / "claims.jsonl").write_text(rows.replace(f'"id": "{first}"', f'"id": "test: {first}"', 1))
    with pytest.raises(DataError, match="kept for an example of compare"):
        load_splits(config)


def test_one_gold_file_for_two_files_with_the_same_ids_is_refused(tmp_path: Path) -> None:
    config = with_test_file(tmp_path)
    with pytest.raises(DataError, match=r"compare\.test_gold"):
        gold_of_splits(config, tmp_path / "gold.jsonl", load_splits(config))


def test_gold_of_other_examples_or_labels_is_refused(tmp_path: Path) -> None:
    config = load_config(write_world(tmp_path))
    splits = load_splits(config)
    (tmp_path / "other.jsonl").write_text('{"id": "nobody", "gold": "True"}\n')
    with pytest.raises(DataError, match="no gold label for any"):
        gold_of_splits(config, tmp_path / "other.jsonl", splits)
    (tmp_path / "odd.jsonl").write_text((tmp_path / "gold.jsonl").read_text().replace("True", "Yes"))
    with pytest.raises(DataError, match="'Yes'"):
        gold_of_splits(config, tmp_path / "odd.jsonl", splits)


def test_fewer_demonstrations_are_part_of_more_whatever_the_labels() -> None:
    data = Dataset(Example(str(at), {"text": str(at)}) for at in range(20))
    parts = [{example.id for example, _ in demonstrations_of(data, dict.fromkeys(data.ids, "T"), n)} for n in range(21)]
    assert [len(part) for part in parts] == list(range(21))
    assert all(one < other for one, other in pairwise(parts))
    other = [example.id for example, _ in demonstrations_of(data, dict.fromkeys(data.ids, "F"), 7)]
    assert set(other) == parts[7]
    assert other == [key for key in data.hashed().ids if key in parts[7]]


def test_a_file_in_another_order_has_the_same_splits_and_random_labels(tmp_path: Path) -> None:
    config = load_config(write_world(tmp_path))
    first = load_splits(config)
    labels = random_labels(load_dataset(config), ("True", "False"), 1)
    rows = (tmp_path / "claims.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "claims.jsonl").write_text("".join(reversed(rows)))
    for one, other in zip(load_splits(config), first, strict=True):
        assert (one.searched.ids, one.held_out.ids) == (other.searched.ids, other.held_out.ids)
    assert random_labels(load_dataset(config), ("True", "False"), 1) == labels
