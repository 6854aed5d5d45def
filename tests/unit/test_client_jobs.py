"""Batch jobs against the testing server: every end of a job, retries, budgets, and no job that is sent twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_type_hints

import httpx2
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from icm_api.config import Budget, ClientSettings
from icm_api.errors import BudgetError, ConfigError, GaveUpError, ProviderError, RequestError, RunError
from icm_api.model import LanguageModel, Ledger, Meter, open_model, spent
from icm_api.model.client.bundling import bundled
from icm_api.model.job import Bundle, JobHost, JobState, checked_id
from icm_api.model.request import Request
from icm_api.testing import Faults, JobPlan, Server, serve
from icm_api.types import LabelDistribution, Prompt, Turn, Usage, Verbalizer
from tests.hosted import KEY_VARIABLES

LABELS = Verbalizer.plain(["True", "False"])
BATCH = ClientSettings(tier="batch", poll=0.01)
QUICK = JobPlan(looks=0)
# How to ask each vendor, and the options of its model.
VENDORS: Mapping[str, Mapping[str, Any]] = {
    "openai": {},
    "together": {"api": "chat"},
    "anthropic": {"samples": 2},
}

EACH = ["openai", *(pytest.param(vendor, marks=pytest.mark.slow) for vendor in ("together", "anthropic"))]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")


def prompts(count: int) -> list[Prompt]:
    return [Prompt("", (Turn("27>82", " False"),), f"{at + 11}>50", LABELS) for at in range(count)]


def opened(
    server: Server, folder: Path, vendor: str = "openai", settings: ClientSettings = BATCH, **more: Any
) -> LanguageModel:
    address = server.root if vendor == "anthropic" else server.url
    return open_model(
        f"{vendor}:{server.model}@{address}",
        options=VENDORS[vendor],
        cache=folder / "cache",
        jobs=folder / "jobs",
        settings=settings,
        **more,
    )


async def asked(model: LanguageModel, count: int = 6) -> Sequence[LabelDistribution]:
    async with model:
        return (await model.label_distributions(prompts(count))).values


def files(folder: Path) -> list[dict[str, Any]]:
    return [
        {name: value for line in path.read_text().splitlines() for name, value in json.loads(line).items()}
        for path in sorted((folder / "jobs").glob("*.jsonl"))
    ]


async def until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came about")


@pytest.fixture(scope="module")
def calm() -> Iterator[Server]:
    with serve(jobs=QUICK, record=1000) as server:
        yield server


class Lines:
    """A host whose questions take a tenth of the bytes of a job."""

    most_bytes = 10_000

    def line(self, item: str, request: Request) -> bytes:
        return b"x" * 999


@pytest.mark.parametrize(
    ("questions", "tokens", "most", "sizes"),
    [
        (12, 1, 5, [5, 5, 2]),
        (25, 1, 99, [10, 10, 5]),
        # The answers of two would take more than can be read at once.
        (3, 2_000_000, 99, [1, 1, 1]),
        (0, 1, 5, []),
    ],
    ids=["questions", "bytes", "answers", "none"],
)
def test_a_job_has_the_questions_of_one_endpoint_within_all_limits(
    questions: int, tokens: int, most: int, sizes: list[int]
) -> None:
    asked = {
        f"{endpoint}{at}": Request({"at": at}, endpoint=endpoint, completion_tokens=tokens)
        for at in range(questions)
        for endpoint in ("chat", "text")
    }
    found = list(bundled(asked, cast("JobHost", Lines()), most))
    assert [bundle.size for bundle, _ in found] == [len(keys) for _, keys in found] == sizes * 2
    assert sorted(key for _, keys in found for key in keys) == sorted(asked)
    assert all(asked[key].endpoint == bundle.endpoint for bundle, keys in found for key in keys)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_job_answers_as_requests_do_and_either_finds_the_others_answers(
    vendor: str, calm: Server, tmp_path: Path
) -> None:
    before = calm.log
    read = await asked(opened(calm, tmp_path, vendor))
    assert calm.log.jobs == before.jobs + 1
    each = VENDORS[vendor].get("samples", 1)
    assert calm.log.batched - before.batched == 6 * each
    # The same keys: without a job nothing is left to ask for.
    path = "/v1/messages" if vendor == "anthropic" else "/v1/chat/completions"
    assert await asked(opened(calm, tmp_path, vendor, ClientSettings())) == read
    assert calm.log.requests.get(path, 0) == before.requests.get(path, 0)
    if vendor == "anthropic":
        assert {distribution.method for distribution in read} == {"sampled"}
    else:
        plain = await asked(opened(calm, tmp_path / "plain", vendor, ClientSettings()))
        assert read == plain
    # And what requests answered needs no job.
    before = calm.log
    assert await asked(opened(calm, tmp_path / "plain", vendor)) == await asked(
        opened(calm, tmp_path / "plain", vendor)
    )
    assert calm.log.jobs == before.jobs + (vendor == "anthropic")


def test_bodies_are_those_that_the_sdks_know(calm: Server, tmp_path: Path) -> None:
    for vendor in VENDORS:
        asyncio.run(asked(opened(calm, tmp_path / vendor, vendor), 2))
    made = [sent.body for sent in calm.requests if sent.path.endswith("/batches") and sent.body]
    claude = [body for body in made if "requests" in body][-1]["requests"]
    known = get_type_hints(MessageCreateParamsNonStreaming).keys()
    assert {name for each in claude for name in each["params"]} <= known
    ours, theirs = (body for body in made[-3:] if "requests" not in body)
    assert ours.keys() == {"input_file_id", "endpoint", "completion_window", "metadata"}
    assert theirs.keys() == ours.keys() - {"metadata"}
    line = json.loads(_last_file(calm, tmp_path))
    assert line["body"].keys() <= get_type_hints(CompletionCreateParamsBase).keys()


def _last_file(server: Server, folder: Path) -> bytes:
    name = next(body["input_file_id"] for body in (sent.body for sent in server.requests) if "input_file_id" in body)
    return httpx2.get(f"{server.url}/files/{name}/content").content.splitlines()[0]


async def test_what_is_asked_at_about_the_same_time_is_one_job(calm: Server, tmp_path: Path) -> None:
    before = calm.log.jobs
    async with opened(calm, tmp_path) as model:
        await asyncio.gather(*(model.label_distributions([each]) for each in prompts(7)))
    assert calm.log.jobs == before + 1
    assert [(job["over"], job["questions"]) for job in files(tmp_path)] == [(True, 7)]


@pytest.mark.parametrize("vendor", EACH)
async def test_what_expired_goes_in_the_next_job_and_nothing_twice(vendor: str, tmp_path: Path) -> None:
    with serve(jobs=JobPlan(("expired", "completed"), looks=0)) as server:
        read = await asked(opened(server, tmp_path, vendor), 12)
        assert len(read) == 12
        assert server.log.jobs == 2
        assert server.log.batched == 12 * VENDORS[vendor].get("samples", 1)
    assert all(job["over"] for job in files(tmp_path))


@pytest.mark.parametrize("vendor", EACH)
async def test_who_cancels_a_job_keeps_its_answers_and_a_resume_asks_for_the_rest(vendor: str, tmp_path: Path) -> None:
    with serve(jobs=JobPlan(("cancelled", "completed"), looks=0)) as server:
        with pytest.raises(GaveUpError, match=r"batch_000001 was cancelled.*resume"):
            await asked(opened(server, tmp_path, vendor), 12)
        kept = server.log.batched
        assert kept > 0
        assert len(await asked(opened(server, tmp_path, vendor), 12)) == 12
        assert server.log.jobs == 2
        assert server.log.batched == 12 * VENDORS[vendor].get("samples", 1)


async def test_a_job_that_keeps_expiring_is_given_up_to_be_resumed(tmp_path: Path) -> None:
    with serve(jobs=JobPlan(("expired",), looks=0, left=1.0)) as server:
        with pytest.raises(GaveUpError, match=r"6 questions failed in 3 batch jobs"):
            await asked(opened(server, tmp_path))
        assert server.log.jobs == 3


async def test_a_job_that_is_refused_is_one_clear_line_and_nothing_of_it_counts(tmp_path: Path) -> None:
    meter = Meter(Budget(requests=10))
    with serve(jobs=JobPlan(("failed", "completed"), looks=0)) as server:
        with pytest.raises(ProviderError, match=r"batch_000001 failed.*not parseable.*\(line 1\)") as caught:
            await asked(opened(server, tmp_path, meter=meter))
        assert caught.value.exit_code == 2
        assert meter.sent == Usage()
        await asked(opened(server, tmp_path, meter=meter))
    assert meter.sent.requests == 6


async def test_too_much_under_way_makes_smaller_jobs(tmp_path: Path) -> None:
    with serve(jobs=JobPlan(("queue-full", "queue-full", "completed"), looks=0)) as server:
        assert len(await asked(opened(server, tmp_path), 8)) == 8
        # 8 are refused, then the first of two jobs of 4.
        assert server.log.jobs == 5
        assert server.log.batched == 8


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "plan",
    [JobPlan(looks=0, unsaid=1, unlisted=1), pytest.param(JobPlan(looks=0, unsaid=1), marks=pytest.mark.slow)],
)
async def test_a_job_that_was_taken_and_not_acknowledged_is_found(vendor: str, plan: JobPlan, tmp_path: Path) -> None:
    with serve(jobs=plan) as server:
        if vendor == "anthropic":
            # Its jobs cannot be told apart until they end.
            cheat = asyncio.create_task(_looked_at(server))
        assert len(await asked(opened(server, tmp_path, vendor))) == 6
        if vendor == "anthropic":
            cheat.cancel()
        assert server.log.jobs == 1


async def _looked_at(server: Server) -> None:
    """Somebody else looks at a job, so that it goes on."""
    async with httpx2.AsyncClient() as client:
        while True:
            await client.get(f"{server.root}/v1/messages/batches/batch_000001")
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["400", "filter"])
async def test_a_question_that_is_refused_is_named_and_the_others_are_kept(kind: str, tmp_path: Path) -> None:
    with serve(jobs=QUICK, faults=Faults((kind,), said="13>50", times=None)) as server:
        with pytest.raises(ProviderError) as caught:
            await asked(opened(server, tmp_path))
        assert [each.query for each in caught.value.unanswered] == ["13>50"]
        assert server.log.jobs == 1
        others = [each for each in prompts(6) if each.query != "13>50"]
        async with opened(server, tmp_path) as model:
            assert len(await model.label_distributions(others)) == 5
        assert server.log.jobs == 1


async def test_questions_that_fail_and_may_not_fail_again_are_asked_again(tmp_path: Path) -> None:
    with serve(jobs=QUICK, faults=Faults(("500", "429-seconds"), rate=0.4)) as server:
        assert len(await asked(opened(server, tmp_path), 12)) == 12
        assert server.log.faults
        assert server.log.batched == 12
        assert server.log.jobs == 2


async def test_a_budget_is_held_before_a_job_is_sent(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "spending.jsonl")
    with serve(jobs=QUICK) as server:
        with pytest.raises(BudgetError, match="the next 6 requests could exceed"):
            await asked(opened(server, tmp_path, meter=Meter(Budget(requests=5), ledger=ledger)))
        assert server.log.total == 0
        again = Ledger(tmp_path / "spending.jsonl")
        meter = Meter(Budget(requests=6), before=again.before, ledger=again)
        assert len(await asked(opened(server, tmp_path, meter=meter))) == 6
    assert spent(tmp_path / "spending.jsonl") == meter.sent
    assert meter.sent.requests == 6


async def test_what_is_set_aside_for_a_job_is_settled_by_who_goes_on_with_it(tmp_path: Path) -> None:
    """The first waits for a job that takes its time, and is stopped; the second takes it up, and pays for it once."""
    path, plan = tmp_path / "spending.jsonl", JobPlan(looks=3)
    with serve(jobs=plan) as server:
        first = asyncio.create_task(
            asked(opened(server, tmp_path, meter=Meter(Budget(requests=6), ledger=Ledger(path))))
        )
        await until(lambda: any(job.get("id") for job in files(tmp_path)))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert spent(path).requests == 6
        assert spent(path).prompt_tokens > 0
        ledger = Ledger(path)
        meter = Meter(Budget(requests=6), before=ledger.before, ledger=ledger)
        assert len(await asked(opened(server, tmp_path, meter=meter))) == 6
        assert server.log.jobs == 1
        assert server.log.batched == 6
    assert spent(path) == meter.sent
    assert meter.sent.requests == 6


async def test_without_a_cache_the_answers_of_a_job_are_fetched_again(calm: Server, tmp_path: Path) -> None:
    before = calm.log.jobs
    spec = f"openai:{calm.model}@{calm.url}"
    read = [await asked(open_model(spec, settings=BATCH, jobs=tmp_path / "jobs")) for _ in range(2)]
    assert read[0] == read[1]
    assert calm.log.jobs == before + 1


async def test_two_processes_cannot_wait_for_the_same_jobs(calm: Server, tmp_path: Path) -> None:
    async with opened(calm, tmp_path) as one:
        await one.label_distributions(prompts(1))
        with pytest.raises(RunError, match="in use"):
            await asked(opened(calm, tmp_path), 2)


async def test_a_damaged_note_is_named(calm: Server, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "aa.jsonl").write_text('{"model": 1}\n{"id": \n')
    with pytest.raises(RunError, match=r"aa\.jsonl:2: damaged"):
        await asked(opened(calm, tmp_path))


@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        ("vllm:m", {}, "'vllm' is not known to have it"),
        ("gemini:m", {}, "'gemini' is not known to have it"),
        ("pocket", {}, "'pocket' is not known to have it"),
        ("openai-decisions:m", {}, "is not known to have it"),
        ("together:m", {}, "takes batch jobs of chat alone, and api is 'completions'"),
    ],
)
def test_who_takes_no_batch_jobs_is_named(spec: str, options: Mapping[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"client\.tier: .*{told}"):
        open_model(spec, options=options, settings=BATCH, cache=tmp_path)


def test_jobs_need_a_place_to_be_noted_in() -> None:
    with pytest.raises(ConfigError, match="name a cache, or jobs"):
        open_model("openai:m", settings=BATCH)


def test_items_of_another_job_are_none_of_ours() -> None:
    bundle = Bundle("ab", "chat/completions", 11, 0.0)
    assert [bundle.place(bundle.item(at)) for at in (0, 10)] == [0, 10]
    others = ("ab-11", "ab-", "ab--1", "ac-1", "ab-1_0", "ab-" + "1" * 5000, "")
    assert {bundle.place(item) for item in others} == {None}


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "a b", "\x1b[31m", None, 7, "a" * 300])
def test_an_id_that_can_be_none_is_refused(name: object) -> None:
    with pytest.raises(ProviderError, match="names no id"):
        checked_id(name, "x/y")


async def test_jobs_are_cut_so_that_hosts_take_them_and_their_answers_can_be_read(tmp_path: Path) -> None:
    with serve(instant=True, jobs=QUICK) as server:
        async with opened(server, tmp_path) as model:
            host = model._client._jobs._host  # type: ignore[union-attr]
            host.most_requests, host.most_bytes = 5, 10**6  # type: ignore[misc]
            model._client._jobs._most = 5  # type: ignore[union-attr]
            assert len(await model.label_distributions(prompts(12))) == 12
    assert sorted(job["questions"] for job in files(tmp_path)) == [2, 5, 5]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("body", [b"[]", b'{"id": 7}', b"<html>"])
async def test_no_answer_of_a_host_ends_in_a_traceback(vendor: str, body: bytes, tmp_path: Path) -> None:
    """Whatever it sends to every request, it is an error in words, after few tries."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    settings = ClientSettings(tier="batch", poll=0.001, attempts=1, timeout=0.5)
    async with open_model(f"{vendor}:m", options=VENDORS[vendor], cache=tmp_path, settings=settings) as model:
        connected: Any = model._client.endpoint
        sdk = (connected._host if vendor == "anthropic" else connected)._sdk.get()
        await sdk._client.aclose()
        sdk._client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        with pytest.raises((ProviderError, TimeoutError)):
            async with asyncio.timeout(2):
                await model.label_distributions(prompts(2))


async def test_a_job_that_cannot_be_reached_for_a_while_is_not_sent_again(tmp_path: Path) -> None:
    """Not by the same process, for which what was set aside counts once, nor by the next."""
    settings = ClientSettings(tier="batch", poll=0.01, attempts=1)
    meter = Meter(Budget(requests=6))
    with serve(jobs=QUICK) as server:
        async with opened(server, tmp_path, settings=settings, meter=meter) as model:
            host = model._client._jobs._host  # type: ignore[union-attr]
            look = host.look

            async def unreachable(key: str) -> JobState:
                raise RequestError("the line is cut", kind="connection")

            host.look = unreachable  # type: ignore[method-assign]
            with pytest.raises(GaveUpError, match="the line is cut"):
                await model.label_distributions(prompts(6))
            host.look = look  # type: ignore[method-assign]
            assert len(await model.label_distributions(prompts(6))) == 6
        assert (server.log.jobs, server.log.batched) == (1, 6)
    assert meter.sent.requests == 6
