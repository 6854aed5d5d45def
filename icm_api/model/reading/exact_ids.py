"""Exact logprobs of given token ids: which ids a form has, which questions that takes, and how the answers add up.

It does: ask a server's tokenizer for a form's ids in context, then for the logprobs of just those.
It does not: load a tokenizer, or know how a server is asked for the logprobs of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import exp, log
from typing import Any, TypeAlias

from icm_api.errors import CapabilityError, LogprobsUnavailableError
from icm_api.model.reading.boundaries import WORDS, boundary, joins_words
from icm_api.model.reading.label_tokens import Place, alternatives
from icm_api.model.reading.openai import Questions
from icm_api.model.reading.reading import Below, Reading, forms_of, named
from icm_api.model.request import Asks, Body, Request
from icm_api.types import Answers, Prompt, logsumexp

Ids: TypeAlias = tuple[int, ...]
FormIds: TypeAlias = Mapping[str, tuple[Ids, ...]]
"""Per form the ways to write it."""

_Place: TypeAlias = tuple[str, str]
"""A text, or what stands for it, and what follows it."""

METHOD = "exact_ids"

# What rounding can hide from a sum of probabilities.
_ROUNDING = 1e-6

_TOKENIZE = "/tokenize"
_SOME_QUESTION = ({"role": "user", "content": "?"},)


class ExactIds:
    """Reads each form from the logprobs of its own token ids, whatever the model finds likeliest.

    Args:
        questions: writes what the server's tokenizer is asked.
        exact: the request for the logprobs of ids after a prompt, or after other ids, which stand for it and more; and
            whether the answer shall hold the ids of the whole prompt too, if the server can.
        place: where an answer to it has the logprobs.
        ids: the ids of the whole prompt that an answer holds; None if it holds none.
    """

    def __init__(
        self,
        questions: Questions,
        exact: Callable[[Prompt, Sequence[int], Ids | None, bool], Request],
        place: Callable[[Body], Place],
        ids: Callable[[Body], Ids | None],
    ) -> None:
        self._questions, self._exact, self._place, self._ids = questions, exact, place, ids
        self._host = questions.host

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """Every form's tokens by their ids: one request a prompt, and one more for each beginning of longer forms.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            CapabilityError: a form shares a token with the text before it.
            ProviderError: a request failed, or an answer can't be used.
        """
        forms = await self._form_ids(prompts, client)
        asked = [questions(ids) for ids in forms]
        first = await client.ask(
            [
                self._exact(prompt, with_witness(wanted[()]), None, len(wanted) > 1)
                for prompt, wanted in zip(prompts, asked, strict=True)
            ]
        )
        found, whole = list[dict[Ids, dict[int, float | Below]]](), dict[int, Ids | None]()
        for at, (body, wanted) in enumerate(zip(first, asked, strict=True)):
            found.append({(): logprobs_by_id(self._place(body), wanted[()])})
            if len(wanted) > 1:
                whole[at] = self._ids(body)
        starts = await self._starts(whole, prompts, client)
        begun = [(at, before) for at in starts for before in asked[at] if before]
        further = await client.ask(
            [
                self._exact(prompts[at], with_witness(asked[at][before]), (*starts[at], *before), False)
                for at, before in begun
            ]
        )
        for (at, before), body in zip(begun, further, strict=True):
            found[at][before] = logprobs_by_id(self._place(body), asked[at][before])
        readings = [Reading(form_logprobs(ids, each), METHOD) for ids, each in zip(forms, found, strict=True)]
        return Answers(tuple(readings), {**first.costs, **further.costs})

    async def _starts(self, whole: Mapping[int, Ids | None], prompts: Sequence[Prompt], client: Asks) -> dict[int, Ids]:
        """The ids of these prompts, by their place; those that no answer held are asked for."""
        left = [at for at, ids in whole.items() if ids is None]
        tokens = await self._tokens([(self._whole(prompts[at]), prompts[at]) for at in left], client)
        told = dict(zip(left, tokens, strict=True))
        return {at: told[at] if ids is None else ids for at, ids in whole.items()}

    async def _form_ids(self, prompts: Sequence[Prompt], client: Asks) -> list[FormIds]:
        """The ids of each prompt's forms, as they stand after its text, or at the start of an answer.

        They are asked for once for all prompts with the same `boundary`; of a tokenizer that joins words, after each
        whole prompt. The client keeps what the server says, so that it is not asked again.
        """
        if not prompts:
            return []
        chat = self._host.chat
        places = [
            [("" if chat else boundary(prompt.text, form), form) for form in forms_of(prompt.verbalizer)]
            for prompt in prompts
        ]
        # Of a conversation the server says itself where an answer begins.
        words = [] if chat else [(self._beginning(WORDS), prompts[0])]
        asked = self._asked(places, prompts)
        tokens = await self._tokens([*words, *asked.values()], client)
        if words and joins_words(tokens.pop(0)):
            places = [[(prompt.text, form) for _, form in each] for prompt, each in zip(prompts, places, strict=True)]
            asked = self._asked(places, prompts)
            tokens = await self._tokens([*asked.values()], client)
        found = dict(zip(asked, tokens, strict=True))
        checked = {key: checked_forms(self._written(key, found)) for key in dict.fromkeys(map(tuple, places))}
        return [checked[tuple(each)] for each in places]

    def _asked(
        self, places: Sequence[Sequence[_Place]], prompts: Sequence[Prompt]
    ) -> dict[_Place, tuple[Body, Prompt]]:
        """What the tokenizer is asked about these places: for each text before a form, and each way to go on."""
        asked: dict[_Place, tuple[Body, Prompt]] = {}
        for prompt, each in zip(prompts, places, strict=True):
            for before, form in each:
                asked.setdefault((before, ""), (self._beginning(before), prompt))
                for way in self._ways(form):
                    if (before, way) not in asked:
                        asked[before, way] = (self._continued(before, way), prompt)
        return asked

    def _written(self, places: Sequence[_Place], tokens: Mapping[_Place, Ids]) -> dict[str, list[Ids]]:
        """The ways to write each form, by what the tokenizer made of the texts before it, without it and with it."""
        return {
            form: [ids_after(tokens[before, ""], tokens[before, way], form) for way in self._ways(form)]
            for before, form in places
        }

    async def _tokens(self, asked: Sequence[tuple[Body, Prompt]], client: Asks) -> list[Ids]:
        """What the server's tokenizer makes of texts or conversations, each of a prompt: no question to a model."""
        extra = self._host.entry.extra
        template = {name: value for name, value in extra.items() if name.startswith("chat_template")}
        check = named(self._host.identity, self._host.blot, _tokens_of)
        requests = [
            Request({"model": self._host.model, **body, **template}, _TOKENIZE, prompt, check=check)
            for body, prompt in asked
        ]
        return [_tokens_of(body) for body in await client.ask(requests)]

    def _ways(self, form: str) -> tuple[str, ...]:
        """A chat model may write a form with the space or without it."""
        return tuple(dict.fromkeys((form.lstrip(), form))) if self._host.chat else (form,)

    def _beginning(self, tail: str) -> dict[str, Any]:
        if self._host.chat:
            return {"messages": [*_SOME_QUESTION], "add_generation_prompt": True}
        return {"prompt": tail, "add_special_tokens": False}

    def _continued(self, tail: str, form: str) -> dict[str, Any]:
        if not self._host.chat:
            return {"prompt": tail + form, "add_special_tokens": False}
        messages = [*_SOME_QUESTION, {"role": "assistant", "content": form}]
        return {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}

    def _whole(self, prompt: Prompt) -> dict[str, Any]:
        """The prompt with all that the server would put before and around it."""
        if self._host.chat:
            return {"messages": self._questions.shown(prompt, ""), "add_generation_prompt": True}
        return {"prompt": prompt.text, "add_special_tokens": True}


def ids_after(before: Sequence[int], whole: Sequence[int], form: str) -> Ids:
    """The ids that a form adds to what stands before it.

    Args:
        before: ids of the text before the form.
        whole: ids of that text and the form.
        form: for the message.

    Raises:
        CapabilityError: the form shares a token with the text before it.

    Example:
        >>> ids_after([5, 7], [5, 7, 9], " True")
        (9,)
    """
    if list(whole[: len(before)]) != list(before) or len(whole) == len(before):
        raise CapabilityError(
            f"form {form!r} shares a token with the text before it, so its tokens have no probability of their own: "
            "begin it with a space or a newline, or use the chat API without thinking"
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

    Args:
        place: what the server listed.
        wanted: the ids that it was asked for.

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
    """log p of each form: its ways added up, each the sum over its tokens. A bound if a token has only one.

    Args:
        forms: per form the ways to write it, as ids.
        answers: what was written so far -> log p of the ids that follow.

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


def listed_ids(found: object) -> Ids | None:
    """Token ids as a server lists them; None if these are none.

    Example:
        >>> listed_ids([5, 7]), listed_ids(None), listed_ids([True])
        ((5, 7), None, None)
    """
    return tuple(found) if isinstance(found, list) and all(type(token) is int for token in found) else None


def _tokens_of(body: Body) -> Ids:
    tokens = listed_ids(body.get("tokens"))
    if tokens is None:
        raise LogprobsUnavailableError(f"the server's tokenizer gave no list of ids: {body!r:.200}")
    return tokens
