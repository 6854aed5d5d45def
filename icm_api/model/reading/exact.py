"""Exact logprobs of given token ids: which ids a form has, which questions that takes, and how they add up.

It does: turn answers of a server's tokenizer into ids in context, plan one question per beginning of a form, and sum.
It does not: know a wire format, or ask anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import exp, log
from typing import TypeAlias

from icm_api.errors import CapabilityError, LogprobsUnavailableError
from icm_api.model.base import Below
from icm_api.model.reading.label_tokens import Place, alternatives
from icm_api.types import logsumexp

Ids: TypeAlias = tuple[int, ...]
FormIds: TypeAlias = Mapping[str, tuple[Ids, ...]]
"""Per form the ways to write it."""

METHOD = "exact_ids"

# What rounding can hide from a sum of probabilities.
_ROUNDING = 1e-6


def ids_after(before: Sequence[int], whole: Sequence[int], form: str) -> Ids:
    """The ids that a form adds to what stands before it.

    Raises:
        CapabilityError: its tokens melt into those before.

    Example:
        >>> ids_after([5, 7], [5, 7, 9], " True")
        (9,)
    """
    if list(whole[: len(before)]) != list(before) or len(whole) == len(before):
        raise CapabilityError(
            f"form {form!r} melts into what stands before it, so its tokens have no probability of their own: begin it "
            "with a space or a newline, or use the chat API without thinking"
        )
    return tuple(whole[len(before) :])


def checked_forms(written: Mapping[str, Sequence[Ids]]) -> FormIds:
    """The ways to write each form, each once.

    Raises:
        CapabilityError: two forms are the same tokens to this model, or one's tokens begin another's.
    """
    forms = {form: tuple(dict.fromkeys(ways)) for form, ways in written.items()}
    owners = [(way, form) for form, ways in forms.items() for way in ways]
    for way, form in owners:
        for longer, other in owners:
            if form != other and longer[: len(way)] == way:
                raise CapabilityError(
                    f"to this model form {form!r} is the beginning of form {other!r}, or the same: use one of them"
                )
    return forms


def questions(forms: FormIds) -> dict[Ids, tuple[int, ...]]:
    """What was written so far -> the ids to ask for then, for all beginnings of all forms.

    Example:
        >>> questions({" a": ((1,),), " bc": ((2, 3),)})
        {(): (1, 2), (2,): (3,)}
    """
    asked: dict[Ids, dict[int, None]] = {}
    for way in chain.from_iterable(forms.values()):
        for at, token in enumerate(way):
            asked.setdefault(way[:at], {})[token] = None
    return {before: tuple(ids) for before, ids in asked.items()}


def with_witness(ids: Sequence[int]) -> list[int]:
    """The ids to ask for and one more, so that a server that fills in a constant gives itself away."""
    return [*ids, next(token for token in range(len(ids) + 1) if token not in ids)]


def logprobs_by_id(place: Place, wanted: Sequence[int]) -> dict[int, float | Below]:
    """What a server says of the wanted ids.

    An id with a placeholder is so unlikely that the server has no number: it is `Below` what the others leave.

    Raises:
        LogprobsUnavailableError: an id is missing, or the numbers cannot be logprobs.
    """
    found = alternatives(place.listed)
    read: dict[int, float | Below] = {token.id: value for token, value in found.items() if token.id is not None}
    left = Below(log(max(1 - sum(map(exp, found.values())), _ROUNDING)))
    listed = {token.id for token in place.listed}
    for token in wanted:
        if token not in listed:
            raise LogprobsUnavailableError(
                f"the server left out token id {token}, which it was asked for: it is too old to score given ids; "
                "update it, or use it as openai-compatible:MODEL@URL"
            )
        read.setdefault(token, left)
    return read


def form_logprobs(forms: FormIds, answers: Mapping[Ids, Mapping[int, float | Below]]) -> dict[str, float | Below]:
    """log p of each form: its ways added up, each the sum over its tokens. A bound where a token has only one.

    Example:
        >>> answers = {(): {1: -1.0, 2: -0.5}, (2,): {3: -0.25}}
        >>> form_logprobs({" a": ((1,),), " bc": ((2, 3),)}, answers)
        {' a': -1.0, ' bc': -0.75}
    """
    read: dict[str, float | Below] = {}
    for form, ways in forms.items():
        exact: list[float] = []
        bounds: list[float] = []
        for way in ways:
            steps = [answers[way[:at]][token] for at, token in enumerate(way)]
            total = sum(step.logprob if isinstance(step, Below) else step for step in steps)
            (bounds if any(isinstance(step, Below) for step in steps) else exact).append(total)
        # A way without a number adds next to nothing to one that has one.
        read[form] = min(logsumexp(exact), 0.0) if exact else Below(min(logsumexp(bounds), 0.0))
    return read
