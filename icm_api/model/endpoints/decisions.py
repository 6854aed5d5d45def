"""Decision endpoints in both wires: OpenAI's list of questions about an input, System One's map of them about a state.

It does: send the questions of prompts that share their demonstrations as one request, and give each prompt its answer.
It does not: retry, wait, or read a probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from icm_api.errors import RequestError
from icm_api.model.decision_hosts import DecisionHost
from icm_api.model.endpoints.headers import limits_of
from icm_api.model.endpoints.lists import divided
from icm_api.model.endpoints.network import PerLoop
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk, post
from icm_api.model.endpoints.usage import charged
from icm_api.model.request import Body, Request, Response, bytes_in_tokens
from icm_api.types import Capabilities


class DecisionsEndpoint:
    """One decision model; implements `Endpoint`.

    Args:
        host: the model and its host.
        connection: where and how to connect.

    Raises:
        ConfigError: aiohttp was asked for, and is not installed.
    """

    def __init__(self, host: DecisionHost, connection: Connection) -> None:
        self._host = host
        self._sdk = PerLoop(partial(open_sdk, connection), lambda sdk: sdk.close())

    @property
    def identity(self) -> str:
        """The entry's name, the host and its path, and the model's name."""
        return self._host.identity

    @property
    def capabilities(self) -> Capabilities:
        """Closed questions, many of them together; answers differ a little from time to time."""
        entry = self._host.entry
        return Capabilities(
            entry.context_window, "decisions", deterministic=False, together=entry.questions, alike=entry.questions > 1
        )

    def count_tokens(self, text: str) -> int:
        """An estimate from the text's length, rather too large."""
        return bytes_in_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask several of one group as questions of one request, and others one after the other."""
        if len(requests) > 1 and len({request.group for request in requests}) == 1:
            return await self._send_together(requests)
        responses = []
        for request in requests:
            body, headers = await self._post(request.endpoint, request.body)
            usage, doubt = charged(body, request)
            responses.append(Response(body, usage, limits_of(headers), doubt))
        return responses

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def _send_together(self, requests: Sequence[Request]) -> Sequence[Response]:
        body, headers = await self._post(requests[0].endpoint, together(requests))
        answers = apart(body.get("answers"), requests)
        if answers is None:
            raise RequestError(
                f"{self.identity}: the answer to {len(requests)} questions has no answer for each of them; if this "
                "happens again and again, set questions = 1 under [model.options]",
                kind="broken_answer",
            )
        usages, doubt = divided(body, requests)
        limits = limits_of(headers)
        return [
            Response({**body, "answers": answer, "usage": said}, usage, limits, doubt)
            for answer, (said, usage) in zip(answers, usages, strict=True)
        ]

    async def _post(self, path: str, body: Body) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        return await post(self._sdk.get(), path, body, self.identity)


def together(requests: Sequence[Request]) -> dict[str, Any]:
    """The body that asks all questions of requests that differ in nothing else.

    Args:
        requests: of one group, each with one question.

    Example:
        >>> together([Request({"state": "s", "questions": {"label": each}}) for each in ("a", "b")])
        {'state': 's', 'questions': {'q0': 'a', 'q1': 'b'}}
        >>> together([Request({"input": "s", "questions": [each]}) for each in ("a", "b")])
        {'input': 's', 'questions': ['a', 'b']}
    """
    asked = [request.body["questions"] for request in requests]
    if isinstance(asked[0], Mapping):
        named = (next(iter(each.values())) for each in asked)
        return {**requests[0].body, "questions": {f"q{at}": question for at, question in enumerate(named)}}
    return {**requests[0].body, "questions": [question for each in asked for question in each]}


def apart(answers: object, requests: Sequence[Request]) -> list[Any] | None:
    """Per request its answer as it would have come alone; None if there is not one for each.

    Args:
        answers: to `together`.
        requests: that were asked.
    """
    if isinstance(answers, list) and len(answers) == len(requests):
        return [[answer] for answer in answers]
    names = [f"q{at}" for at in range(len(requests))]
    if isinstance(answers, Mapping) and answers.keys() == set(names):
        return [{next(iter(each.body["questions"])): answers[name]} for name, each in zip(names, requests, strict=True)]
    return None
