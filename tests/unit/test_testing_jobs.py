"""Batch jobs on the testing server, by the official clients: their states, their files, what the SDKs know."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import anthropic
import httpx2
import openai
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from openai.types import Batch, FileObject

from icm_api.errors import ConfigError
from icm_api.testing import Faults, JobPlan, Server, serve
from icm_api.testing.job_routes import BATCH_FIELDS

CHAT = {"model": "m", "messages": [{"role": "user", "content": "1>2"}], "logprobs": True, "top_logprobs": 5}
CHAT |= {"max_completion_tokens": 1}
CLAUDE = {"model": "m", "messages": [{"role": "user", "content": "1>2"}], "max_tokens": 4}
WAYS = {
    "completed": ["validating", "in_progress", "finalizing", "completed"],
    "failed": ["validating", "failed"],
    "queue-full": ["validating", "failed"],
    "expired": ["validating", "in_progress", "finalizing", "expired"],
    "cancelled": ["validating", "in_progress", "cancelling", "cancelled"],
}


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with serve(dialect="openai", jobs=JobPlan(looks=0)) as server:
        yield server


def submitted(client: openai.OpenAI, bodies: int = 6) -> Batch:
    lines = [
        {"custom_id": f"q-{at}", "method": "POST", "url": "/v1/chat/completions", "body": {**CHAT, "seed": at}}
        for at in range(bodies)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    kept = client.files.create(file=("mine.jsonl", content), purpose="batch")
    FileObject.model_validate(kept.model_dump())
    assert client.files.content(kept.id).content == content
    return client.batches.create(
        input_file_id=kept.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"name": "mine"}
    )


def lines_of(client: openai.OpenAI, key: str | None) -> list[Any]:
    return [] if key is None else [json.loads(line) for line in client.files.content(key).content.splitlines()]


@pytest.mark.parametrize("end", WAYS)
def test_a_job_goes_through_every_state_to_its_end(end: str) -> None:
    with serve(dialect="openai", jobs=JobPlan((end,), looks=0)) as server:
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        job = submitted(client)
        states = [job.status]
        while states[-1] not in ("completed", "failed", "expired", "cancelled"):
            job = client.batches.retrieve(job.id)
            states.append(job.status)
            Batch.model_validate(job.model_dump())
        assert states == WAYS[end]
        answered, wrong = lines_of(client, job.output_file_id), lines_of(client, job.error_file_id)
        assert server.log.batched == len(answered)
        client.close()
    assert job.request_counts is not None
    assert (job.request_counts.completed, job.request_counts.failed) == (len(answered), len(wrong))
    assert all(line["response"]["body"]["choices"][0]["logprobs"] for line in answered)
    if end in ("failed", "queue-full"):
        assert job.errors is not None
        assert job.errors.data
        assert not answered + wrong
    else:
        assert {line["custom_id"] for line in answered + wrong} == {f"q-{at}" for at in range(6)}
        assert (not wrong) == (end == "completed")
        assert {line["error"]["code"] for line in wrong} <= {f"batch_{end}"}


def test_jobs_are_listed_by_the_page_and_cancelled_by_hand(plain: Server) -> None:
    client = openai.OpenAI(base_url=plain.url, api_key="none", max_retries=0)
    before = plain.log.jobs
    made = [submitted(client, 1).id for _ in range(3)]
    assert [job.id for job in client.batches.list(limit=2)][:3] == list(reversed(made))
    assert plain.log.jobs == before + 3
    assert client.batches.cancel(made[0]).status == "cancelling"
    assert client.batches.retrieve(made[0]).status == "cancelled"
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_none")
    client.close()


def test_what_the_sdk_does_not_know_is_refused(plain: Server) -> None:
    assert get_type_hints(openai.types.BatchCreateParams).keys() == BATCH_FIELDS
    client = openai.OpenAI(base_url=plain.url, api_key="none", max_retries=0)
    key = submitted(client).input_file_id
    for more in ({"priority": 1}, {"completion_window": "1h"}, {"endpoint": "/v1/completions"}):
        body = {"input_file_id": key, "endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
        with pytest.raises(openai.BadRequestError):
            client.post("/batches", body=body, cast_to=httpx2.Response)
    client.close()


def test_questions_of_a_job_meet_the_servers_faults() -> None:
    with serve(dialect="openai", jobs=JobPlan(looks=0), faults=Faults(("400",), rate=0.5)) as server:
        client = openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)
        job = submitted(client, 12)
        for _ in range(3):
            job = client.batches.retrieve(job.id)
        wrong = lines_of(client, job.error_file_id)
        assert {line["response"]["status_code"] for line in wrong} == {400}
        assert len(lines_of(client, job.output_file_id)) == 12 - len(wrong) < 12
        client.close()


TOGETHER = {"endpoint": "/v1/chat/completions"}


def test_together_has_its_own_words(plain: Server) -> None:
    with serve(dialect="openai", jobs=JobPlan(looks=0)) as server, httpx2.Client(base_url=server.url) as client:
        content = json.dumps({"custom_id": "q", "body": CHAT}).encode()
        form = {"purpose": "batch-api", "file_name": "mine.jsonl"}
        kept = client.post("/files/upload", data=form, files={"file": ("mine.jsonl", content)}).json()
        job = client.post("/batches", json={"input_file_id": kept["id"], **TOGETHER}).json()["job"]
        assert client.get("/batches").json() == [job]
        states = [job["status"]]
        while states[-1] != "COMPLETED":
            job = client.get(f"/batches/{job['id']}").json()
            states.append(job["status"])
        assert states == ["VALIDATING", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]
        assert "request_counts" not in job
        assert client.get(f"/files/{job['output_file_id']}/content").json()["custom_id"] == "q"


@pytest.mark.parametrize(
    ("end", "kinds"),
    [("completed", {"succeeded"}), ("expired", {"succeeded", "expired"}), ("cancelled", {"succeeded", "canceled"})],
)
def test_anthropics_jobs_end_with_a_result_for_every_question(end: str, kinds: set[str]) -> None:
    with serve(jobs=JobPlan((end,), looks=0)) as server:
        client = anthropic.Anthropic(base_url=server.root, api_key="none", max_retries=0)
        asked: Any = [{"custom_id": f"q-{at}", "params": CLAUDE} for at in range(8)]
        job = client.messages.batches.create(requests=asked)
        states = {job.processing_status}
        while job.processing_status != "ended":
            assert job.request_counts.processing == 8
            job = client.messages.batches.retrieve(job.id)
            MessageBatch.model_validate(job.model_dump())
            states.add(job.processing_status)
        results = list(client.messages.batches.results(job.id))
        assert [each.id for each in client.messages.batches.list()] == [job.id]
        client.close()
    assert states == {"in_progress", "ended"} | ({"canceling"} if end == "cancelled" else set())
    assert sorted(each.custom_id for each in results) == [f"q-{at}" for at in range(8)]
    assert {each.result.type for each in results} == kinds
    counts: Mapping[str, int] = job.request_counts.model_dump()
    for kind in kinds:
        assert counts[kind] == sum(each.result.type == kind for each in results)
    for each in results:
        MessageBatchIndividualResponse.model_validate(each.model_dump())


def test_a_plan_is_checked() -> None:
    for wrong in ({"ends": ("gone",)}, {"ends": ()}, {"left": 1.5}, {"looks": -1}):
        with pytest.raises(ConfigError, match="jobs: "):
            JobPlan(**wrong)
