"""Which estimator of P(D) a search rests on: the one that the settings name, or the cheapest that the model allows.

`rounds` averages over many scores in different orders, so that a cheap estimate of each does: `joint` where the model
gives logprobs of its prompts, else `shared` if there are more examples than one of its contexts shows. The other
engines compare single scores, and by default do so exactly. Before a search rests on logprobs of prompts, they are
compared with those of next tokens at a few labels.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice
from typing import NamedTuple

from icm_api.config import SearchSettings
from icm_api.errors import LogprobsUnavailableError
from icm_api.model.inside import check_inside
from icm_api.objective import Estimator, Joint, LeaveOneOut, Objective, Shared
from icm_api.types import Model, ReadsInside

TURNS = 4
"""Labels inside a prompt that are compared with next tokens."""
SHOWN, SHOWN_OF_EACH = 16, 4
"""Demonstrations in a context of `shared`, if nobody says: so many, or so many for each label if a fold is as large.

Rounds add up predictions after many contexts, so that more in each cost tokens and change no label (`python -m
tests.benchmarks price`).
"""
ALIKE_FOLDS, MOST_ALIKE = 2, 64
"""Parts of the data set at decision endpoints, where a context is paid once, and the most examples shown there."""


def estimator_of(settings: SearchSettings, model: Model, size: int, labels: int, *, inside: bool = True) -> Estimator:
    """The estimator of a search.

    Args:
        settings: of the search.
        model: whom to ask.
        size: examples in the data set.
        labels: how many there are to choose from.
        inside: whether logprobs of prompts may be used, if the model gives any and the settings leave it open.

    Example:
        >>> from icm_api.config import SearchSettings
        >>> estimator_of(SearchSettings(estimator="shared", folds=4), None, 100, labels=5).demonstrations
        20
    """
    name = settings.estimator
    shown = settings.demonstrations or max(SHOWN, min(SHOWN_OF_EACH * labels, size // settings.folds))
    if name == "auto":
        name = "leave_one_out"
        if settings.engine == "rounds":
            reads = isinstance(model, ReadsInside) and model.capabilities.prompt_logprobs
            name = "joint" if inside and reads else "shared"
        if name == "shared" and size <= 2 * shown and not model.capabilities.alike:
            name = "leave_one_out"
    if name == "joint":
        return Joint()
    if name == "leave_one_out":
        return LeaveOneOut()
    if not {"folds", "demonstrations"} & settings.model_fields_set and model.capabilities.alike:
        # As many demonstrations in all, in half the requests.
        return Shared(ALIKE_FOLDS, min(max(size // ALIKE_FOLDS, SHOWN), MOST_ALIKE))
    return Shared(settings.folds, shown)


def exact_too(objective: Objective, settings: SearchSettings) -> bool:
    """Whether the labels handed out are scored by leave-one-out besides, where each example has a context of its own.

    Args:
        objective: of the search.
        settings: of the search.
    """
    if objective.estimator.name == LeaveOneOut.name:
        return False
    allowed = "exact" in settings.model_fields_set or not objective.model.capabilities.alike
    return allowed and len(objective.dataset) <= settings.exact


class Believed(NamedTuple):
    """An objective that rests on numbers which were checked, and what to say of it.

    Attributes:
        objective: with an estimator that the model can be believed in.
        warning: why it is another one than planned; empty if it is not.
    """

    objective: Objective
    warning: str = ""


def in_its_place(objective: Objective, settings: SearchSettings) -> Objective | None:
    """The objective that a search rests on if labels inside a prompt are not what comes next.

    Args:
        objective: of the search.
        settings: of the search.

    Returns:
        None if that is not checked, or the settings name "joint", so that nothing takes its place.
    """
    if settings.estimator == "joint" or not _is_checked(objective):
        return None
    labels = len(objective.labels)
    other = estimator_of(settings, objective.model, len(objective.dataset), labels, inside=False)
    return replace(objective, estimator=other)


def _is_checked(objective: Objective) -> bool:
    # A model in this process computes both the same way.
    model = objective.model
    inside = isinstance(objective.estimator, Joint) and isinstance(model, ReadsInside)
    return inside and not model.capabilities.batches


async def believed(objective: Objective, settings: SearchSettings) -> Believed:
    """The objective, once its estimator has been checked; a handful of requests, that are no cost of the search.

    Args:
        objective: of the search.
        settings: of the search. If they name no estimator, one takes the place of one that can't be believed.

    Raises:
        LogprobsUnavailableError: the settings name "joint", and labels inside a prompt are not what comes next.
        ProviderError: the model gave no usable logprobs.
    """
    model = objective.model
    if not _is_checked(objective) or not isinstance(model, ReadsInside):
        return Believed(objective)
    examples = [each for each in objective.dataset if objective.prompts.too_long(each) is None][:TURNS]
    shown = list(zip(examples, islice(cycle(objective.labels), len(examples)), strict=True))
    found = await check_inside(model, objective.prompts.transcripts(shown)[:1])
    objective.tally.part().add(found.costs)
    if found.agrees:
        return Believed(objective)
    other = in_its_place(objective, settings)
    if other is None:
        raise LogprobsUnavailableError(f'estimator = "joint": {found.trouble}; use "shared" or "leave_one_out"')
    return Believed(other, f"prompt logprobs are not used, but estimator {other.estimator.name}: {found.trouble}")
