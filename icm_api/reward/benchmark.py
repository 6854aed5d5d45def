"""RewardBench 2: how often a reward model ranks the right reply of four first, and how it treats several right ones.

The format is that of `allenai/reward-bench-2`: a row has `id`, `subset`, `prompt`, `chosen` and `rejected`, the last
two lists of replies; single replies, as the first RewardBench has them, are read as well. Scores are those of its paper
(arXiv 2506.01937) and of its scoring code (github.com/allenai/reward-bench, `rewardbench/utils.py`; looked up November
2026). All subsets but "Ties": a row counts 1 if its chosen reply has the highest score, 1/k if k replies share it, else
0. "Ties" has two rows a question, `ref:N` with one right reply and `tied:N` with several; its score is

    0.3 * right(tied) + 0.3 * right(ref) + 0.2 * apart(tied) + 0.2 * apart(both) + 0.01 * tanh(min / spread - 1)

each a mean: right, whether all right replies score above all others; apart, whether the gap to the others is larger
than the spread among the right ones, in the tied row or in both; min, the smaller of the two gaps. It can exceed 1 by
0.01. The overall score is the mean of the subsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import inf, tanh
from statistics import fmean, variance
from typing import Any

from icm_api.data import Row, read_rows
from icm_api.data.rows import kind
from icm_api.errors import DataError
from icm_api.evaluation import Interval, Measure, clustered_interval, exact_interval
from icm_api.reward.comparing import Biases, Comparison, Ranking, Ranks, Refused, biases, in_words, plain
from icm_api.wording import count_of

TIES = "Ties"
_REF, _TIED = "ref", "tied"


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the benchmark.

    Attributes:
        id: of the row.
        subset: that it belongs to.
        prompt: what the replies answer; "" if there is none.
        chosen: the right replies.
        rejected: the others.
    """

    id: str
    subset: str
    prompt: str
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]

    @property
    def replies(self) -> tuple[str, ...]:
        """All replies, the right ones first."""
        return self.chosen + self.rejected

    @property
    def question(self) -> tuple[str, str]:
        """What its row belongs to: of "Ties" the kind and the number, of all others "" and its id."""
        kind, _, number = self.id.partition(":")
        return (kind, number) if self.subset == TIES else ("", self.id)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a reward model scores.

    Attributes:
        subsets: name -> its score with 95% limits, in the order of the rows.
        rows: name -> how many rows it rests on.
        overall: mean of the subsets.
        refused: rows that the model gave no answer to: they count in nothing.
        biases: how far place and length alone move the model; None of one that does not compare.
    """

    subsets: Mapping[str, Measure]
    rows: Mapping[str, int]
    overall: Measure
    refused: int = 0
    biases: Biases | None = None

    def lines(self) -> list[str]:
        """The lines that say this to people."""
        found = [
            f"{name}: {in_words(measure)}, {count_of(self.rows[name], 'row')}" for name, measure in self.subsets.items()
        ]
        left = [f"{count_of(self.refused, 'row')} got no answer, and count in nothing"] if self.refused else []
        moved = [] if self.biases is None else self.biases.lines()
        return [*found, f"overall, the mean of the subsets: {in_words(self.overall)}", *moved, *left]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, ready for JSON."""
        subsets = {name: {**plain(measure), "rows": self.rows[name]} for name, measure in self.subsets.items()}
        moved = None if self.biases is None else self.biases.as_json()
        return {"overall": plain(self.overall), "subsets": subsets, "refused": self.refused, "biases": moved}


def read_benchmark(
    path: str, *, split: str = "test", limit: int | None = None, prompts: bool = True
) -> tuple[Item, ...]:
    """Read rows in the format of RewardBench 2, or of the first RewardBench.

    Args:
        path: a file, or "hub:allenai/reward-bench-2".
        split: of a data set on the hub.
        limit: the most rows; all of them if None.
        prompts: whether each row needs a prompt; false for a run whose template shows none.

    Raises:
        DataError: the file cannot be read, or a row is none of the format: which, and why.
        ConfigError: a package is missing.
    """
    items = tuple(_item(row, prompts) for row in islice(read_rows(path, split=split), limit))
    if not items:
        raise DataError(f"{path}: there are no rows")
    return items


async def run_benchmark(reward: Ranks, items: Sequence[Item]) -> Benchmark:
    """Rank the replies of every row, and score the rankings.

    Args:
        reward: ranks replies.
        items: rows of the benchmark.

    Raises:
        ProviderError: the endpoint cannot be used, or every row is refused.
        BudgetError: the next request could exceed the budget.
    """
    found = await reward.rank_all([(item.prompt, item.replies) for item in items])
    answered = [(item, each) for item, each in zip(items, found, strict=True) if isinstance(each, Ranking)]
    refused = [each for each in found if isinstance(each, Refused)]
    if not answered:
        raise refused[0].error
    told = [
        (Comparison(item.prompt, item.replies[one], item.replies[other]), preference)
        for item, ranking in answered
        for (one, other), preference in ranking.met.items()
    ]
    scores = score_benchmark([(item, ranking.scores) for item, ranking in answered], refused=len(refused))
    return replace(scores, biases=biases(told)) if told else scores


def score_benchmark(scored: Iterable[tuple[Item, Sequence[float]]], *, refused: int = 0) -> Benchmark:
    """The score of each subset, and of all.

    Args:
        scored: rows of the benchmark, each with a score for every one of its `replies`, at least one row.
        refused: rows that there are no scores of.

    Raises:
        DataError: rows of "Ties" have no partner.

    Example:
        >>> rows = [Item(str(at), "Focus", "q", ("good",), ("bad",) * 3) for at in range(4)]
        >>> found = score_benchmark([(row, (score, 0.0, 0.5, 1.0)) for row, score in zip(rows, (2, 2, 2, 0.7))])
        >>> found.subsets["Focus"].value
        0.75
    """
    parts: dict[str, list[_Scored]] = {}
    for item, scores in scored:
        parts.setdefault(item.subset, []).append(_Scored.of(item, scores))
    worth = {name: _tied(part) if name == TIES else [row.credit for row in part] for name, part in parts.items()}
    count = sum(map(len, worth.values()))
    spread = sum(map(_variance, worth.values())) / len(worth) ** 2
    overall = _interval(fmean(map(fmean, worth.values())), spread, max(count - len(worth), 1), count)
    return Benchmark(
        {name: _subset(values) for name, values in worth.items()},
        {name: len(part) for name, part in parts.items()},
        overall,
        refused,
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """A row with what its scores come down to."""

    question: tuple[str, str]
    credit: float
    """1 if the best reply is a right one, shared among equals."""
    gap: float
    """From the best of the others up to the worst right reply."""
    spread: float
    """Among the right replies."""

    @classmethod
    def of(cls, item: Item, scores: Sequence[float]) -> _Scored:
        right, rest = scores[: len(item.chosen)], scores[len(item.chosen) :]
        top = max(scores)
        credit = sum(score == top for score in right) / sum(score == top for score in scores)
        return cls(item.question, credit, min(right) - max(rest), max(right) - min(right))


def _tied(rows: Sequence[_Scored]) -> list[float]:
    """What each question of "Ties" is worth, so that the score is the mean over the questions."""
    refs, tied = ({row.question[1]: row for row in rows if row.question[0] == kind} for kind in (_REF, _TIED))
    odd = sorted(refs.keys() ^ tied.keys())
    if odd:
        raise DataError(f'"{TIES}": of "{_REF}:{odd[0]}" and "{_TIED}:{odd[0]}" one is missing or got no answer')
    return [_worth(refs[key], tied[key]) for key in refs]


def _worth(ref: _Scored, tied: _Scored) -> float:
    least = min(ref.gap, tied.gap)
    ratio = least / tied.spread if tied.spread else inf * least if least else 1.0
    right, apart = 0.3 * ((tied.gap > 0) + (ref.gap > 0)), 0.2 * ((tied.gap > tied.spread) + (least > tied.spread))
    return right + apart + 0.01 * tanh(ratio - 1)


def _variance(values: Sequence[float]) -> float:
    """Of the mean; as much at least as if half a value were otherwise, since equal rows prove nothing of others."""
    count = len(values)
    least = 0.5 / count * (1 - 0.5 / count) / count
    return max(least, variance(values) / count) if count > 1 else least


def _subset(values: Sequence[float]) -> Measure:
    if set(values) <= {0.0, 1.0}:
        return exact_interval(round(sum(values)), len(values))
    return _interval(fmean(values), _variance(values), max(len(values) - 1, 1), len(values))


def _interval(value: float, spread: float, freedom: int, most: int) -> Interval:
    if not 0 < value < 1:
        # All right or all wrong: as for that many rows of which none is otherwise.
        limits = exact_interval(most if value >= 1 else 0, most)
        return Interval(value, limits.low, limits.high)
    return clustered_interval(value, spread, freedom, most)


def _item(row: Row, prompts: bool) -> Item:
    chosen, rejected = (_replies(row, key) for key in ("chosen", "rejected"))
    subset = row.values.get("subset")
    prompt = row.text("prompt") if prompts or row.values.get("prompt") else ""
    item = Item(row.id, subset if isinstance(subset, str) else "all", prompt, chosen, rejected)
    if item.subset == TIES and item.question[0] not in (_REF, _TIED):
        raise row.error(f'a row of "{TIES}" has an id such as "{_REF}:1" or "{_TIED}:1", and this one has {row.id!r}')
    return item


def _replies(row: Row, key: str) -> tuple[str, ...]:
    if key not in row.values:
        raise row.error(f"{key!r} is missing; the {row.unit} has the keys {list(row.values)}")
    value = row.values[key]
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not found or not all(isinstance(each, str) for each in found):
        raise row.error(f"{key!r} must be a reply or a list of replies, and is {kind(value)}")
    return found
