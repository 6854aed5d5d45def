"""OpenAI's two APIs, and all hosts that speak their formats, through OpenAI's SDK.

It does: send, and count what the server says it cost. Imported only when such a host is opened. It does not: connect or
name errors (`openai_sdk` does), retry, wait, or read an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import httpx2

from icm_api.model.endpoints.headers import limits_of
from icm_api.model.endpoints.lists import listed, parted
from icm_api.model.endpoints.network import PerLoop
from icm_api.model.endpoints.on_demand import on_demand
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk, post
from icm_api.model.endpoints.usage import charged
from icm_api.model.host import Host
from icm_api.model.job import JobHost
from icm_api.model.request import Request, Response
from icm_api.types import Capabilities

with on_demand("openai.types"):
    import openai

_LIST_SECONDS = 5.0


class OpenAIEndpoint:
    """One model at a host of OpenAI's formats; implements `Endpoint`.

    Args:
        host: the model and its host.
        capabilities: what can be read of it.
        connection: where and how to connect.
        unkeyed: sent with every question; it changes what that costs and not what is answered.

    Raises:
        ConfigError: aiohttp was asked for, and is not installed.
    """

    def __init__(
        self,
        host: Host,
        capabilities: Capabilities,
        connection: Connection,
        unkeyed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._host, self._capabilities, self._unkeyed = host, capabilities, unkeyed
        # Routes that begin with a slash stand beside /v1, not below it.
        self._root = connection.url.removesuffix("/v1")
        self._sdk = PerLoop(partial(open_sdk, connection), openai.AsyncOpenAI.close)

    def job_host(self) -> JobHost:
        """What takes batch jobs for this model, by the shape that its entry names."""
        from icm_api.model.endpoints.openai_jobs import OpenAIJobs, TogetherJobs

        kind = TogetherJobs if self._host.entry.jobs == "together" else OpenAIJobs
        return kind(self._host, self._sdk, self._unkeyed)

    @property
    def identity(self) -> str:
        """The entry's name, the host and its path, and the model's name."""
        return self._host.identity

    @property
    def capabilities(self) -> Capabilities:
        """What can be read of the model."""
        return self._capabilities

    def count_tokens(self, text: str) -> int:
        """An estimate from the text's length, rather too large."""
        return self._host.count_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask several of one group in one list of prompts, and others one after the other."""
        if len(requests) > 1 and requests[0].group and len({request.group for request in requests}) == 1:
            where = self._host.identity
            asked = listed(requests) | dict(self._unkeyed)
            body, headers = await post(self._sdk.get(), requests[0].endpoint, asked, where)
            parts, doubt = parted(body, requests, where)
            limits = limits_of(headers)
            return [Response(alone, usage, limits, doubt) for alone, usage in parts]
        responses = []
        for request in requests:
            beside = request.endpoint.startswith("/")
            path = self._root + request.endpoint if beside else request.endpoint
            asked = {**request.body, **request.more, **({} if beside else self._unkeyed)}
            body, headers = await post(self._sdk.get(), path, asked, self._host.identity)
            usage, doubt = charged(body, request)
            responses.append(Response(body, usage, limits_of(headers), doubt))
        return responses

    async def stated_window(self) -> int | None:
        """Tokens of the context window, by the server's list of models; None if it says nothing."""
        try:
            response = await self._sdk.get().get("models", cast_to=httpx2.Response, options={"timeout": _LIST_SECONDS})
            return window_of(json.loads(response.content), self._host.model)
        except (openai.APIError, ValueError):
            return None

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()


def window_of(body: object, model: str) -> int | None:
    """Tokens of a model's context window, as a list of models states it; None if it does not.

    Args:
        body: of `GET /v1/models`: vLLM and SGLang say `max_model_len`, llama.cpp `meta.n_ctx`, hosts `context_length`.
        model: its name; if the list has only one, that one.

    Example:
        >>> window_of({"data": [{"id": "m", "max_model_len": 4096}]}, "m")
        4096
        >>> window_of({"data": [{"id": "m.gguf", "meta": {"n_ctx": 512, "n_ctx_train": 8192}}]}, "m")
        512
    """
    data = body.get("data") if isinstance(body, Mapping) else None
    entries = [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []
    named = [entry for entry in entries if entry.get("id") == model] or entries
    if len(named) != 1:
        return None
    meta = named[0].get("meta")
    said = [named[0].get("max_model_len"), meta.get("n_ctx") if isinstance(meta, Mapping) else None]
    said += [named[0].get(key) for key in ("context_length", "context_window", "max_context_length")]
    return next((value for value in said if type(value) is int and value > 0), None)
