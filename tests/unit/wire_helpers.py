"""What the tests of hosted providers share: prompts of the embedded model's world, and asking without a client."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from icm_api.errors import RequestErrorKind
from icm_api.model.open import open_endpoint
from icm_api.model.reading.openai import Questions
from icm_api.model.reading.reading import Below, Reading
from icm_api.model.request import Endpoint
from icm_api.types import Prompt, Turn, Verbalizer
from tests.models import Straight

ONE_TOKEN = Verbalizer.plain(["True", "False"])
# Two tokens each, both likely.
TWO_TOKENS = Verbalizer({"True": [" True True"], "False": [" False True"]})
# Unlikely, and many tokens each; two begin with the same ones.
LONG = Verbalizer({"yes": [" correct", " surely so"], "no": [" corrupt"]})


NO_ANSWER: Sequence[tuple[Exception, RequestErrorKind]] = (
    (httpx2.ReadTimeout("slow"), "timeout"),
    (httpx2.ConnectError("nobody there"), "connection"),
    (httpx2.ConnectTimeout("nobody there"), "connection"),
    (httpx2.RemoteProtocolError("cut"), "disconnected"),
)
"""What the network does in place of an answer, and of which kind the error is."""


def prompts(verbalizer: Verbalizer = ONE_TOKEN) -> list[Prompt]:
    """Two prompts whose text is also what the testing server's chat template makes of their turns."""
    turns = (Turn("27>82", " False"), Turn("82>27", " True"), Turn("5>3", " True"))
    return [
        Prompt("Judge.", turns, "7>3", verbalizer, "\n"),
        Prompt("Judge.", turns[:2], "3>7", verbalizer, "\n"),
    ]


def before_each_answer(whole: Prompt) -> list[Prompt]:
    """Per turn of a prompt, the prompt that ends right before the turn's answer."""
    return [
        Prompt(whole.instruction, whole.turns[:at], turn.text, whole.verbalizer, whole.separator)
        for at, turn in enumerate(whole.turns)
    ]


async def oracle(wanted: Sequence[Prompt]) -> list[Mapping[str, float | Below]]:
    """The embedded model's own numbers."""
    pocket, readers = open_endpoint("pocket")
    return [reading.forms for reading in await readers.labels.read(wanted, Straight(pocket))]


async def scored(spec: str, options: Mapping[str, Any], wanted: Sequence[Prompt]) -> Sequence[Reading]:
    """What is read of a model."""
    endpoint, readers = open_endpoint(spec, options)
    try:
        return await readers.labels.read(wanted, Straight(endpoint))
    finally:
        await endpoint.close()


async def scored_inside(spec: str, options: Mapping[str, Any], wanted: Sequence[Prompt]) -> Sequence[Sequence[Reading]]:
    """What is read inside the prompts."""
    endpoint, readers = open_endpoint(spec, options)
    assert readers.inside is not None
    try:
        return await readers.inside.read_inside(wanted, Straight(endpoint))
    finally:
        await endpoint.close()


def questions_of(spec: str, options: Mapping[str, Any] | None = None) -> tuple[Endpoint, Questions]:
    """An endpoint of OpenAI's formats, and what writes its requests."""
    endpoint, readers = open_endpoint(spec, options)
    assert isinstance(readers.text, Questions)
    return endpoint, readers.text
