"""What a request cost by the server's own count, of whatever name and type; by estimate if that can't be used.

It does not: know prices, or count requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, isfinite
from typing import Any

from icm_api.model.request import Body, Request
from icm_api.types import Usage

_PROMPT = ("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count", "tokens_evaluated")
_COMPLETION = ("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count", "tokens_predicted")
_CACHED = (
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "cache_read_input_tokens",
    "cachedContentTokenCount",
)
# Where the counts are, the answer itself last.
_PLACES = ("usage", "usageMetadata", "meta_info", "timings")
# No prompt has more tokens: it is no count.
_MOST = 10**9
# Nor has one so few against its length. More may be a window to which the server cuts, which the client looks into.
_LEAST_SHARE, _SMALL = 1 / 16, 256


def charged(body: Body, request: Request) -> tuple[Usage, str]:
    """What to charge for a request, and what of the server's count could not be used.

    Args:
        body: of the answer.
        request: that was answered; its estimates stand in for what the server doesn't say.

    Returns:
        The usage, and "" if all of it is the server's.

    Example:
        >>> request = Request({}, tokens=40, completion_tokens=1)
        >>> charged({"usage": {"input_tokens": 9, "output_tokens": "1"}}, request)
        (Usage(requests=1, prompt_tokens=9, completion_tokens=1, cached_tokens=0), '')
        >>> charged({"usage": {"prompt_tokens": -9, "completion_tokens": 1}}, request)
        (Usage(requests=1, prompt_tokens=40, completion_tokens=1, cached_tokens=0), 'prompt tokens -9')
    """
    usage = _counts(body)
    doubts = []
    prompt, said = _first(usage, _PROMPT)
    # What nobody estimated is left at nothing.
    if (prompt or 0) < min(_LEAST_SHARE * request.tokens, _SMALL):
        doubts.append(f"prompt tokens {said!r:.40}")
        prompt = request.tokens
    completion, said = _first(usage, _COMPLETION)
    if completion is None and request.completion_tokens:
        doubts.append(f"completion tokens {said!r:.40}")
        completion = request.completion_tokens
    thoughts, _ = _first(usage, ("thoughtsTokenCount",))
    cached, said = _first(usage, _CACHED)
    if (cached is None and said is not None) or (cached or 0) > (prompt or 0):
        doubts.append(f"cached tokens {said!r:.40}")
        cached = 0
    return Usage(1, prompt or 0, (completion or 0) + (thoughts or 0), cached or 0), ", ".join(doubts)


def _counts(body: Body) -> Mapping[str, Any]:
    """The object that holds the counts."""
    for place in _PLACES:
        found = body.get(place)
        if isinstance(found, Mapping) and any(name in found for name in (*_PROMPT, *_COMPLETION)):
            return found
    return body


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> tuple[int | None, object]:
    """The first count under one of these names, and what stood there; None if none is a count."""
    first = None
    for value in _values(usage, names):
        if (number := _count(value)) is not None:
            return number, value
        first = value if first is None else first
    return None, first


def _values(usage: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[object]:
    for name in names:
        outer, _, inner = name.rpartition(".")
        holder = usage.get(outer) if outer else usage
        if isinstance(holder, Mapping) and holder.get(inner) is not None:
            yield holder[inner]


def _count(value: object) -> int | None:
    """A whole number of tokens from an int, a float or text; None if it can't be one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return ceil(number) if isfinite(number) and 0 <= number <= _MOST else None
