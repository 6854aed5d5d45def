"""All seeds of a comparison put together: rows with means and intervals, differences, curves, notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from types import MappingProxyType

from icm_api.compare.comparison import HELD_OUT, LABELS, Comparison, Cost, Difference, Part, Point, Row
from icm_api.compare.crossed import METRICS, Block, OverSeeds, block, difference, over_seeds, recovered
from icm_api.compare.field import BASELINES
from icm_api.compare.measuring import Answer, Bench, Cell, SeedCells, absent
from icm_api.compare.split import Split
from icm_api.config import Prices, RowName
from icm_api.data import Gold
from icm_api.model.client.meter import cost
from icm_api.runs import TraceStep, prices_of, replay
from icm_api.types import Labeling, Usage

_RIVALS: tuple[RowName, ...] = ("bootstrap", "bootstrap-equal", "icm-unconstrained", "golden")
"""The rows that are subtracted from ICM's."""


_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "zero-shot": "zero-shot, base model",
        "zero-shot-calibrated": "zero-shot, calibrated",
        "chat": "zero-shot, chat model",
        "random": "random labels",
        "pseudo-labels": "pseudo-labels, p >= {threshold:g}",
        "bootstrap": "bootstrap",
        "bootstrap-equal": "bootstrap at ICM's cost",
        "icm": "ICM",
        "icm-calibrated": "ICM, calibrated",
        "icm-unconstrained": "ICM, no consistency",
        "golden": "golden labels",
        "golden-calibrated": "golden labels, calibrated",
    }
)


def compared(
    bench: Bench, splits: Sequence[Split], cells: Sequence[SeedCells], model: str, chat: str | None
) -> Comparison:
    """The comparison of all seeds: the mean of each metric over seeds with its interval, see `crossed`.

    Args:
        bench: what they were measured with.
        splits: a seed each.
        cells: a seed each, in the order of `splits`.
        model, chat: who was asked, as they name themselves; no chat model, None.
    """
    methods, gold = bench.config.compare.rows, bench.gold
    aside = bench.aside.reasons
    shown = [name for name in methods if name in cells[0].methods]
    parts = {name: _parts(bench, name, [each.methods[name] for each in cells]) for name in shown}
    parts = {name: _with_share(found, parts) for name, found in parts.items()}
    return Comparison(
        tuple(_row(bench, name, parts.get(name, {}), cells) for name in methods),
        tuple(_differences(parts)),
        tuple(split.seed for split in splits),
        tuple(sum(key in gold and key not in {*aside, *split.fixed} for key in split.searched.ids) for split in splits),
        tuple(sum(key in gold and key not in aside for key in split.held_out.ids) for split in splits),
        model,
        chat,
        tuple(_iterations(bench, splits)),
        tuple(
            (count, over_seeds("accuracy", _blocks(bench, (each.curve[count] for each in cells))))
            for count in cells[0].curve
        ),
        dict(sorted(aside.items())),
    )


def _row(bench: Bench, method: RowName, parts: Mapping[str, Part], cells: Sequence[SeedCells]) -> Row:
    title = (BASELINES[method].title if method in BASELINES else _TITLES[method]).format(
        threshold=bench.config.compare.threshold
    )
    return Row(method, title, parts, absent(bench.config, method) or _note(bench, method, cells))


def _parts(bench: Bench, method: RowName, cells: Sequence[Cell]) -> dict[str, Part]:
    prices = prices_of(bench.config, chat=method == "chat")
    found = {}
    if all(cell.labels for cell in cells):
        metrics = _metrics(_blocks(bench, (cell.labels for cell in cells)))
        found[LABELS] = Part(metrics, _cost([cell.labels_cost for cell in cells], prices))
    metrics = _metrics(_blocks(bench, (cell.held_out for cell in cells)))
    asked = _cost([cell.held_out_cost for cell in cells], prices)
    found[HELD_OUT] = Part(metrics, asked, fmean(cell.demonstrations for cell in cells))
    return found


def _blocks(bench: Bench, seeds: Iterable[Sequence[Answer]]) -> list[Block]:
    return [block(answers, bench.gold, bench.config.prompt.labels) for answers in seeds]


def _metrics(blocks: Sequence[Block]) -> dict[str, OverSeeds]:
    return {name: over_seeds(name, blocks) for name in METRICS}


def _cost(used: Sequence[Usage], prices: Prices | None) -> Cost:
    money = None if prices is None else fmean(cost(usage, prices) for usage in used)
    return Cost(fmean(usage.requests for usage in used), fmean(usage.prompt_tokens for usage in used), money)


def _with_share(found: Mapping[str, Part], parts: Mapping[RowName, Mapping[str, Part]]) -> dict[str, Part]:
    """With the share of the gap recovered, if both ends of the gap were asked."""
    if "zero-shot" not in parts or "golden" not in parts:
        return dict(found)
    zero, golden = (parts[name][HELD_OUT].metrics["accuracy"] for name in ("zero-shot", "golden"))
    part = found[HELD_OUT]
    share = recovered(part.metrics["accuracy"], zero, golden)
    return {**found, HELD_OUT: Part(part.metrics, part.cost, part.demonstrations, share)}


def _differences(parts: Mapping[RowName, Mapping[str, Part]]) -> Iterator[Difference]:
    for name in _RIVALS:
        if "icm" not in parts or name not in parts:
            continue
        for at, part in parts["icm"].items():
            if at in parts[name]:
                other = parts[name][at].metrics["accuracy"]
                yield Difference("icm", name, at, difference(part.metrics["accuracy"], other))


def _note(bench: Bench, method: RowName, cells: Sequence[SeedCells]) -> str:
    if method in ("pseudo-labels", "semi"):
        counts = [each.methods[method].demonstrations for each in cells]
        none = sum(count == 0 for count in counts)
        said = f"{fmean(counts):.1f} predictions a seed that sure"
        return said + (f"; none in {none} of {len(counts)} seeds, zero-shot there" if none else "")
    if method == "bootstrap-equal":
        asked, icm = (fmean(each.methods[name].labels_cost.requests for each in cells) for name in (method, "icm"))
        short = "; there was nothing new to ask before that" if asked < icm else ""
        return f"restarted until it had asked as much as ICM ({icm:,.0f} requests a seed){short}"
    if method == "chat" and bench.config.prices is not None and bench.config.compare.chat_prices is None:
        return "its price is not known: state it under [compare.chat_prices]"
    return ""


def _iterations(bench: Bench, splits: Sequence[Split]) -> Iterator[Point]:
    gold = Gold({key: label for key, label in bench.gold.items() if key not in bench.aside.reasons})
    for split in splits:
        if run := bench.results.get(("icm", split.seed)):
            yield from over_iterations(run.trace(), len(run.result.examples), gold, split.seed)


@dataclass(frozen=True, slots=True)
class Moment:
    """A search after a step.

    Attributes:
        step: its number.
        restart: the restart it belongs to.
        requests: asked for by then.
        labeling: of the search.
        best: the complete labeling that it would have handed out; None before the first.
    """

    step: int
    restart: int
    requests: int
    labeling: Labeling
    best: Labeling | None


def moments(steps: Iterable[TraceStep], size: int) -> Iterator[Moment]:
    """Every step of a finished search.

    Args:
        steps: of its trace.
        size: examples in its data set.

    Raises:
        RunError: a line of the trace is damaged; which one.
    """
    best, most = None, -inf
    for step, labels in replay(steps):
        current = Labeling(labels)
        if step.kind == "choose" or (len(current) == size and step.value > most):
            best, most = current, step.value
        yield Moment(step.step, step.restart, step.requests, current, best)


def over_iterations(steps: Iterable[TraceStep], size: int, gold: Gold, seed: int) -> list[Point]:
    """Agreement with gold after every step of a search, of its labels and of the best complete ones so far.

    Args:
        steps: of its trace.
        size: examples in its data set.
        gold: labels by id; examples without one are left out.
        seed: of the search, for the points.

    Raises:
        RunError: a line of the trace is damaged; which one.
    """
    return [
        Point(seed, at.step, at.restart, at.requests, _agreement(at.labeling, gold), _agreement(at.best, gold))
        for at in moments(steps, size)
    ]


def _agreement(labeling: Labeling | None, gold: Gold) -> float | None:
    known = [label == gold[key] for key, label in (labeling or {}).items() if key in gold]
    return sum(known) / len(known) if known else None
