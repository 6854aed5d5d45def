"""The client: each distinct question once, answers kept, costs counted, many askers at once."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from hashlib import sha256
from math import log
from pathlib import Path

import pytest

from icm_api.errors import LogprobsUnavailableError, ProviderError
from icm_api.model.client.cache import ResponseCache
from icm_api.model.reading.reading import Reading, forms_of, label_distribution
from icm_api.model.request import Asks, Body, Endpoint, Request, Response
from icm_api.types import Answers, Capabilities, Model, Prompt, Usage, Verbalizer
from tests.models import as_model

TWO = Verbalizer.plain(["True", "False"])


def prompt(text: str, verbalizer: Verbalizer = TWO) -> Prompt:
    return Prompt("", (), text, verbalizer)


def share(text: str, form: str) -> float:
    """A probability below 0.45 that depends on the text and the form alone."""
    return (1 + sha256((text + form).encode()).digest()[0]) / 600


class Recorder:
    """A provider that answers from a formula, and remembers what it was asked."""

    def __init__(self, name: str = "recorder") -> None:
        self.identity = name
        self.capabilities = Capabilities(1000, "exact", deterministic=True, batches=True)
        self.sends: list[list[str]] = []
        self.bad: dict[str, float | None] = {}
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Semaphore(0)
        self.missing = 0
        self.closed = False

    def count_tokens(self, text: str) -> int:
        return len(text)

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        answers = await client.ask([self.request(prompt) for prompt in prompts])
        return Answers(tuple(Reading(body["logprobs"], "exact") for body in answers), answers.costs)

    def request(self, prompt: Prompt) -> Request:
        def check(body: Body) -> None:
            label_distribution(prompt.verbalizer, Reading(body["logprobs"], "exact"))

        forms = sorted(forms_of(prompt.verbalizer))
        return Request({"prompt": prompt.text, "forms": forms}, prompt=prompt, check=check)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        self.sends.append([request.body["prompt"] for request in requests])
        self.asked.release()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        responses = []
        for request in requests:
            text = request.body["prompt"]
            numbers = {form: log(share(text, form)) for form in request.body["forms"]}
            if text in self.bad:
                numbers[" True"] = self.bad[text]  # type: ignore[assignment]
            responses.append(Response({"logprobs": numbers}, Usage(1, len(text), 1)))
        return responses[self.missing :]

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ResponseCache]:
    store = ResponseCache(tmp_path)
    yield store
    store.close()


def test_the_recorder_is_a_provider_and_the_client_a_scorer() -> None:
    provider: Endpoint = Recorder()
    scorer: Model = as_model(provider)
    assert scorer.count_tokens("abc") == 3
    assert scorer.capabilities == provider.capabilities


async def test_distributions_stand_in_the_order_of_the_prompts() -> None:
    texts = ["a", "b", "a", "c", "b"]
    async with as_model(Recorder()) as client:
        answers = await client.label_distributions([prompt(text) for text in texts])
    for text, answer in zip(texts, answers, strict=True):
        true, false = share(text, " True"), share(text, " False")
        assert answer.probability("True") == pytest.approx(true / (true + false))
        assert answer.coverage == pytest.approx(true + false)


async def test_equal_prompts_are_asked_once_and_known_ones_not_at_all() -> None:
    provider = Recorder()
    client = as_model(provider)
    await client.label_distributions([prompt("a"), prompt("b"), prompt("a")])
    await client.label_distributions([prompt("b"), prompt("c")])
    assert list(await client.label_distributions([])) == []
    assert provider.sends == [["a", "b"], ["c"]]
    assert client.sent == Usage(3, 3, 3)
    await client.close()
    assert provider.closed


async def test_equal_requests_whose_labels_are_arranged_in_another_way_get_their_own_distribution() -> None:
    swapped = Verbalizer({"yes": [" False"], "no": [" True"]})
    provider = Recorder()
    client = as_model(provider)
    (one,) = await client.label_distributions([prompt("a")])
    (other,) = await client.label_distributions([prompt("a", swapped)])
    assert len(provider.sends) == 1
    assert other.labels == ("yes", "no")
    assert other.logprob("yes") == one.logprob("False")


async def test_usage_is_the_same_with_a_warm_cache_and_nothing_is_sent(cache: ResponseCache) -> None:
    cold = as_model(Recorder(), cache)
    first = await cold.label_distributions([prompt("a"), prompt("bb")])
    warm = as_model(Recorder(), cache)
    second = await warm.label_distributions([prompt("a"), prompt("bb")])
    assert first == second
    assert first.usage == second.usage == cold.sent == Usage(2, 3, 2)
    assert warm.sent == Usage()


async def test_defect_1_an_answer_belongs_to_its_prompt(cache: ResponseCache) -> None:
    """A new client that asks another first question doesn't get the first answer of the client before."""
    await as_model(Recorder(), cache).label_distributions([prompt("old question")])
    (answer,) = await as_model(Recorder(), cache).label_distributions([prompt("new question")])
    numbers = {form: log(share("new question", form)) for form in (" True", " False")}
    assert answer == label_distribution(TWO, Reading(numbers, "exact"))


async def test_defect_13_another_model_is_asked_again(cache: ResponseCache) -> None:
    await as_model(Recorder("one"), cache).label_distributions([prompt("a")])
    other = Recorder("other")
    await as_model(other, cache).label_distributions([prompt("a")])
    assert other.sends == [["a"]]


@pytest.mark.parametrize("number", [None, float("nan"), float("-inf"), 0.5])
async def test_an_unreadable_answer_is_never_kept_but_its_neighbours_are(
    cache: ResponseCache, number: float | None
) -> None:
    provider = Recorder()
    provider.bad = {"b": number}
    client = as_model(provider, cache)
    with pytest.raises(LogprobsUnavailableError, match="' True'") as caught:
        await client.label_distributions([prompt("a"), prompt("b"), prompt("c")])
    assert [each.query for each in caught.value.unanswered] == ["b"]
    assert len(cache) == 2
    assert client.sent.requests == 3
    provider.bad = {}
    await client.label_distributions([prompt("a"), prompt("b"), prompt("c")])
    assert provider.sends == [["a", "b", "c"], ["b"]]
    assert client.sent.requests == 4


async def test_an_error_is_never_kept(cache: ResponseCache) -> None:
    provider = Recorder()
    client = as_model(provider, cache)
    provider.error = ProviderError("overloaded")
    with pytest.raises(ProviderError, match="overloaded"):
        await client.label_distributions([prompt("a")])
    provider.error = None
    await client.label_distributions([prompt("a")])
    assert provider.sends == [["a"], ["a"]]
    assert client.sent.requests == 1


async def test_too_few_answers_are_refused(cache: ResponseCache) -> None:
    provider = Recorder()
    provider.missing = 1
    with pytest.raises(ProviderError, match="1 answers to 2 requests"):
        await as_model(provider, cache).label_distributions([prompt("a"), prompt("b")])
    assert len(cache) == 0


async def test_memory_is_bounded_and_forgets_what_was_used_longest_ago() -> None:
    provider = Recorder()
    client = as_model(provider, memory=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        await client.label_distributions([prompt(text)])
    assert provider.sends == [["a"], ["b"], ["c"], ["b"]]
    await client.label_distributions([prompt(text) for text in "pqrst"])
    assert len(client._client._memory) == 2


async def test_beside_a_disk_memory_is_bounded_in_bytes_and_nothing_is_asked_again(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Recorder()
    client = as_model(provider, cache)
    monkeypatch.setattr("icm_api.model.client.client._BESIDE_DISK", 100)
    await client.label_distributions([prompt(text) for text in "abcdefgh"])
    held = client._client._memory.values()
    assert 0 < sum(len(answer.body) for answer in held) <= 100
    assert len(held) < 8
    await client.label_distributions([prompt(text) for text in "abcdefgh"])
    assert len(provider.sends) == 1


async def test_no_memory_still_answers_whole_batches() -> None:
    client = as_model(Recorder(), memory=0)
    assert len(await client.label_distributions([prompt("a"), prompt("b"), prompt("a")])) == 3
    with pytest.raises(ValueError, match="memory"):
        as_model(Recorder(), memory=-1)


async def test_two_askers_at_once_share_one_request() -> None:
    provider = Recorder()
    provider.gate = asyncio.Event()
    client = as_model(provider)
    one = asyncio.create_task(client.label_distributions([prompt("a"), prompt("b")]))
    two = asyncio.create_task(client.label_distributions([prompt("b"), prompt("c")]))
    await provider.asked.acquire()
    await provider.asked.acquire()
    provider.gate.set()
    first, second = await asyncio.gather(one, two)
    assert first[1] == second[0]
    assert provider.sends == [["a", "b"], ["c"]]
    assert first.usage == second.usage == Usage(2, 2, 2)
    assert client.sent == Usage(3, 3, 3)


async def test_an_error_reaches_all_who_wait_and_later_askers_try_again() -> None:
    provider = Recorder()
    provider.gate = asyncio.Event()
    provider.error = ProviderError("overloaded")
    client = as_model(provider)
    askers = [asyncio.create_task(client.label_distributions([prompt("a")])) for _ in range(3)]
    await provider.asked.acquire()
    provider.gate.set()
    results = await asyncio.gather(*askers, return_exceptions=True)
    assert [str(result) for result in results] == ["overloaded"] * 3
    assert provider.sends == [["a"]]
    provider.error = None
    assert len(await client.label_distributions([prompt("a")])) == 1


async def test_whoever_asked_first_may_be_cancelled_without_harm_to_others() -> None:
    provider = Recorder()
    provider.gate = asyncio.Event()
    client = as_model(provider)
    first = asyncio.create_task(client.label_distributions([prompt("a")]))
    await provider.asked.acquire()
    second = asyncio.create_task(client.label_distributions([prompt("a")]))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    provider.gate.set()
    assert len(await second) == 1
    assert provider.sends == [["a"]]


async def test_a_paid_answer_is_kept_when_everybody_who_asked_is_gone(cache: ResponseCache) -> None:
    provider = Recorder()
    provider.gate = asyncio.Event()
    client = as_model(provider, cache)
    asker = asyncio.create_task(client.label_distributions([prompt("a")]))
    await provider.asked.acquire()
    asker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    provider.gate.set()
    await client.label_distributions([prompt("a")])
    assert provider.sends == [["a"]]
    assert len(cache) == 1


async def test_closing_gives_up_what_is_in_flight() -> None:
    provider = Recorder()
    provider.gate = asyncio.Event()
    client = as_model(provider)
    asker = asyncio.create_task(client.label_distributions([prompt("a")]))
    await provider.asked.acquire()
    await client.close()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert provider.closed


def test_a_model_that_answers_in_another_threads_event_loop_says_so() -> None:
    recorder = Recorder()
    model = as_model(recorder)
    asking, over = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        recorder.gate = asyncio.Event()
        waiting = asyncio.ensure_future(model.label_distributions([prompt("a")]))
        await recorder.asked.acquire()
        asking.set()
        await asyncio.to_thread(over.wait)
        recorder.gate.set()
        await waiting

    other = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    other.start()
    asking.wait()
    with pytest.raises(ProviderError, match="another thread's event loop"):
        asyncio.run(model.label_distributions([prompt("b")]))
    over.set()
    other.join()
    recorder.gate = None
    assert len(asyncio.run(model.label_distributions([prompt("b")]))) == 1
