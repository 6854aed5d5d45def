"""Anthropic and Gemini over real HTTP: a server serves the embedded model, and the model itself is the oracle."""

from collections.abc import Sequence
from math import exp, sqrt
from typing import Any

import pytest

from icm_api.config import ClientSettings
from icm_api.errors import LogprobsUnavailableError, ProviderError, RequestError, RequestErrorKind
from icm_api.model.open import Opened, open_endpoint
from icm_api.model.reading.sampling import statement_question
from icm_api.pocket.model import PocketModel
from icm_api.testing import Faults, Server, serve
from icm_api.types import LabelDistribution, Prompt, Turn, Verbalizer
from tests.models import Straight, as_model

TWO = Verbalizer.plain(["True", "False"])
CLAIMS = {"27>82": " False", "35>12": " True", "82>27": " True", "44>51": " False", "51>44": " True", "12>35": " False"}


def prompt(query: str, count: int = 3) -> Prompt:
    """A prompt whose instruction is a demonstration too: so a conversation reads as the text that the model knows."""
    shown = [(text, answer) for text, answer in CLAIMS.items() if text != query][:count]
    first, *rest = shown
    return Prompt("".join(first), tuple(Turn(*each) for each in rest), query, TWO, separator="\n")


PROMPTS = [prompt(query, count) for query in ("82>27", "12>35", "44>51") for count in (1, 3, 5)]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-the-test")
    monkeypatch.setenv("GEMINI_API_KEY", "of-the-test")


async def distributions(provider: Opened, prompts: Sequence[Prompt]) -> Sequence[LabelDistribution]:
    async with as_model(provider) as client:
        return list(await client.label_distributions(prompts))


def gemini(server: Server, **options: Any) -> Opened:
    return open_endpoint(f"gemini:{server.model}@{server.root}", options)


def claude(server: Server, **options: Any) -> Opened:
    return open_endpoint(f"anthropic:{server.model}@{server.root}", options)


async def test_gemini_reads_what_the_model_computes() -> None:
    with serve() as server:
        found = await distributions(gemini(server), PROMPTS)
    for read, exact in zip(found, await distributions(open_endpoint("pocket"), PROMPTS), strict=True):
        assert read.logprobs == pytest.approx(exact.logprobs, abs=1e-5)
        assert read.coverage == pytest.approx(exact.coverage, abs=1e-5)


async def test_gemini_bounds_hold_what_is_not_listed() -> None:
    with serve() as server:
        found = await distributions(gemini(server, top_logprobs=1), PROMPTS)
    exact = await distributions(open_endpoint("pocket"), PROMPTS)
    bounded = [(label, read, true) for read, true in zip(found, exact, strict=True) for label in read.intervals]
    assert bounded
    for label, read, true in bounded:
        low, high = read.intervals[label]
        assert low - 1e-6 <= true.probability(label) <= high + 1e-6


async def test_sampled_labels_are_within_four_standard_errors() -> None:
    samples = 400
    with serve(seed=3) as server:
        (found,) = await distributions(claude(server, samples=samples, max_tokens=1), [PROMPTS[1]])
    (exact,) = await distributions(open_endpoint("pocket"), [PROMPTS[1]])
    p, coverage = exact.probability("True"), exact.coverage
    assert found.method == "sampled"
    assert found.standard_error is not None
    assert found.coverage is not None
    assert coverage is not None
    assert abs(found.probability("True") - p) <= 4 * found.standard_error
    assert found.standard_error == pytest.approx(sqrt(p * (1 - p) / samples), rel=0.5)
    assert abs(found.coverage - coverage) <= 4 * sqrt(coverage * (1 - coverage) / samples) + 1 / samples


async def test_stated_probabilities_are_the_mean_of_what_the_server_stated() -> None:
    asked, samples = PROMPTS[4], 4
    with serve() as server:
        (found,) = await distributions(claude(server, estimate="stated", samples=samples), [asked])
    model, stated = PocketModel.load(), []
    for sample in range(samples):
        text = f"{asked.text}\n\n{statement_question(TWO, sample)}"
        row = model.next_token_logprobs([(model.encode(text),)])[0]
        true, false = (exp(row[model.encode(f" {label}")[0]]) for label in TWO.labels)
        stated.append(round(true / (true + false), 2))
    mean = sum(stated) / samples
    spread = sqrt(sum((each - mean) ** 2 for each in stated) / (samples - 1))
    assert found.method == "stated"
    assert found.probability("True") == pytest.approx(mean, abs=0.006)
    assert found.standard_error == pytest.approx(spread / sqrt(samples), abs=0.006)


async def test_samples_read_the_demonstrations_from_the_cache() -> None:
    sent = {}
    for cached in (True, False):
        with serve() as server:
            async with as_model(claude(server, samples=8, max_tokens=1, cache_control=cached)) as client:
                await client.label_distributions([prompt("82>27", 5)])
                sent[cached] = client.sent
    assert sent[True].prompt_tokens == sent[False].prompt_tokens
    assert sent[False].cached_tokens == 0
    assert 0.5 * sent[True].prompt_tokens < sent[True].cached_tokens < sent[True].prompt_tokens


KINDS: list[tuple[str, RequestErrorKind, int | None]] = [
    ("429-seconds", "rate_limit", 429),
    ("429-ms", "rate_limit", 429),
    ("429-date", "rate_limit", 429),
    ("429-none", "rate_limit", 429),
    ("500", "server", 500),
    ("503", "overloaded", 503),
    ("529", "overloaded", 529),
    ("cut", "disconnected", None),
    ("truncated-json", "broken_answer", 200),
    ("400", "bad_request", 400),
    ("401", "authentication", 401),
    ("403", "permission", 403),
    ("404", "not_found", 404),
]


@pytest.mark.parametrize(("fault", "kind", "status"), KINDS)
@pytest.mark.parametrize("name", ["anthropic", "gemini"])
async def test_each_fault_is_named(name: str, fault: str, kind: RequestErrorKind, status: int | None) -> None:
    with serve(faults=Faults((fault,), retry_after=0.5)) as server:
        provider = claude(server, samples=1) if name == "anthropic" else gemini(server)
        with pytest.raises(RequestError) as caught:
            await provider.readers.labels.read([PROMPTS[0]], Straight(provider.endpoint))
        await provider.endpoint.close()
    assert (caught.value.kind, caught.value.status) == (kind, status)
    waits = {"429-seconds": 0.5, "429-ms": 0.5, "429-date": 1.5}
    if fault in waits:
        assert caught.value.retry_after == pytest.approx(waits[fault], abs=1.5 if fault == "429-date" else 0.0)
    else:
        # Without a Retry-After, Anthropic still says when the limit is renewed, to the second.
        assert (caught.value.retry_after or 0.0) <= 0.5


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
async def test_the_client_says_how_long_an_answer_may_take(name: str) -> None:
    with serve(faults=Faults(("slow",), delay=0.6)) as server:
        provider = claude(server, samples=1) if name == "anthropic" else gemini(server)
        async with as_model(provider, settings=ClientSettings(timeout=0.2, attempts=1)) as client:
            with pytest.raises(RequestError, match=r"no answer in 0\.2 s \(client\.timeout\)") as caught:
                await client.label_distributions(PROMPTS[:1])
    assert caught.value.kind == "timeout"


async def test_a_client_gets_through_faults_to_the_same_numbers() -> None:
    with serve() as server:
        sound = await distributions(gemini(server), PROMPTS)
    kinds = ("429-ms", "500", "529", "cut", "truncated-json")
    with serve(faults=Faults(kinds, rate=0.7, retry_after=0.01)) as server:
        assert list(await distributions(gemini(server), PROMPTS)) == list(sound)
        assert server.log.faults


@pytest.mark.parametrize("fault", ["null-logprobs", "-9999", "nan", "zeros", "all-equal", "refusal"])
async def test_defect_4_gemini_content_that_says_nothing_is_refused(fault: str) -> None:
    with serve(faults=Faults((fault,), times=None)) as server, pytest.raises(ProviderError) as caught:
        await distributions(gemini(server), PROMPTS[:1])
    if fault == "refusal":
        assert isinstance(caught.value, RequestError)
        assert caught.value.kind == "refused"
    else:
        assert isinstance(caught.value, LogprobsUnavailableError)


async def test_gemini_tokens_listed_twice_count_once() -> None:
    with serve() as server:
        sound = await distributions(gemini(server), PROMPTS)
    with serve(faults=Faults(("duplicates",), times=None)) as server:
        assert list(await distributions(gemini(server), PROMPTS)) == list(sound)


async def test_an_anthropic_refusal_is_named() -> None:
    with serve(faults=Faults(("refusal",), times=None)) as server, pytest.raises(RequestError) as caught:
        await distributions(claude(server, samples=2), PROMPTS[:1])
    assert caught.value.kind == "refused"
