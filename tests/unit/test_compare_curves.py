"""A trace replayed: what is accepted counts, what is refused does not, and damage has its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icm_api.compare.summing import moments, over_iterations
from icm_api.data import Gold
from icm_api.errors import RunError
from icm_api.runs import read_trace

STEPS = (
    (0, 0, ["a"], [None], ["T"], True, -5.0),
    (1, 0, ["b"], [None], ["T"], True, -4.0),
    (2, 0, ["b"], ["T"], ["F"], False, -4.0),
    (3, 0, ["a"], ["T"], ["F"], True, -6.0),
    (4, 1, ["a", "b"], ["F", "T"], ["T", None], True, -1.0),
    (5, 1, ["b"], [None], ["F"], True, -4.0),
    (6, 1, ["b"], ["F"], ["T"], True, -2.0),
)


def write(folder: Path) -> Path:
    keys = ("step", "restart", "examples", "old", "new", "accepted", "value")
    rest: dict[str, object] = dict.fromkeys(
        ("utility_change", "temperature", "utility", "mutual_predictability", "inconsistency"), 0.0
    )
    rest |= {"kind": "relabel", "move": "relabel", "labelled": 2, "prompt_tokens": 0}
    lines = [json.dumps({**rest, **dict(zip(keys, step, strict=True)), "requests": 10 * step[0]}) for step in STEPS]
    path = folder / "trace.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_labels_and_best_after_every_step(tmp_path: Path) -> None:
    found = list(moments(read_trace(write(tmp_path)), 2))
    assert [dict(at.labeling) for at in found] == [
        {"a": "T"},
        {"a": "T", "b": "T"},
        {"a": "T", "b": "T"},
        {"a": "F", "b": "T"},
        {"a": "T"},
        {"a": "T", "b": "F"},
        {"a": "T", "b": "T"},
    ]
    # A labeling that is not complete is never the best, and one as good as the best does not take its place.
    assert [None if at.best is None else dict(at.best) for at in found] == [None, *[{"a": "T", "b": "T"}] * 6]
    assert [at.requests for at in found] == [0, 10, 20, 30, 40, 50, 60]


def test_agreement_is_over_labelled_examples_with_gold(tmp_path: Path) -> None:
    found = over_iterations(read_trace(write(tmp_path)), 2, Gold({"a": "T", "b": "F", "c": "T"}), seed=3)
    assert [point.current for point in found] == [1.0, 0.5, 0.5, 0.0, 1.0, 1.0, 0.5]
    assert [point.best for point in found] == [None, *[0.5] * 6]
    nothing = over_iterations(read_trace(write(tmp_path)), 2, Gold({"c": "T"}), seed=3)
    assert {point.current for point in nothing} == {None}


def test_damage_has_its_place(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace('"accepted": false', '"accepted": fal'))
    with pytest.raises(RunError, match=r"trace\.jsonl:3"):
        list(moments(read_trace(path), 2))
