"""An answer as it came over HTTP: read within bounds, and judged by what it holds rather than by its status alone.

It does: bound the size and the depth of a body, find an error inside an answer of any status, and name its kind.
It does not: send, or know what a sound answer means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from icm_api.errors import RequestError
from icm_api.model.endpoints.headers import wait_said
from icm_api.model.endpoints.http import NAMED_KINDS, AnswerTooLargeError, advised, blotted, kind_of

MOST_BYTES = 64 * 2**20
"""Of an answer; the largest real ones, long prompts echoed with alternatives, have a tenth of it."""

# No API nests its answers more than ten levels deep.
_DEEPEST = 64


async def read_capped(response: httpx2.Response) -> None:
    """An event hook that reads an answer's body, unpacked, as far as `MOST_BYTES`.

    Args:
        response: whose body is not read yet.

    Raises:
        AnswerTooLargeError: the body is larger.
    """
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MOST_BYTES:
            raise AnswerTooLargeError(f"the answer has more than {MOST_BYTES // 2**20} MB")
    # As `aread` leaves it; httpx2 has no public way to bound what that reads.
    response._content = bytes(body)


def read_object(content: bytes, status: int, where: str, key: str) -> Mapping[str, Any]:
    """The JSON object of an answer, with NaN and infinities (which are no JSON) as text.

    Args:
        content: the body.
        status: of the answer.
        where: provider and model, for messages.
        key: blotted out of messages.

    Raises:
        RequestError: it is no JSON, none that can be read, or no object; or it holds an error: classified.
    """

    def broken(reason: str) -> RequestError:
        shown = blotted(content[:2000].decode("utf-8", "replace"), key)[:80]
        return RequestError(f"{where}: the answer is {reason}: {shown!r}", kind="broken_answer", status=status)

    try:
        answer = json.loads(content, parse_constant=str)
    except RecursionError:
        raise broken(f"JSON of more than {_DEEPEST} levels") from None
    except ValueError as error:
        raise broken(f"no JSON ({error})") from None
    if not isinstance(answer, Mapping):
        raise broken("no JSON object")
    # Less than so many brackets can't be as deep.
    if content.count(b"[") + content.count(b"{") > _DEEPEST and _is_deep(answer):
        raise broken(f"JSON of more than {_DEEPEST} levels")
    trouble = error_within(answer)
    if trouble is not None:
        named, code, text = trouble
        kind = kind_of(code if code is not None else 502, named, text)
        told = f"{where}: {advised(blotted(text, key), kind)}"
        raise RequestError(told, kind=kind, status=code or status, retry_after=wait_said(answer.get("error"), text))
    return answer


def error_within(body: Mapping[str, Any]) -> tuple[str, int | None, str] | None:
    """An error that an answer holds, in place of its choices or inside the first.

    Args:
        body: of the answer.

    Returns:
        The server's name of the error, the status that it stands for (None if it names none) and what it says; None
        if the answer holds no error.

    Example:
        >>> error_within({"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "Overloaded"}}]})
        ('', 502, 'Overloaded')
        >>> error_within({"choices": [{"finish_reason": "stop"}]}) is None, error_within({"choices": []}) is None
        (True, False)
    """
    choices = body.get("choices")
    if not choices and "choices" in body and not body.get("error"):
        return "", None, "the answer holds no choices (a host that is overloaded or was cut off may answer so)"
    inner = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []
    for holder in (body, *inner[:1]):
        if holder.get("error"):
            return _described(holder["error"])
    if inner and inner[0].get("finish_reason") == "error":
        return "", None, "the host says that it failed, and not why (finish_reason error)"
    if body.get("object") == "error" or (body.get("type") == "error" and not inner):
        return _described(body)
    info = body.get("meta_info")
    reason = info.get("finish_reason") if isinstance(info, Mapping) else None
    # SGLang; without a status it is the prompt's fault, which the reader says.
    if isinstance(reason, Mapping) and reason.get("type") == "abort" and _status(reason) is not None:
        return _described(reason)
    return None


def _described(trouble: object) -> tuple[str, int | None, str]:
    if not isinstance(trouble, Mapping):
        return "", None, str(trouble)
    text = trouble.get("message") or trouble.get("detail") or json.dumps(trouble, default=str)
    names = [trouble.get(name) for name in ("code", "type", "status")]
    named = [name for name in names if isinstance(name, str) and not name.isdecimal()]
    known = [name for name in named if name.lower() in NAMED_KINDS]
    return (known or named or [""])[0], _status(trouble), str(text)


def _status(trouble: Mapping[str, Any]) -> int | None:
    for name in ("code", "status_code", "status", "http_status"):
        value = trouble.get(name)
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if type(value) is int and 400 <= value < 600:
            return value
    return None


def _is_deep(value: object) -> bool:
    level: Sequence[object] = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
