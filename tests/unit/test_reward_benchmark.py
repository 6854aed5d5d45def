"""RewardBench 2: rows in that format, written for these tests, and scores worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import tanh
from pathlib import Path
from random import Random

import pytest

from icm_api.errors import DataError, RequestError
from icm_api.reward import Item, Ranking, Refused, read_benchmark, run_benchmark, score_benchmark
from icm_api.reward.benchmark import TIES

ROWS = [
    {
        "id": "f-1",
        "subset": "Factuality",
        "prompt": "Which planet is nearest to the sun?",
        "chosen": ["Mercury."],
        "rejected": ["Venus.", "The moon is nearest to the sun.", "Mercury, which has two moons."],
    },
    {
        "id": "f-2",
        "subset": "Factuality",
        "prompt": "How many legs has a spider?",
        "chosen": ["Eight."],
        "rejected": ["Six.", "Ten.", "Eight, as all insects have."],
    },
    {
        "id": "s-1",
        "subset": "Focus",
        "prompt": "Name a bird that cannot fly.",
        "chosen": ["The ostrich."],
        "rejected": ["Birds have feathers.", "The swallow.", "Flying is hard."],
    },
    {
        "id": "ref:7",
        "subset": "Ties",
        "prompt": "Which primary colour has the shortest English name?",
        "chosen": ["Red."],
        "rejected": ["Blue.", "Green."],
    },
    {
        "id": "tied:7",
        "subset": "Ties",
        "prompt": "Name a colour of the rainbow.",
        "chosen": ["Red.", "Green.", "Violet."],
        "rejected": ["Brown.", "Pink."],
    },
]
EXTRA = {"num_correct": 1, "num_rejected": 3, "total_completions": 4, "models": ["-"], "additional_metadata": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**EXTRA, **row}) + "\n" for row in ROWS), encoding="utf-8")
    return path


class Scores:
    """`Ranks` by a score of each text; refuses some prompts."""

    def __init__(self, scores: dict[str, float], refused: str = "no such prompt") -> None:
        self.scores, self.refused = scores, refused

    async def rank_all(self, questions: Sequence[tuple[object, Sequence[str]]]) -> Sequence[Ranking | Refused]:
        return [
            Refused(RequestError("a filter", kind="refused"))
            if self.refused in str(prompt)
            else Ranking(tuple(self.scores.get(reply, 0.0) for reply in replies))
            for prompt, replies in questions
        ]


async def test_every_subset_counts_alike(path: Path) -> None:
    items = read_benchmark(str(path))
    assert [item.replies[0] for item in items] == [row["chosen"][0] for row in ROWS]
    scores = {"Mercury.": 1.0, "Eight.": 0.5, "Six.": 0.5, "The ostrich.": -1.0}
    scores |= {"Red.": 2.0, "Green.": 1.8, "Violet.": 1.5, "Brown.": 0.4, "Pink.": -3.0, "Blue.": 0.0}
    found = await run_benchmark(Scores(scores), items)
    # One of two rows right, the other shared by two; the row of Focus wrong.
    assert found.subsets["Factuality"].value == pytest.approx((1 + 0.5) / 2)
    assert found.subsets["Focus"].value == 0.0
    # ref: Red 2.0 against Green 1.8; tied: the worst right one is 1.1 above Brown, and the right ones lie 0.5 apart.
    ties = 0.3 + 0.3 + 0.2 * 1 + 0.2 * 0 + 0.01 * tanh(0.2 / 0.5 - 1)
    assert found.subsets[TIES].value == pytest.approx(ties)
    assert found.overall.value == pytest.approx((0.75 + 0 + ties) / 3)
    assert found.rows == {"Factuality": 2, "Focus": 1, TIES: 2}
    assert all(measure.low <= measure.value <= measure.high for measure in found.subsets.values())  # type: ignore[operator]
    assert "overall" in found.lines()[-1]
    assert json.loads(json.dumps(found.as_json()))["subsets"]["Focus"]["rows"] == 1


async def test_refused_rows_are_told_and_count_in_nothing(path: Path) -> None:
    items = read_benchmark(str(path))
    found = await run_benchmark(Scores({"Mercury.": 1.0}, refused="spider"), items)
    assert found.refused == 1
    assert found.subsets["Factuality"].value == 1.0
    assert "1 row got no answer" in found.lines()[-1]
    with pytest.raises(RequestError):
        await run_benchmark(Scores({}, refused=""), items)


def test_perfect_ties_score_one_and_a_hundredth() -> None:
    items = [Item("ref:1", TIES, "q", ("a",), ("b",)), Item("tied:1", TIES, "q", ("a", "c"), ("b",))]
    found = score_benchmark([(items[0], (1.0, 0.0)), (items[1], (1.0, 1.0, 0.0))])
    assert found.subsets[TIES].value == pytest.approx(1.01)
    assert found.overall.high == 1.0


def test_a_question_of_ties_needs_both_rows() -> None:
    item = Item("tied:3", TIES, "q", ("a", "c"), ("b",))
    with pytest.raises(DataError, match="ref:3"):
        score_benchmark([(item, (1.0, 1.0, 0.0))])


def test_limits_hold_the_truth_as_often_as_they_say() -> None:
    rng, held, trials = Random(3), 0, 50
    truth = {"easy": 0.95, "even": 0.7, "hard": 0.4}
    items = {name: [Item(f"{name}{at}", name, "q", ("a",), ("b",)) for at in range(40)] for name in truth}
    for _ in range(trials):
        scored = [
            (item, (1.0, 0.0) if rng.random() < truth[name] else (0.0, 1.0)) for name in truth for item in items[name]
        ]
        overall = score_benchmark(scored).overall
        assert overall.low is not None
        assert overall.high is not None
        held += overall.low <= sum(truth.values()) / 3 <= overall.high
    assert held / trials > 0.85


def test_the_first_rewardbench_is_read_too() -> None:
    items = read_benchmark(str(Path(__file__).parents[1] / "data" / "rewardbench.jsonl"), limit=2)
    assert [(len(item.chosen), len(item.rejected), item.subset) for item in items] == [(1, 1, "chat")] * 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"chosen": []}, "'chosen' must be a reply or a list of replies"),
        ({"rejected": None}, "'rejected' must be"),
        ({"chosen": ["a", 3]}, "'chosen' must be"),
        ({"subset": "Ties", "id": "12"}, "ref:1"),
        ({"prompt": ""}, "prompt"),
    ],
)
def test_a_row_of_another_format_is_named(change: dict[str, object], says: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps({**ROWS[1], **change}) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows.jsonl.*2.*" + says):
        read_benchmark(str(path))
