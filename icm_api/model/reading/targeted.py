"""Label logprobs after prompts and inside them, where a server gives those of chosen ids at chosen places of a prompt.

It does: find the tokens of each form in its context, ask for all forms of all turns of a prompt in one request, and add
up. It does not: send. Inside a prompt a form gets a bound if its tokens go on after they part from the written one's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from math import exp
from typing import TypeAlias

from icm_api.errors import CapabilityError, LogprobsUnavailableError
from icm_api.model.reading.boundaries import WORDS, boundary, joins_words
from icm_api.model.reading.echo import inside_places
from icm_api.model.reading.exact_ids import METHOD, Ids, ids_after
from icm_api.model.reading.reading import Below, Reading, forms_of, named
from icm_api.model.request import Asks, Body, Request
from icm_api.types import Answers, Prompt, Usage, Verbalizer

TokensOf: TypeAlias = Callable[[str, bool], tuple[list[int], list[int]]]
"""The ids of a text and the character at which each begins, -1 for none; True: with what a model wants before it."""

_PATH = "target_prompt_logprobs"
_LARGEST_SUM = 1.02
_PLACEHOLDER = -9999.0
_MEMOISED_FORMS = 4096


@dataclass(frozen=True, slots=True)
class Spot:
    """An answer that is written in a prompt.

    Attributes:
        at: the place of its first token; the prompt's first token is at 0.
        written: its tokens.
        forms: the tokens of every form as they would stand there.

    Example:
        >>> spot = Spot(4, (7,), {" True": (7,), " False": (8,), " not so": (9, 3)})
        >>> spot.targets()
        [(4, [7, 8, 9])]
        >>> spot.values({4: {7: -0.5, 8: -1.5, 9: -3.0}})
        {' True': -0.5, ' False': -1.5, ' not so': Below(logprob=-3.0, least=-inf)}
    """

    at: int
    written: Ids
    forms: Mapping[str, Ids]

    def targets(self) -> list[tuple[int, list[int]]]:
        """The places and the ids whose logprobs say what can be read of the forms."""
        wanted: dict[int, dict[int, None]] = {}
        for ids in self.forms.values():
            for step in range(self._readable(ids)):
                wanted.setdefault(self.at + step, {})[ids[step]] = None
        return [(at, [*ids]) for at, ids in sorted(wanted.items())]

    def values(self, found: Mapping[int, Mapping[int, float]]) -> dict[str, float | Below]:
        """log p of each form, or a bound.

        Args:
            found: per place the logprobs of ids.
        """
        read: dict[str, float | Below] = {}
        for form, ids in self.forms.items():
            steps = self._readable(ids)
            total = min(sum(found[self.at + step][ids[step]] for step in range(steps)), 0.0)
            read[form] = total if steps == len(ids) else Below(total)
        return read

    def _readable(self, ids: Ids) -> int:
        """How many tokens of a form follow what is written, the first that parts from it included."""
        pairs = zip(ids, self.written, strict=False)
        alike = next((step for step, (one, other) in enumerate(pairs) if one != other), len(self.written))
        return min(alike + 1, len(ids))


class TargetedIds:
    """Reads label forms by their ids; implements `ReadsLabels` and `ReadsInside`.

    Args:
        identity: of the endpoint, for messages.
        tokens_of: the model's tokenizer.
    """

    def __init__(self, identity: str, tokens_of: TokensOf) -> None:
        self._identity, self._tokens_of = identity, tokens_of
        self._cut_after = lru_cache(_MEMOISED_FORMS)(self._cut)

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """All forms of each prompt: one request, and one more for each further form of several tokens.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            CapabilityError: a form shares a token with the text before it.
            ProviderError: a request failed, or an answer can't be used.
        """
        found: list[dict[str, float | Below]] = [{} for _ in prompts]
        costs: dict[str, Usage] = {}
        left = {at: forms_of(prompt.verbalizer) for at, prompt in enumerate(prompts)}
        while left:
            asked = []
            for at, forms in left.items():
                text = prompts[at].text
                asked.append((at, *self._asked(prompts[at], text + forms[0], [(len(text), forms[0])])))
            answers = await client.ask([request for _, request, _ in asked])
            costs |= answers.costs
            for (at, _, (spot,)), body in zip(asked, answers, strict=True):
                values = spot.values(_found(body, [spot]))
                found[at] |= {form: each for form, each in values.items() if not isinstance(found[at].get(form), float)}
                left[at] = [form for form in left[at][1:] if isinstance(found[at][form], Below)]
            left = {at: forms for at, forms in left.items() if forms}
        return Answers(tuple(Reading(forms, METHOD) for forms in found), costs)

    async def read_inside(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Sequence[Reading]]:
        """Per prompt and turn, the forms given all before the turn's answer; one request a prompt.

        Args:
            prompts: whose turns are read.
            client: asks the requests.

        Raises:
            CapabilityError: a form shares a token with the text before it.
            ProviderError: a request failed, or an answer can't be used.
        """
        asked = []
        for prompt in prompts:
            text, starts = inside_places(prompt)
            marks = [(start, turn.answer) for start, turn in zip(starts, prompt.turns, strict=True)]
            asked.append(self._asked(prompt, text, marks))
        answers = await client.ask([request for request, _ in asked])
        readings = [
            [Reading(spot.values(found), METHOD) for spot in spots]
            for (_, spots), found in ((each, _found(body, each[1])) for each, body in zip(asked, answers, strict=True))
        ]
        return Answers(tuple(readings), answers.costs)

    def _asked(self, prompt: Prompt, text: str, marks: Sequence[tuple[int, str]]) -> tuple[Request, list[Spot]]:
        """The request for the forms where `marks` say that answers begin, and which are written there."""
        ids, starts = self._tokens_of(text, True)
        places = {start: at for at, start in enumerate(starts) if start >= 0}
        spots = [self._spot(prompt.verbalizer, text, (ids, places), mark) for mark in marks]
        targets = [[at, wanted] for spot in spots for at, wanted in spot.targets()]
        check = named(self._identity, str, partial(_found, spots=spots))
        body = {"tokens": ids, "targets": targets}
        return Request(body, _PATH, prompt, tokens=len(ids), completion_tokens=1, check=check), spots

    def _spot(
        self, verbalizer: Verbalizer, text: str, tokens: tuple[Sequence[int], Mapping[int, int]], mark: tuple[int, str]
    ) -> Spot:
        (ids, places), (start, written) = tokens, mark
        forms = {form: self._form(text[:start], form) for form in dict.fromkeys((*forms_of(verbalizer), written))}
        at, own = places.get(start), forms[written]
        if at is None or tuple(ids[at : at + len(own)]) != own:
            raise CapabilityError(
                f"form {written!r} shares a token with the text around it, so it has no probability of its own; begin "
                "the form with a space or a newline, and end the separator likewise"
            )
        return Spot(at, own, forms)

    def _form(self, text: str, form: str) -> Ids:
        """The tokens of a form after a text."""
        return self._cut(text, form) if self._joins else self._cut_after(boundary(text, form), form)

    def _cut(self, before: str, form: str) -> Ids:
        start, whole = (self._tokens_of(text, False)[0] for text in (before, before + form))
        return ids_after(start, whole, form)

    @cached_property
    def _joins(self) -> bool:
        """Whether no less than all of a text says how a form is cut after it."""
        return joins_words(self._tokens_of(WORDS, False)[0])


def _found(body: Body, spots: Sequence[Spot]) -> dict[int, dict[int, float]]:
    """Per place the logprobs of the ids that were asked for.

    Raises:
        LogprobsUnavailableError: one is missing, or they cannot be logprobs.
    """
    rows, targets = body.get("logprobs"), [each for spot in spots for each in spot.targets()]
    if not isinstance(rows, list) or [len(row) for row in rows] != [len(ids) for _, ids in targets]:
        raise LogprobsUnavailableError(f"the answer has no logprobs of the ids that were asked for: {body!r:.200}")
    found = {at: dict(zip(ids, row, strict=True)) for (at, ids), row in zip(targets, rows, strict=True)}
    numbers = [value for row in found.values() for value in row.values()]
    if not all(type(value) is float and _PLACEHOLDER < value <= 1e-6 for value in numbers):
        raise LogprobsUnavailableError(f"an id that was asked for has no logprob: {numbers[:6]!r:.200}")
    if len(numbers) > 1 and len(set(numbers)) == 1:
        raise LogprobsUnavailableError(f"all logprobs are {numbers[0]!r}: a placeholder")
    if any(sum(map(exp, row.values())) > _LARGEST_SUM for row in found.values()):
        raise LogprobsUnavailableError("the probabilities at one place sum to more than 1: these are no logprobs")
    return found
