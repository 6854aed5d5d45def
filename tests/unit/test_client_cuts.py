"""A server that cuts prompts is stopped with the proof, and no other is, however its texts differ."""

from collections.abc import Iterable, Sequence
from random import Random

import pytest

from icm_api.errors import ProviderError
from icm_api.model.client.client import Client
from icm_api.model.client.cuts import CutWatch
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities, Prompt, Turn, Usage, Verbalizer

TWO = Verbalizer.plain(["True", "False"])


def asked(tokens: int, turns: Sequence[str] = ()) -> Request:
    prompt = Prompt("", tuple(Turn(text, " True") for text in turns), "?", TWO, "\n")
    return Request({"tokens": tokens, "turns": list(turns)}, prompt=prompt, tokens=tokens)


def look(answered: Iterable[tuple[Request, int]]) -> None:
    watch = CutWatch("host/m")
    for each in answered:
        watch.look([each])


@pytest.mark.parametrize("window", [256, 1024, 4096])
def test_counts_that_stay_at_the_window_are_a_proof(window: int) -> None:
    sizes = [window // 2 * step for step in range(1, 20)]
    with pytest.raises(ProviderError, match=rf"cuts prompts.*counted as {window:,} tokens.*context_window = {window} "):
        look((asked(size), min(round(size * 0.75), window)) for size in sizes)


def test_a_server_that_drops_whole_messages_is_found_out_by_prompts_that_hold_more() -> None:
    texts = [f"text {at}" for at in range(40)]
    dropping = (
        (asked(200 * count, texts[:count]), min(150 * count, 2000 - 37 * (count % 3))) for count in range(1, 41)
    )
    with pytest.raises(ProviderError, match="counted as 2,000 tokens at most"):
        look(dropping)


@pytest.mark.parametrize("seed", range(5))
def test_texts_of_every_density_are_no_proof(seed: int) -> None:
    random = Random(seed)
    # From 1 to 15 bytes a token, and few different counts, so that some are equal by chance.
    look((asked(size := random.randrange(100, 400)), int(size * random.uniform(0.2, 1.5))) for _ in range(5000))


def test_a_server_that_counts_only_what_its_cache_lacks_is_no_proof() -> None:
    texts = [f"text {at}" for at in range(40)]
    look((asked(200 * count, texts[:count]), 1200 if count == 8 else 150 + count) for count in range(8, 40))


def test_a_count_that_is_always_the_same_and_no_window_is_no_proof() -> None:
    look((asked(100 * step), 50) for step in range(1, 30))


def test_estimates_in_place_of_counts_are_no_proof() -> None:
    look((asked(size), size) for size in (300, 600, 900, 1200))


class Cutting:
    """A model on this machine that cuts, so that all is asked for in one go."""

    identity = "host/m"
    capabilities = Capabilities(100_000, "top_k", deterministic=True, batches=True)

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        return [Response({}, Usage(1, min(request.tokens // 2, 300), 1)) for request in requests]

    async def close(self) -> None: ...


async def test_the_client_stops_and_so_does_one_that_has_all_from_a_cache() -> None:
    client = Client(Cutting())
    for _ in range(2):
        with pytest.raises(ProviderError, match="cuts prompts"):
            await client.ask([asked(size) for size in (500, 1000, 2000, 4000)])
    assert client.meter.sent.requests == 4
    await client.close()
