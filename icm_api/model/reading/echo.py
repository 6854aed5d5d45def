"""Forms and answers found in a prompt that a server sent back with its logprobs.

It does: add up the logprobs of the tokens that write a piece of text, and refuse where tokens don't end with it.
It does not: know a wire format, or ask anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.base import Below, Reading, forms_of
from icm_api.model.reading.label_tokens import Place, logprob_of, read_forms, refuse_constant
from icm_api.types import Prompt

METHOD = "prompt_logprobs"


def form_logprob(places: Sequence[Place], start: int, form: str) -> float:
    """log p of the tokens that write `form`, which begins at character `start`.

    Raises:
        LogprobsUnavailableError: tokens reach over an end of it, or one of its tokens has no logprob.

    Example:
        >>> from icm_api.model.reading.label_tokens import TokenLogprob
        >>> a, b = TokenLogprob(" so", -0.5), TokenLogprob("!", -0.25)
        >>> form_logprob([Place(TokenLogprob("Is", None), (), 0), Place(a, (), 2), Place(b, (), 5)], 2, " so!")
        -0.75
    """
    own = own_places(places, start, form)
    total = 0.0
    for place in own:
        value = logprob_of(place.token)
        if value is None:
            raise LogprobsUnavailableError(
                f"token {place.token.text!r} of form {form!r} has logprob {place.token.logprob!r}, a placeholder"
            )
        total += value
    return min(total, 0.0)


def own_places(places: Sequence[Place], start: int, form: str) -> list[Place]:
    """The places that write the form and nothing else.

    Raises:
        LogprobsUnavailableError: a token reaches over an end of it.
    """
    end = start + len(form)
    own = [place for place in places if start <= place.start < end]
    reaches_in = not own or own[0].start != start
    reaches_out = any(left is own[-1] and right.start > end for left, right in pairwise(places)) if own else True
    last = own[-1] if own else None
    if last is not None and last is places[-1] and last.token.text:
        # Nothing follows that would show where it ends.
        reaches_out = len(last.token.written.decode("utf-8", "replace")) > end - last.start
    if reaches_in or reaches_out:
        raise LogprobsUnavailableError(
            f"form {form!r} melts into the text around it: this model's tokens don't begin and end where it does, so "
            "it has no probability of its own; begin the form with a space or a newline, and end the separator likewise"
        )
    return own


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
    """One reading a turn: the written answer exactly, the other forms from the alternatives to its first token.

    Raises:
        LogprobsUnavailableError: see `form_logprob`.
    """
    readings = []
    for turn, start in zip(prompt.turns, starts, strict=True):
        own = own_places(places, start, turn.answer)
        forms: dict[str, float | Below] = dict(read_forms(own[0], forms_of(prompt.verbalizer)).forms)
        readings.append(Reading({**forms, turn.answer: form_logprob(places, start, turn.answer)}, METHOD))
    return readings


def check_echo(places: Sequence[Place]) -> None:
    """Refuse logprobs of a prompt that cannot be ones.

    Raises:
        LogprobsUnavailableError: they are missing, impossible, or all the same.
    """
    # The first token of all has none.
    numbers = [logprob_of(place.token) for place in places[1:]]
    refuse_constant([number for number in numbers if number is not None])
