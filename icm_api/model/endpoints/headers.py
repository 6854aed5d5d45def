"""What headers say of limits: how long to wait, and how much a minute may take; and errors, if headers say nothing.

It does: read each header on its own, in the notations of OpenAI, Anthropic and their kin, so that one that cannot be
read hides no other. It does not: take what holds for a day for what holds for a minute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

_MINUTE = 60.0
# What is renewed later than that cannot be what a run should wait for, unless it is used up.
_SOON = 600.0
# The header's part, in either order: "x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset".
_HEADER = re.compile(
    r"(?:x-|anthropic-)?ratelimit-(?:(limit|remaining|reset)(?:-([a-z-]+))?|([a-z-]+)-(limit|remaining|reset))"
)
_PER_MINUTE = {"requests_per_minute": "requests", "tokens_per_minute": "tokens"}
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|[dhms])")
_LONG_UNITS = re.compile(r"\b(days?|hours?|minutes?|mins?|seconds?|secs?)\b", re.IGNORECASE)
_QUOTA = re.compile(r"(\d{1,15})\s*;\s*w=(\d{1,15})")
# All in one header: "limit=100, remaining=0, reset=50", or "default";r=0;t=50.
_ITEM = re.compile(r"\b(limit|remaining|reset|r|t)=(\d{1,15})")
_ITEMS = {"r": "remaining", "t": "reset"}
_AGAIN = re.compile(
    r"(?:again|retry|wait)\b(?:.{0,20}?\b(?:in|after|for)\b.{0,12}?|\s)"
    r"((?:\d{1,9}(?:\.\d{1,9})?\s?"
    r"(?:ms|milliseconds?|days?|hours?|minutes?|mins?|seconds?|secs?|[dhms](?![a-z]))?[\s,]*)+)",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|mil|[dhms])", re.IGNORECASE)
# No duration is as long as that: it is a time since 1970, in seconds or in milliseconds.
_EPOCH, _EPOCH_MS = 1e9, 1e11


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, `retry-after`, else the longest reset of what is used up.

    Args:
        headers: of the answer, with names in lower case.
        now: for headers that name a date; the present time if None.

    Returns:
        None if no header says anything usable.

    Example:
        >>> retry_after({"retry-after": "2"}), retry_after({"retry-after-ms": "250"})
        (2.0, 0.25)
        >>> resets = {"x-ratelimit-reset-tokens": "1m30s", "x-ratelimit-reset-requests": "2s"}
        >>> retry_after({"retry-after": "soon"} | resets)
        90.0
    """
    now = now or datetime.now(UTC)
    milliseconds = _number(headers.get("retry-after-ms"))
    said = milliseconds / 1000 if milliseconds is not None else _wait(headers.get("retry-after"), now)
    if said is not None:
        return said
    limits = _limits(headers)
    resets = {what: wait for what, known in limits.items() if (wait := _wait(known.get("reset"), now)) is not None}
    later = {what: wait for what, wait in resets.items() if wait > 0}
    used_up = [wait for what, wait in later.items() if _number(limits[what].get("remaining")) == 0]
    return max(used_up or [wait for wait in later.values() if wait <= _SOON], default=None)


def wait_said(error: object, text: str, now: datetime | None = None) -> float | None:
    """Seconds that an error asks to wait: by headers that a router puts into it, by its details, or by what it says.

    Args:
        error: the error's object in the answer.
        text: its message.
        now: for headers that name a time; the present time if None.

    Returns:
        None if it says nothing of it.

    Example:
        >>> wait_said(None, "Please try again in 1m26.5s."), wait_said(None, "Retry after 7 seconds.")
        (86.5, 7.0)
        >>> wait_said({"metadata": {"headers": {"Retry-After": "3"}}}, "Rate limit exceeded")
        3.0
    """
    now = now or datetime.now(UTC)
    metadata = error.get("metadata") if isinstance(error, Mapping) else None
    headers = metadata.get("headers") if isinstance(metadata, Mapping) else None
    if isinstance(headers, Mapping):
        named = retry_after({str(name).lower(): str(value) for name, value in headers.items()}, now)
        if named is not None:
            return named
    details = error.get("details") if isinstance(error, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        named = _wait(str(detail.get("retryDelay", "")), now) if isinstance(detail, Mapping) else None
        if named is not None:
            return named
    found = _AGAIN.search(text)
    amounts = _AMOUNT.findall(found[1]) if found else []
    units = {"mil": 0.001, **_SECONDS}
    return sum(float(amount) * units[unit.lower()] for amount, unit in amounts) if amounts else None


def limits_of(headers: Mapping[str, str]) -> Mapping[str, float] | None:
    """What the headers allow a minute, as `Response.limits` names it; None if they say nothing of it.

    A limit that is renewed only after more than a minute is one of an hour or a day.

    Args:
        headers: of the answer, with names in lower case.

    Example:
        >>> limits_of({"x-ratelimit-limit-requests": "14400", "x-ratelimit-reset-requests": "2m59s",
        ...            "x-ratelimit-limit-tokens": "6000", "x-ratelimit-reset-tokens": "7s"})
        {'tokens_per_minute': 6000.0}
    """
    limits = _limits(headers)
    if not limits:
        return None
    now, found = datetime.now(UTC), {}
    for name, what in _PER_MINUTE.items():
        known = limits.get(f"{what}-minute") or limits.get(what) or {}
        limit, reset = _a_minute(known.get("limit")), _wait(known.get("reset"), now)
        if limit and (reset is None or reset <= _MINUTE):
            found[name] = limit
    return found or None


def _limits(headers: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    """Per thing that is limited what the headers say: its limit, what remains, when that is renewed."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        name = name.lower()
        if "ratelimit" not in name:
            continue
        match = _HEADER.fullmatch(name)
        if name == "ratelimit":
            found[""] = {_ITEMS.get(item, item): said for item, said in _ITEM.findall(value)}
        elif match is not None:
            field, what, other, last = match.groups()
            found.setdefault(what or other or "", {})[field or last] = value
    return found


def _a_minute(text: str | None) -> float | None:
    """A limit, or of a list of them with their windows ("100;w=60") the one of a minute."""
    windows = _QUOTA.findall(text or "")
    return (
        next((float(most) for most, seconds in windows if int(seconds) == _MINUTE), None) if windows else _number(text)
    )


def _wait(text: str | None, now: datetime) -> float | None:
    """Seconds from a number, a duration such as "1m30s", a time since 1970, or a date."""
    number = _number(text)
    if number is not None:
        if number < _EPOCH:
            return number
        return max(0.0, (number / 1000 if number > _EPOCH_MS else number) - now.timestamp())
    short = _LONG_UNITS.sub(lambda unit: unit[0][0].lower(), text or "")
    parts = _DURATION.findall(short)
    if parts and "".join(amount + unit for amount, unit in parts) == short.replace(" ", ""):
        return sum(float(amount) * _SECONDS[unit] for amount, unit in parts)
    date = _date(text or "")
    return None if date is None else max(0.0, (date - now).total_seconds())


def _date(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text)
        except (ValueError, OverflowError):
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if isfinite(value) and value >= 0 else None
