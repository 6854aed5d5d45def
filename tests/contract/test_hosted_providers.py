"""What every provider promises, hosted or local, against the embedded model itself; hosted ones over real HTTP.

The official SDKs speak to a real server on the loopback, which serves the embedded model; no transport is patched.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from math import exp, fsum
from pathlib import Path

import pytest

from icm_api.errors import LogprobsUnavailableError, ProviderError, RequestError
from icm_api.model import LanguageModel, Opened
from icm_api.model.client.cache import ResponseCache
from icm_api.model.open import open_endpoint
from icm_api.model.reading.reading import forms_of
from icm_api.model.request import Request, Response
from icm_api.pocket.model import WEIGHTS, PocketModel
from icm_api.testing import Faults, Server, serve
from icm_api.types import LabelDistribution, Prompt, Turn, Verbalizer
from tests.hosted import HOSTED, INSTRUCTION, KEY_VARIABLES, SEPARATOR, Hosted
from tests.models import Straight, as_model

SECRET = "sk-marker-47c2"
TWO = Verbalizer.plain(["True", "False"])
# The second form of each is never likely, so that it is bounded where only the likeliest are listed.
SEVERAL = Verbalizer({"True": [" True", " surely"], "False": [" False", " never"]})
METHODS = {"exact", "exact_ids", "top_k", "prompt_logprobs", "token_walk", "decisions", "sampled", "stated"}
CLAIMS = {"35>12": " True", "82>27": " True", "44>51": " False", "51>44": " True", "12>35": " False", "9>8": " True"}

LOCAL = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "tokenizers"))
needs_local = pytest.mark.skipif(not LOCAL, reason="torch and transformers are not installed")


def prompt(query: str, count: int, verbalizer: Verbalizer = TWO) -> Prompt:
    shown = [Turn(text, answer) for text, answer in CLAIMS.items() if text != query][:count]
    return Prompt(INSTRUCTION, tuple(shown), query, verbalizer, SEPARATOR)


PROMPTS = [prompt(query, count) for query in ("82>27", "12>35", "44>51") for count in (0, 2, 5)]


@dataclass(frozen=True, slots=True)
class Case:
    """One provider under the contract.

    Attributes:
        open: a new provider.
        spread: standard errors that an estimate may be off; 0 where there is none.
        server: that it asks; None for local ones.
        hosted: how it is asked; None for local ones.
    """

    open: Callable[[], Opened]
    spread: float = 0.0
    server: Server | None = None
    hosted: Hosted | None = None


@pytest.fixture(autouse=True, scope="module")
def keys() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for variable in KEY_VARIABLES:
            patch.setenv(variable, SECRET)
        yield


@pytest.fixture(scope="module", params=["pocket", pytest.param("huggingface", marks=needs_local), *HOSTED])
def case(request: pytest.FixtureRequest, keys: None) -> Iterator[Case]:
    """Each provider in turn, its server beside it."""
    name = request.param
    if name not in HOSTED:
        spec = {"pocket": "pocket", "huggingface": f"huggingface:{WEIGHTS}"}[name]
        yield Case(lambda: open_endpoint(spec))
        return
    hosted = HOSTED[name]
    with serve(dialect=hosted.dialect, record=1000) as server:
        yield Case(lambda: hosted.open(server), hosted.spread, server, hosted)


@pytest.fixture(scope="module")
def model() -> PocketModel:
    return PocketModel.load()


def truth(model: PocketModel, one: Prompt) -> dict[str, float]:
    """Each form by itself: the whole text through the model, the label tokens' logprobs summed."""
    start = len(model.encode(one.text))
    whole = {form: model.encode(one.text + form) for form in forms_of(one.verbalizer)}
    return {form: float(model.token_logprobs(ids)[start:].sum()) for form, ids in whole.items()}


def probability(one: Prompt, forms: Mapping[str, float], label: str) -> float:
    mass = {each: fsum(exp(forms[form]) for form in one.verbalizer.forms(each)) for each in one.verbalizer.labels}
    return mass[label] / fsum(mass.values())


@asynccontextmanager
async def client(case: Case, cache: Path | None = None) -> AsyncIterator[LanguageModel]:
    async with as_model(case.open(), None if cache is None else ResponseCache(cache)) as opened:
        yield opened


async def ask(case: Case, prompts: Sequence[Prompt]) -> Sequence[LabelDistribution]:
    async with client(case) as opened:
        return list(await opened.label_distributions(prompts))


async def collected(case: Case, one: Prompt) -> list[tuple[Request, Response]]:
    """The first exchanges that a prompt leads to, with nothing between the provider and its model."""
    endpoint, readers = case.open()
    client = Straight(endpoint, most=3 if case.spread else None)
    try:
        await readers.labels.read([one], client)
    finally:
        await endpoint.close()
    return client.exchanges


# Numbers


async def test_probabilities_are_the_models_own(case: Case, model: PocketModel) -> None:
    for one, found in zip(PROMPTS, await ask(case, PROMPTS), strict=True):
        forms = truth(model, one)
        assert found.method in METHODS
        assert found.intervals == {}
        assert (found.standard_error is not None) == bool(case.spread)
        # Numbers of a model in float32 have five decimals.
        slack = case.spread * (found.standard_error or 0) + 1e-4
        for label in one.verbalizer.labels:
            assert found.probability(label) == pytest.approx(probability(one, forms, label), abs=slack)
        if case.hosted is not None and case.hosted.normalised:
            assert found.coverage is None
        else:
            assert found.coverage == pytest.approx(fsum(map(exp, forms.values())), abs=0.25 if case.spread else 1e-4)


async def test_what_is_not_listed_is_bounded_and_the_bound_holds(case: Case, model: PocketModel) -> None:
    asked = [prompt(query, 5, SEVERAL) for query in ("82>27", "12>35")]
    for one, found in zip(asked, await ask(case, asked), strict=True):
        forms = truth(model, one)
        for label in one.verbalizer.labels:
            true = probability(one, forms, label)
            low, high = found.intervals.get(label, (found.probability(label),) * 2)
            slack = case.spread * (found.standard_error or 0) + 1e-4
            assert low - slack <= true <= high + slack


async def test_company_and_order_do_not_shape_an_answer(case: Case) -> None:
    if case.spread:
        pytest.skip("estimates differ from time to time")
    together, backwards = await ask(case, PROMPTS), list(await ask(case, PROMPTS[::-1]))[::-1]
    for one, first, second in zip(PROMPTS, together, backwards, strict=True):
        (alone,) = await ask(case, [one])
        assert first.logprobs == pytest.approx(second.logprobs, abs=1e-4)
        assert first.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


async def test_nothing_asked_nothing_answered(case: Case) -> None:
    assert list(await ask(case, [])) == []


# Requests and answers


async def test_requests_and_answers_are_json_without_the_key(case: Case) -> None:
    exchanges = await collected(case, PROMPTS[1])
    assert exchanges
    for request, response in exchanges:
        shown = json.dumps([request.endpoint, request.body, response.body])
        assert json.loads(shown) == [request.endpoint, request.body, response.body]
        assert SECRET not in shown
        assert response.usage.requests == 1


async def test_what_differs_in_a_prompt_differs_in_its_requests(case: Case) -> None:
    one = prompt("82>27", 2)
    turned = replace(one, turns=one.turns[::-1])
    relabelled = replace(one, turns=(replace(one.turns[0], answer=" False"), *one.turns[1:]))
    bodies = [
        json.dumps([request.body for request, _ in await collected(case, each)], sort_keys=True)
        for each in (one, turned, relabelled, prompt("12>35", 2))
    ]
    assert len(set(bodies)) == len(bodies)


async def test_usage_is_what_the_server_counted(case: Case) -> None:
    if case.server is None:
        pytest.skip("no server")
    before = case.server.log
    async with client(case) as opened:
        # One by one: of prompts that travel together the server counts one request.
        for one in PROMPTS[:3]:
            await opened.label_distributions([one])
        sent = opened.sent
    after = case.server.log
    assert sent.requests == after.total - before.total
    assert sent.completion_tokens == after.completion_tokens - before.completion_tokens
    assert sent.prompt_tokens == after.prompt_tokens - before.prompt_tokens


async def test_no_request_is_estimated_far_below_what_it_takes(case: Case) -> None:
    """The meter and the limits go by the estimate, with an eighth to spare."""
    if case.server is None:
        pytest.skip("local models need no estimate")
    for request, response in await collected(case, prompt("82>27", 5)):
        assert response.usage.prompt_tokens <= 2 * request.tokens


async def test_a_kept_answer_is_not_asked_for_again(case: Case, tmp_path: Path) -> None:
    async with client(case, tmp_path) as opened:
        first = await opened.label_distributions(PROMPTS)
    async with client(case, tmp_path) as opened:
        assert await opened.label_distributions(PROMPTS) == first
        assert opened.sent.requests == 0


# What cannot be used


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"logprobs": None}])
async def test_an_answer_that_holds_nothing_is_refused_and_names_the_model(
    case: Case, body: Mapping[str, object]
) -> None:
    if case.spread:
        pytest.skip("a reply that is no label is an answer too; what is no reply is refused where it is received")
    request = [request for request, _ in await collected(case, PROMPTS[1])][-1]
    with pytest.raises(ProviderError) as caught:
        request.accept(body)
    provider = case.open().endpoint
    await provider.close()
    assert provider.identity.split("/")[0] in str(caught.value)


async def test_a_prompt_that_does_not_fit_is_refused_and_never_cut(case: Case) -> None:
    long = Prompt(INSTRUCTION, tuple(Turn("82>27", " True") for _ in range(3000)), "12>35", TWO, SEPARATOR)
    with pytest.raises(ProviderError) as caught:
        await ask(case, [long])
    if isinstance(caught.value, RequestError):
        assert caught.value.kind == "bad_request"


@pytest.mark.parametrize("fault", ["null-logprobs", "-9999", "nan", "zeros", "all-equal", "refusal"])
async def test_faulty_numbers_are_refused_and_not_kept(case: Case, fault: str, tmp_path: Path) -> None:
    if case.hosted is None or (case.spread and fault != "refusal"):
        pytest.skip("this provider gets no such answers")
    with serve(dialect=case.hosted.dialect, faults=Faults((fault,), times=None)) as server:
        hosted = case.hosted
        with pytest.raises((LogprobsUnavailableError, RequestError)) as caught:
            await ask_cached(hosted.open(server), tmp_path)
    if fault == "refusal":
        assert isinstance(caught.value, RequestError)
        assert caught.value.kind == "refused"
    with closing(ResponseCache(tmp_path)) as cache:
        assert not any("logprob" in json.dumps(entry.response.body) for entry in cache.entries())


async def ask_cached(provider: Opened, cache: Path) -> None:
    async with as_model(provider, ResponseCache(cache)) as opened:
        await opened.label_distributions(PROMPTS[:1])


# Who it is, and what it can do


async def test_identity_and_capabilities_are_the_same_each_time_and_name_no_key(case: Case) -> None:
    one, other = case.open().endpoint, case.open().endpoint
    assert one.identity == other.identity
    assert one.capabilities == other.capabilities
    assert one.capabilities.method in METHODS
    assert one.capabilities.context_window > 0
    assert not (one.capabilities.batches and case.server is not None)
    if case.server is not None and case.hosted is not None:
        assert one.identity.startswith(f"{case.hosted.provider}/127.0.0.1:")
        assert one.identity.endswith(f"/{case.server.model}")
    assert not any(SECRET in shown for shown in (one.identity, repr(one), repr(vars(one))))
    await one.close()
    await other.close()


async def test_token_counts_grow_with_the_text(case: Case) -> None:
    provider = case.open().endpoint
    counts = [provider.count_tokens("82>27 True\n" * times) for times in (1, 2, 10, 100)]
    await provider.close()
    assert 0 < counts[0] < counts[1] < counts[2] < counts[3]


async def test_closing_twice_is_no_error(case: Case) -> None:
    provider = case.open().endpoint
    name = provider.identity
    await provider.close()
    await provider.close()
    assert provider.identity == name
