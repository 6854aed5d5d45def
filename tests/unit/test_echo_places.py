"""Answers in a prompt that was sent back with its logprobs, by brute force over random cuts of random texts."""

from __future__ import annotations

from random import Random

import pytest

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.echo import form_logprob
from icm_api.model.reading.label_tokens import Place, TokenLogprob

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
