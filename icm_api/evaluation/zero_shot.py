"""What the model says with no demonstration, beside the labels found: what did searching add?

Zero-shot predictions cost one short request per example, and on some data a search adds little to them once they are
calibrated. So they are kept with every result: as the model gives them, and calibrated with relations kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from icm_api.evaluation.distance import agreement
from icm_api.objective import Calibration, Objective, shares
from icm_api.result import Result
from icm_api.search.align import align, most_probable
from icm_api.types import Label, Labeling, Predictions
from icm_api.wording import count_of

LITTLE = 0.03
"""Share of the labels up to which a search that changed no more of them, or than one, added little."""
FAR = 0.2
"""Share of the examples by which raw and calibrated label shares differ much."""


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """Zero-shot predictions for all examples that no person labelled.

    Attributes:
        raw: as the model gives them.
        calibrated: with the bias taken off that all of them share.
        labels: the most probable labels of `raw`.
        calibrated_labels: the most probable legal labels of `calibrated`.
        requests: that they took beyond those of the search.
    """

    raw: Predictions
    calibrated: Predictions
    labels: Labeling
    calibrated_labels: Labeling
    requests: int

    def as_json(self, found: Mapping[str, Label]) -> dict[str, Any]:
        """For `summary.json`.

        Args:
            found: the labels found.
        """
        found = {key: found[key] for key in self.raw}
        return {
            "raw": {"shares": shares(self.raw), "agreement": agreement(self.labels, Labeling(found))},
            "calibrated": {
                "shares": shares(self.calibrated),
                "agreement": agreement(self.calibrated_labels, Labeling(found)),
            },
            "requests": self.requests,
        }


def lines_of_zero_shot(result: Result) -> list[str]:
    """What a finished run says of zero-shot, for people; nothing if it was not asked.

    Args:
        result: of the run.
    """
    about, diagnosis = result.about.get("zero_shot"), result.about.get("diagnosis")
    if about is None:
        return []
    judging = diagnosis["measures"].get("requests", 0) if diagnosis else 0
    free = sum(not row.fixed for row in result.examples)
    return list(zero_shot_lines(about, free, result.usage.requests - judging))


def zero_shot_lines(about: Mapping[str, Any], examples: int, requests: int) -> Iterator[str]:
    """What a summary says of zero-shot, for people.

    Args:
        about: as `ZeroShot.as_json` gives it.
        examples: that no person labelled.
        requests: of the search.
    """
    raw, calibrated = about["raw"], about["calibrated"]
    yield (
        f"zero-shot: agrees on {raw['agreement']:.0%} of the labels, calibrated on {calibrated['agreement']:.0%} "
        "(export --labels zero-shot-calibrated takes those)"
    )
    changed = round((1 - calibrated["agreement"]) * examples)
    if changed <= max(1, LITTLE * examples):
        yield (
            f"the search changed {changed} of {count_of(examples, 'label')} from calibrated zero-shot: for its "
            f"{requests:,} requests it added little here, where zero-shot takes {examples:,}"
        )
    moved = max(abs(raw["shares"][label] - calibrated["shares"][label]) for label in raw["shares"])
    if moved > FAR:
        shown = ", ".join(
            f"{label} {raw['shares'][label]:.0%} raw and {calibrated['shares'][label]:.0%} calibrated"
            for label in raw["shares"]
        )
        yield f"warning: calibration moves the label shares of zero-shot far: {shown}; look at some of the labels"


async def ask_zero_shot(objective: Objective, fixed: Labeling, calibration: Calibration) -> ZeroShot:
    """Ask for every label that no person gave, with no demonstration but those that a person labelled.

    Args:
        objective: gives predictions and relations; one request per example that the search did not ask so already.
        fixed: labels that a person gave.
        calibration: how to calibrate.

    Raises:
        ProviderError: the model gave no usable logprobs.
        BudgetError: the budget does not suffice.
    """
    before = objective.tally.usage.requests
    free = [key for key in objective.dataset.ids if key not in fixed]
    raw = await objective.conditionals(free, fixed)
    calibrated = calibration(raw)
    aligned = align(objective, calibrated, fixed, most_probable)
    return ZeroShot(
        raw,
        calibrated,
        Labeling({key: read.best for key, read in raw.items()}),
        aligned.without(fixed),
        objective.tally.usage.requests - before,
    )
