"""A host that trains: the connection, requests that are sent again if that is safe, and what answers hold.

It knows no path, body or word of any host, and nothing of training.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import httpx2
import openai
from openai._types import FileTypes, RequestOptions
from pydantic import SecretStr

from icm_api.config import ClientSettings
from icm_api.errors import GaveUpError, RequestError
from icm_api.model.client.retry import with_retries
from icm_api.model.endpoints.http import blotted, host_of
from icm_api.model.endpoints.network import PerLoop
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk, request_error

_T = TypeVar("_T")
HttpMethod: TypeAlias = Literal["GET", "POST"]
# An upload, or a host that thinks, may take its time; a job goes on without us.
_TIMEOUT = httpx2.Timeout(300.0, connect=10.0)
_PATIENCE = ClientSettings(attempts=8, retry_seconds=300.0)
# What ids and names of models are made of: they get into paths and specs.
_NAME = re.compile(r"[\w.:@/+-]{1,300}")


class Ask(NamedTuple):
    """A request.

    Attributes:
        method: of HTTP.
        path: below the base URL.
        body: JSON-able, or the fields of a form if there is a file.
        query: of the URL.
        file: name and content of a file.
        form: send the body as a form.
        there: that it is there already is no error.
    """

    method: HttpMethod
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None
    file: tuple[str, bytes] | None = None
    form: bool = False
    there: bool = False


class TrainingHost:
    """One model at a host that trains it.

    Args:
        name: of the host, as specs call it.
        model: to train.
        url: the base URL, checked by `checked_url`.
        key: sent as a bearer token; None if the host wants none.
    """

    def __init__(self, name: str, model: str, url: str, key: SecretStr | None) -> None:
        self.url = url
        self.identity = f"{name}/{host_of(url)}/{model}"
        self._secret = key.get_secret_value() if key else ""
        self._sdk = PerLoop(partial(open_sdk, Connection(url, key)), openai.AsyncOpenAI.close)

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    async def ask(self, wanted: Ask) -> Mapping[str, Any]:
        """Send a request that may be sent again.

        Args:
            wanted: the request.

        Raises:
            RequestError: it failed; classified.
        """
        return await self.again(lambda: self.once(wanted))

    async def again(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Do what may be done again until it succeeds.

        Args:
            attempt: does it once.

        Raises:
            RequestError: it failed; classified.
        """
        try:
            return await with_retries(attempt, _PATIENCE, clock=monotonic, sleep=asyncio.sleep)
        except GaveUpError as error:
            told = f"{error.__cause__}; gave up after {_PATIENCE.attempts} attempts; a job that was started goes on"
            raise GaveUpError(told, kind=error.kind, status=error.status, retry_after=error.retry_after) from error

    async def once(self, wanted: Ask) -> Mapping[str, Any]:
        """Send a request once.

        Args:
            wanted: the request.

        Raises:
            RequestError: it failed; classified.
        """
        try:
            response = await self.response(wanted)
        except RequestError as error:
            if wanted.there and error.status == httpx2.codes.CONFLICT:
                return {}
            raise
        # An error inside is one of the job that it tells of.
        try:
            found = json.loads(response.content or b"{}", parse_constant=str)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Mapping):
            shown = blotted(response.content[:2000].decode("utf-8", "replace"), self._secret)[:80]
            told = f"{self.identity}: the answer is no JSON object: {shown!r}"
            raise RequestError(told, kind="broken_answer", status=response.status_code)
        return found

    async def response(self, wanted: Ask) -> httpx2.Response:
        """Send a request once, and take its answer as it is. Redirects are not followed: they are answers.

        Args:
            wanted: the request.

        Raises:
            RequestError: it failed; classified.
        """
        sdk = self._sdk.get()
        options: RequestOptions = {"timeout": _TIMEOUT, "follow_redirects": False}
        if wanted.query:
            options["params"] = dict(wanted.query)
        try:
            if wanted.method == "GET":
                return await sdk.get(wanted.path, cast_to=httpx2.Response, options=options)
            files: list[tuple[str, FileTypes]] | None = None if wanted.file is None else [("file", wanted.file)]
            if files is not None or wanted.form:
                options["headers"] = {"Content-Type": "multipart/form-data"}
            body = {} if wanted.body is None else dict(wanted.body)
            return await sdk.post(wanted.path, cast_to=httpx2.Response, body=body, files=files, options=options)
        except openai.APIStatusError as error:
            if error.status_code == httpx2.codes.FOUND:
                return error.response
            raise self.named(error) from None
        except openai.APIError as error:
            raise self.named(error) from None

    def named(self, error: openai.APIError) -> RequestError:
        """What an error of the SDK means.

        Args:
            error: as the SDK raised it.
        """
        return request_error(error, self.identity, self._secret, self.url)

    def name_in(self, answer: Mapping[str, Any], key: str) -> str:
        """An id or a model's name in an answer.

        Args:
            answer: of the host.
            key: of the value.

        Raises:
            RequestError: it is missing, or holds what no name has.
        """
        found = answer.get(key)
        if not isinstance(found, str) or not _NAME.fullmatch(found) or ".." in found:
            told = f"{self.identity}: the answer has no name under {key!r}: {str(found)[:80]!r}"
            raise RequestError(told, kind="broken_answer")
        return found


def number_in(value: object) -> int | None:
    """A count in an answer; None if it is none.

    Example:
        >>> number_in(3), number_in(3.0), number_in("3"), number_in(-1), number_in(True)
        (3, 3, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        return None
    return int(value)


def list_in(answer: Mapping[str, Any], key: str = "data") -> list[Mapping[str, Any]]:
    """The objects of a list in an answer.

    Args:
        answer: of a host.
        key: of the list.
    """
    found = answer.get(key)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
