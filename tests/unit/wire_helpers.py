"""What the tests of hosted providers share: prompts of the embedded model's world, and asking without a client."""

from collections.abc import Mapping, Sequence
from typing import Any

from icm_api.model.base import Ask, Below, Provider, Reading, Request
from icm_api.model.endpoints.pocket import PocketProvider
from icm_api.model.opening import provider_from_spec
from icm_api.types import Prompt, Turn, Verbalizer

ONE_TOKEN = Verbalizer.plain(["True", "False"])
# Two tokens each, both likely.
TWO_TOKENS = Verbalizer({"True": [" True True"], "False": [" False True"]})
# Unlikely, and many tokens each; two begin with the same ones.
LONG = Verbalizer({"yes": [" correct", " surely so"], "no": [" corrupt"]})


def prompts(verbalizer: Verbalizer = ONE_TOKEN) -> list[Prompt]:
    """Two prompts whose text is also what the testing server's chat template makes of their turns."""
    turns = (Turn("27>82", " False"), Turn("82>27", " True"), Turn("5>3", " True"))
    return [
        Prompt("Judge.", turns, "7>3", verbalizer, "\n"),
        Prompt("Judge.", turns[:2], "3>7", verbalizer, "\n"),
    ]


def asker(provider: Provider) -> Ask:
    """What the client does, without retry and memory."""

    async def ask(requests: Sequence[Request]) -> Sequence[Mapping[str, Any]]:
        bodies = []
        for request in requests:
            (response,) = await provider.send([request])
            provider.check(request, response.body)
            bodies.append(response.body)
        return bodies

    return ask


async def oracle(wanted: Sequence[Prompt]) -> list[Mapping[str, float | Below]]:
    """The embedded model's own numbers."""
    pocket = PocketProvider()
    return [reading.forms for reading in await pocket.score(wanted, asker(pocket))]


async def scored(spec: str, options: Mapping[str, Any], wanted: Sequence[Prompt]) -> Sequence[Reading]:
    """What a provider reads."""
    provider = provider_from_spec(spec, options)
    try:
        return await provider.score(wanted, asker(provider))
    finally:
        await provider.close()
