"""A search in batches, side by side under one meter, merged into one result.

All batches share some examples. If two batches divide these alike, they found the same; if they do so under exchanged
names, one found the inverse, and its labels are renamed; else they found different things, which the result says.

Source: batches of the data set, Wen et al. 2025, appendix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import fsum
from pathlib import Path
from typing import Any

from icm_api.config import Config
from icm_api.evaluation.coherence import best_naming
from icm_api.evaluation.thresholds import AGREEING
from icm_api.files import write_whole
from icm_api.journal import Journal, encode_line
from icm_api.objective import Objective
from icm_api.result import LABELS_FILE, SUMMARY_FILE, LabelledExample, Result
from icm_api.runs.aside import Aside, allowed
from icm_api.runs.batching import Batch
from icm_api.runs.executing import Executor, Heard, again_if_lost, together
from icm_api.runs.folder import folder_of
from icm_api.runs.searching import Watch, Work
from icm_api.runs.trace import TRACE_FILE, read_trace
from icm_api.search import Start
from icm_api.search.estimating import estimator_of
from icm_api.types import Dataset, Label, Labeling, Tally, Usage

BATCHES_FOLDER = "batches"
SAME, INVERSE, OTHER = "same", "inverse", "another"
"""What a batch found beside the first: the same division, the same under other names, or another one."""


async def search_batches(
    config: Config, work: Work, batches: Sequence[Batch], watch: Watch, executor: Executor
) -> Result:
    """Search all batches that are not on disk yet, and merge them.

    Args:
        config: of the run, in whose folder each batch has its own.
        work: over all examples.
        batches: as `cut_batches` gives them.
        watch: what to hear of.
        executor: searches them.

    Raises:
        IcmError: whatever stops a batch; those that are done are on disk.
    """
    assert config.batches is not None
    folder = folder_of(config)
    place = [folder / BATCHES_FOLDER / f"{at:04}" for at in range(len(batches))]

    async def one(at: int, start: Start) -> Result:
        narrowed = _narrowed(work, batches[at].dataset, start)
        return await _searched(config, narrowed, place[at], watch, executor)

    if config.batches.carry:
        first = await one(0, work.start)
        carried = {row.id: row.label for row in first.examples if row.id in batches[0].shared}
        rest = replace(work.start, fixed=work.start.fixed.assign(carried))
        found = [first, *await together([one(at, rest) for at in range(1, len(batches))])]
    else:
        found = await together([one(at, work.start) for at in range(len(batches))])
    write_whole(folder / TRACE_FILE, b"".join(map(encode_line, _traces(place))).decode())
    return merged(found, batches, work.objective, config)


def _narrowed(work: Work, dataset: Dataset, start: Start) -> Work:
    """The work of one batch."""
    whole, members = work.objective, frozenset(dataset.ids)
    dataset = Dataset(example for example in whole.dataset if example.id in members)
    objective = replace(
        whole,
        dataset=dataset,
        relations=whole.relations.among(dataset.ids),
        estimator=estimator_of(work.settings, whole.model, len(dataset), len(whole.labels)),
        tally=Tally(),
    )
    return replace(work, objective=objective, start=start.among(dataset.ids))


async def _searched(config: Config, work: Work, folder: Path, watch: Watch, executor: Executor) -> Result:
    """One batch, as a run of its own would be: from disk if it is there."""
    if (folder / SUMMARY_FILE).is_file() and (folder / LABELS_FILE).is_file():
        return Result.load(folder)
    folder.mkdir(parents=True, exist_ok=True)

    async def once() -> Result:
        with Journal(folder / TRACE_FILE) as journal:
            aside = Aside(most=allowed(config.run.tolerate, len(work.objective.dataset)))

            def anew(aside: Aside) -> None:
                journal.restart()

            result = await executor.search(work, aside, Heard(journal.write, watch.on_warning, anew))
            journal.finish()
        return result

    result = await again_if_lost(once)
    result.save(folder)
    return result


def _traces(folders: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    """The steps of all batches, one batch after the other, numbered through."""
    step = restart = requests = tokens = 0
    for folder in folders:
        last = (step, restart, requests, tokens)
        for each in read_trace(folder / TRACE_FILE):
            step, restart = last[0] + each.step, last[1] + each.restart
            requests, tokens = last[2] + each.requests, last[3] + each.prompt_tokens
            values = {name: getattr(each, name) for name in each.__slots__}
            listed = {name: list(values[name]) for name in ("examples", "old", "new")}
            yield {**values, **listed, "step": step, "restart": restart, "requests": requests, "prompt_tokens": tokens}
        step, restart = step + 1, restart + 1


def merged(found: Sequence[Result], batches: Sequence[Batch], objective: Objective, config: Config) -> Result:
    """One result of all batches: names aligned with the first batch, shared examples as the first has them.

    Args:
        found: of each batch.
        batches: in the same order.
        objective: over all examples.
        config: of the run.
    """
    rows = {row.id: row for row in found[0].examples}
    about: list[dict[str, Any]] = []
    for at, (result, batch) in enumerate(zip(found, batches, strict=True)):
        names, told = _beside(found[0], result, batch, objective)
        about.append(_told(at, result, told))
        for row in result.examples:
            if row.id not in rows:
                rows[row.id] = renamed(row, names) if told["found"] == INVERSE else row
    examples = tuple(rows[key] for key in objective.dataset.ids if key in rows)
    weights = [len(result.examples) / sum(len(each.examples) for each in found) for result in found]

    def mean(values: Sequence[float]) -> float:
        return fsum(weight * value for weight, value in zip(weights, values, strict=True))

    labeling = Labeling({row.id: row.label for row in examples})
    broken = objective.relations.weight(objective.relations.broken(labeling))
    predictable = mean([result.mutual_predictability for result in found])
    aside = {key: why for result in found for key, why in result.about.get("set_aside", {}).items()}
    merged_about = {
        **{key: value for key, value in found[0].about.items() if key not in ("zero_shot", "set_aside", "estimated")},
        "information": mean([float(result.about["information"]) for result in found]),
        "restarts": sum(int(result.about["restarts"]) for result in found),
        "accepted": sum(int(result.about["accepted"]) for result in found),
        "batches": about,
        **({"set_aside": dict(sorted(aside.items()))} if aside else {}),
        **_judgement(found, about),
    }
    return Result(
        examples,
        objective.alpha * predictable - broken,
        predictable,
        broken,
        sum((result.usage for result in found), Usage()),
        sum(result.steps for result in found) + len(found) - 1,
        merged_about,
    )


def _beside(
    first: Result, result: Result, batch: Batch, objective: Objective
) -> tuple[Mapping[Label, Label], dict[str, Any]]:
    """How a batch divides the shared examples beside the first, and how its labels are to be read."""
    own, others = first.labeling, result.labeling
    pairs = [(own[key], others[key]) for key in batch.shared if key in own and key in others]
    names, agreed = best_naming(pairs, objective.labels) if pairs else ({}, 0.0)
    alike = sum(a == b for a, b in pairs) / len(pairs) if pairs else None
    exchanged = any(a != b for a, b in names.items())
    if alike is None or (alike < AGREEING and agreed < AGREEING):
        verdict = OTHER
    else:
        verdict = INVERSE if exchanged and agreed > alike else SAME
    if verdict == INVERSE and _breaks(others, names, objective):
        # Names that constraints speak of cannot be exchanged.
        verdict = OTHER
    return names, {"shared": len(pairs), "agreement": alike, "renamed_agreement": agreed, "found": verdict}


def _breaks(labeling: Labeling, names: Mapping[Label, Label], objective: Objective) -> bool:
    relations = objective.relations
    before, after = labeling, Labeling({key: names[label] for key, label in labeling.items()})
    return relations.weight(relations.broken(after)) > relations.weight(relations.broken(before))


def renamed(row: LabelledExample, names: Mapping[Label, Label]) -> LabelledExample:
    """A labelled example under other names; what the model says of it by itself has no names to exchange.

    Args:
        row: of a result.
        names: label -> what it is called.
    """
    return replace(
        row,
        label=names[row.label],
        probabilities={label: row.probabilities[own] for label, own in _inverted(names, row.probabilities)},
        calibrated={label: row.calibrated[own] for label, own in _inverted(names, row.calibrated)},
    )


def _inverted(names: Mapping[Label, Label], order: Mapping[Label, float]) -> list[tuple[Label, Label]]:
    back = {new: own for own, new in names.items()}
    return [(label, back[label]) for label in order]


def _told(at: int, result: Result, beside: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "batch": at,
        "examples": len(result.examples),
        "utility": result.utility,
        "mutual_predictability": result.mutual_predictability,
        "inconsistency": result.inconsistency,
        "verdict": result.verdict,
        **beside,
    }


def _judgement(found: Sequence[Result], about: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The judgement of the batch that is least coherent; batches that found other things are said first."""
    judged = [result for result in found if isinstance(result.about.get("diagnosis"), Mapping)]
    if len(judged) < len(found):
        return {}
    worst = min(judged, key=lambda result: (result.about["diagnosis"]["verdict"] == judged[0].verdict, result.utility))
    diagnosis = dict(worst.about["diagnosis"])
    others = [str(each["batch"]) for each in about if each["found"] == OTHER]
    if others:
        told = (
            f"batches {', '.join(others)} divide the {about[0]['shared']} examples that all share otherwise than the "
            "first: they did not find the same concept"
        )
        diagnosis = {**diagnosis, "coherent": "unsure", "verdict": "unsure", "reasons": [told, *diagnosis["reasons"]]}
    return {"diagnosis": diagnosis, "calibration": worst.about["calibration"]}


def batch_lines(about: Mapping[str, Any]) -> list[str]:
    """What a summary says of batches, in a line each; none if there were none.

    Args:
        about: of a result.
    """
    words = {SAME: "the same as the first", INVERSE: "the inverse of the first, renamed", OTHER: "another concept"}
    lines = []
    for each in about.get("batches", ()):
        told = (
            ""
            if each["batch"] == 0
            else f"; {words[each['found']]}: {each['agreement'] or 0:.0%} of {each['shared']} alike"
        )
        lines.append(
            f"batch {each['batch']}: {each['examples']} examples, U = {each['utility']:.3f}, "
            f"{each['verdict'] or 'not judged'}{told}"
        )
    return lines
