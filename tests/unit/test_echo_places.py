"""Answers in a prompt that was sent back with its logprobs, by brute force over random cuts of random texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.echo import check_echo, form_logprob
from icm_api.model.reading.label_tokens import Place, TokenLogprob, logprob_of
from icm_api.model.reading.openai_bodies import echoed
from icm_api.model.reading.places import Places
from icm_api.model.reading.token_text import Spelling, decoded, spelled

TEXT = "Is it so? Yes it is"


def cut(rng: Random) -> list[Place]:
    """The text in tokens of one to four characters, some of them after a mark that stands before the text."""
    places = [Place(TokenLogprob("<s>", None), (), -3)] if rng.random() < 0.5 else []
    at = 0
    while at < len(TEXT):
        piece = TEXT[at : at + rng.randint(1, 4)]
        places.append(Place(TokenLogprob(piece, -rng.random()), (), at))
        at += len(piece)
    return places


@pytest.mark.parametrize("seed", range(30))
def test_a_form_has_the_tokens_that_write_it_and_nothing_else(seed: int) -> None:
    rng = Random(seed)
    places, read = cut(rng), 0
    borders = {place.start for place in places} | {len(TEXT)}
    for start in range(len(TEXT)):
        for end in range(start + 1, len(TEXT) + 1):
            if {start, end} <= borders:
                own = [float(str(each.token.logprob)) for each in places if start <= each.start < end]
                assert form_logprob(places, start, TEXT[start:end]) == sum(own)
                read += 1
            else:
                with pytest.raises(LogprobsUnavailableError, match="shares a token"):
                    form_logprob(places, start, TEXT[start:end])
    assert read


# Text, byte-level and SentencePiece spellings, half characters, a name, and what an answer without text lists.
SHOWN = (
    "It",
    " is",
    "\u0120is",
    "\u2581is",
    "S\u00c3\u0143",
    "<0x0A>",
    "\ufffd",
    " \ufffd",
    "<s>",
    "Sí",
    "token_id:7",
    "",
)


@pytest.mark.parametrize("seed", range(40))
def test_places_made_one_by_one_are_those_of_all_tokens_together(seed: int) -> None:
    rng = Random(seed)
    shown = [*rng.sample(SHOWN, rng.randint(1, 5)), "I", "s"]
    tokens = [rng.choice(shown) for _ in range(12)]
    logprobs = [-rng.random() for _ in tokens]
    tops = [{rng.choice(shown): -rng.random() for _ in range(rng.randint(0, 3))} for _ in tokens]
    made = [_made(*each) for each in zip(tokens, logprobs, strict=True)]
    made_tops = [tuple(_made(*each) for each in top.items()) for top in tops]
    text = "".join(each.written.decode("utf-8", "replace") for each in decoded(made[:9], spelled(made, made_tops)))
    shape = {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops}
    places = echoed({"choices": [{"logprobs": shape}]}, text)
    spelling = next(each for each in (spelled(made, made_tops), *Spelling) if _same(places, made, each))
    assert [place.top for place in places] == [decoded(top, spelling) for top in made_tops[: len(places)]]
    assert list(places.starts) == [place.start for place in places] == sorted(places.starts)
    assert places[2:5] == tuple(places)[2:5]
    assert places[-1] == tuple(places)[-1]
    with pytest.raises(IndexError):
        places[len(places)]


def _made(text: str, logprob: float) -> TokenLogprob:
    _, begun, number = text.rpartition("token_id:")
    return TokenLogprob("", logprob, id=int(number)) if begun else TokenLogprob(text, logprob)


def _same(places: Places, made: Sequence[TokenLogprob], spelling: Spelling) -> bool:
    return [place.token for place in places] == list(decoded(made[: len(places)], spelling))


@pytest.mark.parametrize(
    "value", [None, 0.5, float("nan"), True, "-1", -9999.0, -1e9, 0, -3, "-Infinity", float("-inf"), -0.0, -2.5]
)
def test_a_number_in_a_prompt_is_refused_or_taken_as_any_other(value: object) -> None:
    logprobs = [None, -0.5, value, -0.25]
    shape = {"tokens": ["I", "t", " is", " so"], "token_logprobs": logprobs}
    places = echoed({"choices": [{"logprobs": shape}]}, "It is so")
    assert _error(lambda: check_echo(places)) == _error(lambda: logprob_of(TokenLogprob(" is", value)))


def _error(action: Callable[[], object]) -> str:
    try:
        action()
    except LogprobsUnavailableError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("number", [-0.5, -3, -9999.0])
def test_numbers_in_a_prompt_that_are_all_the_same_are_refused(number: float) -> None:
    shape = {"tokens": ["I", "t", " is", " so"], "token_logprobs": [None, number, number, number]}
    places = echoed({"choices": [{"logprobs": shape}]}, "It is so")
    if number == -9999.0:
        check_echo(places)
        return
    with pytest.raises(LogprobsUnavailableError, match="all 3 tokens have the same logprob"):
        check_echo(places)
