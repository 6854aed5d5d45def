"""The way of a question from the model that is asked to the endpoint that sends it: each name on it, in order."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Sequence
from types import CodeType, CoroutineType
from typing import Any

import pytest

from icm_api.model import Client, LanguageModel, Opened, Request, Response, open_endpoint
from icm_api.testing import Server, serve
from icm_api.types import Capabilities, Prompt, Turn, Verbalizer

PROMPT = Prompt("", (Turn("27>82", " False"),), "82>27", Verbalizer.plain(["True", "False"]), "\n")


class Watched:
    """An endpoint that notes, when something is sent, which of the library's coroutines wait for it."""

    def __init__(self, opened: Opened) -> None:
        self._endpoint = opened.endpoint
        self.way: list[str] = []

    @property
    def identity(self) -> str:
        return self._endpoint.identity

    @property
    def capabilities(self) -> Capabilities:
        return self._endpoint.capabilities

    def count_tokens(self, text: str) -> int:
        return self._endpoint.count_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        self.way = [*_names(), f"{type(self._endpoint).__name__}.send"]
        return await self._endpoint.send(requests)

    async def close(self) -> None:
        await self._endpoint.close()


def _names() -> list[str]:
    """The library's coroutines that are under way: those of the oldest task first, in each the outermost first."""
    running = asyncio.current_task()
    # Tasks say in their names which was made first; the one that sends is the youngest.
    waiting = sorted(asyncio.all_tasks() - {running}, key=lambda task: int(task.get_name().partition("-")[2]))
    codes = [code for task in waiting for code in _awaited(task.get_coro())]
    codes += [frame.frame.f_code for frame in reversed(inspect.stack(0))]
    return [code.co_qualname for code in codes if "/icm_api/" in code.co_filename.replace("\\", "/")]


def _awaited(coroutine: Any) -> Iterator[CodeType]:
    while isinstance(coroutine, CoroutineType):
        yield coroutine.cr_code
        coroutine = coroutine.cr_await


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(dialect="vllm") as running:
        yield running


async def way(spec: str, options: dict[str, Any]) -> list[str]:
    opened = open_endpoint(spec, options)
    watched = Watched(opened)
    async with LanguageModel(opened.readers, Client(watched)) as model:
        await model.label_distributions([PROMPT])
    return watched.way


ABOVE = ["LanguageModel.label_distributions"]
CLIENT = ["Client.ask", "Client._fetch", "Batch.run", "Batch._work", "with_retries", "Batch._attempt"]


@pytest.mark.parametrize(
    ("name", "options", "reader"),
    [
        ("openai-compatible", {"api": "completions"}, "TopK.read"),
        ("openai-compatible", {}, "TopK.read"),
        ("vllm", {}, "ExactIds.read"),
    ],
)
async def test_a_question_to_a_hosted_model_passes_nine_names(
    server: Server, name: str, options: dict[str, Any], reader: str
) -> None:
    found = await way(f"{name}:{server.model}@{server.url}", options)
    assert found == [*ABOVE, reader, *CLIENT, "OpenAIEndpoint.send"]
    assert len(found) == 9


async def test_a_question_to_a_model_on_this_machine_passes_six() -> None:
    found = await way("pocket", {})
    reader, client = "ReadsForms.read", ["Client.ask", "Client._fetch", "Client._send_together"]
    assert found == [*ABOVE, reader, *client, "PocketEndpoint.send"]
