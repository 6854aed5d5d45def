"""Forms and answers found in a prompt that a server sent back with its logprobs.

It does: add up the logprobs of the tokens that write a piece of text, and refuse if tokens don't end with it.
It does not: know a wire format, or ask anything.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import exp, log

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.label_tokens import Place, begins, is_plain, logprob_of, read_forms, refuse_constant
from icm_api.model.reading.places import Places
from icm_api.model.reading.reading import Below, Reading, forms_of
from icm_api.model.request import Asks, Body, Request
from icm_api.types import Answers, Prompt

METHOD = "prompt_logprobs"


class PromptLogprobs:
    """Reads forms at the end of a prompt, and answers inside it, from the prompt's own logprobs.

    Args:
        question: the request for a text's logprobs, of a prompt and with so many alternatives at each token.
        places: the tokens of the text in an answer.
        top: the most alternatives.
    """

    def __init__(
        self,
        question: Callable[[Prompt, str, int], Request],
        places: Callable[[Body, str], Places],
        top: int,
    ) -> None:
        self._question, self._places, self._top = question, places, top

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """All forms of each prompt, one request a form.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            ProviderError: a request failed, or an answer can't be used.
        """
        return await self.settle(prompts, Answers(tuple(Reading({}, METHOD) for _ in prompts)), client)

    async def settle(self, prompts: Sequence[Prompt], found: Answers[Reading], client: Asks) -> Answers[Reading]:
        """Ask for the forms that have no number yet, one request each.

        Args:
            prompts: what stands before the forms.
            found: what is known of them.
            client: asks the requests.

        Raises:
            ProviderError: a request failed, or an answer can't be used.
        """
        known = [dict(reading.forms) for reading in found]
        wanted = [
            (at, form)
            for at, prompt in enumerate(prompts)
            for form in forms_of(prompt.verbalizer)
            if not isinstance(known[at].get(form), float)
        ]
        answers = await client.ask([self._question(prompts[at], prompts[at].text + form, 1) for at, form in wanted])
        for (at, form), body in zip(wanted, answers, strict=True):
            text = prompts[at].text
            known[at][form] = form_logprob(self._places(body, text + form), len(text), form)
        asked = {at for at, _ in wanted}
        methods = (METHOD if at in asked else reading.method for at, reading in enumerate(found))
        return Answers(tuple(map(Reading, known, methods)), {**found.costs, **answers.costs})

    async def read_inside(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Sequence[Reading]]:
        """Per prompt and turn, the logprobs of the turn's answer given all before it; one request a prompt.

        The answer that is written is exact; other forms are as exact as the listed alternatives make them. What
        follows the last turn has no influence.

        Args:
            prompts: whose turns are read.
            client: asks the requests.

        Raises:
            ProviderError: a request failed, or an answer can't be used.
        """
        marked = [inside_places(prompt) for prompt in prompts]
        requests = [self._question(prompt, text, self._top) for prompt, (text, _) in zip(prompts, marked, strict=True)]
        answers = await client.ask(requests)
        readings = [
            inside_readings(prompt, self._places(body, text), starts)
            for prompt, body, (text, starts) in zip(prompts, answers, marked, strict=True)
        ]
        return Answers(tuple(readings), answers.costs)


def form_logprob(places: Sequence[Place], start: int, form: str) -> float:
    """log p of the tokens that write `form`, which begins at character `start`.

    Args:
        places: the tokens of the text.
        start: the character at which the form begins.
        form: that is written there.

    Raises:
        LogprobsUnavailableError: tokens reach over an end of it, or one of its tokens has no logprob.

    Example:
        >>> from icm_api.model.reading.label_tokens import TokenLogprob
        >>> a, b = TokenLogprob(" so", -0.5), TokenLogprob("!", -0.25)
        >>> form_logprob([Place(TokenLogprob("Is", None), (), 0), Place(a, (), 2), Place(b, (), 5)], 2, " so!")
        -0.75
    """
    return _sum(own_places(places, start, form), form)


def _sum(own: Sequence[Place], form: str) -> float:
    """log p of the tokens that write the form."""
    total = 0.0
    for place in own:
        value = logprob_of(place.token)
        if value is None:
            raise LogprobsUnavailableError(
                f"token {place.token.text!r} of form {form!r} has logprob {place.token.logprob!r}, a placeholder"
            )
        total += value
    return min(total, 0.0)


def own_places(places: Sequence[Place], start: int, form: str) -> Sequence[Place]:
    """The places that write the form and nothing else.

    Args:
        places: the tokens of the text, in its order.
        start: the character at which the form begins.
        form: that is written there.

    Raises:
        LogprobsUnavailableError: a token reaches over an end of it.
    """
    end = start + len(form)
    starts = places.starts if isinstance(places, Places) else [place.start for place in places]
    first = bisect_left(starts, start)
    after = bisect_left(starts, end, lo=first)
    own = places[first:after]
    if not own or own[0].start != start or _reaches_over(own[-1], places[after : after + 1], end):
        raise LogprobsUnavailableError(
            f"form {form!r} shares a token with the text around it, since this model's tokens don't begin and end with "
            "the form, so it has no probability of its own; begin the form with a space or a newline, and end the "
            "separator likewise"
        )
    return own


def _reaches_over(last: Place, following: Sequence[Place], end: int) -> bool:
    """Whether the last token of a form reaches over the form's end."""
    if following:
        return following[0].start > end
    # Nothing follows that would show where it ends.
    return bool(last.token.text) and len(_written(last)) > end - last.start


def inside_places(prompt: Prompt) -> tuple[str, list[int]]:
    """The prompt up to the end of its last answer, and where each answer begins.

    Example:
        >>> from icm_api.types import Turn, Verbalizer
        >>> turns = (Turn("1+1=2", " True"), Turn("1+1=3", " False"))
        >>> inside_places(Prompt("", turns, "?", Verbalizer.plain(["True", "False"]), separator=chr(10)))
        ('1+1=2 True\\n1+1=3 False', [5, 16])
    """
    text = prompt.instruction + prompt.separator if prompt.instruction else ""
    starts = []
    for at, turn in enumerate(prompt.turns):
        text += prompt.separator if at else ""
        starts.append(len(text) + len(turn.text))
        text += turn.text + turn.answer
    return text, starts


def inside_readings(prompt: Prompt, places: Sequence[Place], starts: Sequence[int]) -> list[Reading]:
    """One reading a turn: the written answer exactly, the other forms from the alternatives where they part from it.

    Args:
        prompt: whose turns are read.
        places: the tokens of its text.
        starts: the characters at which the answers begin, one per turn.

    Raises:
        LogprobsUnavailableError: see `form_logprob`.
    """
    readings = []
    for turn, start in zip(prompt.turns, starts, strict=True):
        own = own_places(places, start, turn.answer)
        forms = _read_where_they_part(own, forms_of(prompt.verbalizer))
        readings.append(Reading({**forms, turn.answer: _sum(own, turn.answer)}, METHOD))
    return readings


def _read_where_they_part(own: Sequence[Place], forms: Sequence[str]) -> dict[str, float | Below]:
    """Each form from the alternatives to the first token at which it parts from what is written."""
    shared, before = "", 0.0
    while len(own) > 1 and (value := logprob_of(own[0].token)) is not None and _all_begin(own[0], shared, forms):
        # Such as a space alone.
        shared, before, own = shared + _written(own[0]), before + value, own[1:]
    first = read_forms(own[0], [form.removeprefix(shared) for form in forms]).forms
    found = {}
    for form in forms:
        rest = form.removeprefix(shared)
        along = _read_along(own, rest) if len(own) > 1 and isinstance(first[rest], Below) else first[rest]
        found[form] = _after(before, along)
    return found


def _all_begin(place: Place, shared: str, forms: Sequence[str]) -> bool:
    """Whether all forms go on with the token that stands there, and no listed token begins one in another way."""
    longer, rests = shared + _written(place), [form.removeprefix(shared) for form in forms]
    others = [token for token in place.listed if not token.same(place.token)]
    return all(form.startswith(longer) and form != longer for form in forms) and not any(
        token.written == rest.encode() or begins(token, rest) for token in others for rest in rests
    )


def _read_along(own: Sequence[Place], form: str) -> float | Below:
    """A form that begins as what is written, read where it parts from it, and bounded.

    It may be cut into other tokens than the text is: that it begins with another one is bounded by the alternatives.
    """
    at, before, elsewhere = 0, 0.0, 0.0
    for place in own:
        read = read_forms(place, [form[at:]]).forms[form[at:]]
        text, value = _written(place), logprob_of(place.token)
        goes_on = place is not own[-1] and text and form.startswith(text, at) and len(form) > at + len(text)
        if not isinstance(read, Below) or not goes_on or value is None:
            break
        elsewhere += exp(before) * max(exp(read.logprob) - exp(value), 0.0)
        at, before = at + len(text), before + value
    found = _after(before, read)
    if not elsewhere:
        return found
    low, high = (found.least, found.logprob) if isinstance(found, Below) else (found, found)
    return Below(log(min(exp(high) + elsewhere, 1.0)), low)


def _written(place: Place) -> str:
    return place.token.written.decode("utf-8", "replace")


def _after(before: float, value: float | Below) -> float | Below:
    if isinstance(value, Below):
        return Below(min(before + value.logprob, 0.0), before + value.least)
    return min(before + value, 0.0)


def check_echo(places: Places) -> None:
    """Refuse logprobs of a prompt that cannot be ones.

    Raises:
        LogprobsUnavailableError: they are missing, impossible, or all the same.
    """
    # The first token of all has none.
    later = enumerate(places.logprobs[1:], start=1)
    numbers = [value if is_plain(value) else logprob_of(places[at].token) for at, value in later]
    refuse_constant([number for number in numbers if number is not None])
