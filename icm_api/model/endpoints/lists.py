"""Several prompts of one completions request, and the answer to them taken apart again.

It does: write the body of a list, give each prompt the answer that it would have got alone, and divide what the server
counted for all of them.
It does not: send, or decide which prompts travel together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from icm_api.errors import RequestError
from icm_api.model.endpoints.usage import charged
from icm_api.model.request import Body, Request, tokens_together
from icm_api.types import Usage

_NAMES = ("prompt_tokens", "completion_tokens", "cached_tokens")


def listed(requests: Sequence[Request]) -> dict[str, Any]:
    """The body that asks all of them, which differ in nothing but their prompts.

    Args:
        requests: of one group, at least one.

    Example:
        >>> listed([Request({"prompt": "a", "max_tokens": 1}), Request({"prompt": "b", "max_tokens": 1})])
        {'prompt': ['a', 'b'], 'max_tokens': 1}
    """
    return {**requests[0].body, **requests[0].more, "prompt": [request.body["prompt"] for request in requests]}


def parted(body: Body, requests: Sequence[Request], where: str) -> tuple[list[tuple[Body, Usage]], str]:
    """Per prompt the answer that it would have got alone and what it cost, and what of the server's count is no count.

    The usage inside an answer is the prompt's share, with what was counted for the whole list beside it.

    Args:
        body: the answer to `listed`.
        requests: that were asked.
        where: provider and model, for messages.

    Raises:
        RequestError: which answer belongs to which prompt is unknown ("broken_answer").
    """
    choices = _in_order(body.get("choices"), len(requests))
    if choices is None:
        raise RequestError(
            f"{where}: the answer to a list of {len(requests)} prompts has no answer for each of them; if this "
            "happens again and again, set prompt_list = 1 under [model.options]",
            kind="broken_answer",
        )
    usages, doubt = divided(body, requests)
    # Together puts echoed prompts beside the choices.
    prompts = body.get("prompt")
    beside = prompts if isinstance(prompts, list) and len(prompts) == len(requests) else None
    found: list[tuple[Body, Usage]] = []
    for at, (choice, (said, usage)) in enumerate(zip(choices, usages, strict=True)):
        alone: dict[str, Any] = {**body, "choices": [{**choice, "index": 0}], "usage": said}
        if beside is not None:
            alone["prompt"] = [beside[at]]
        found.append((alone, usage))
    return found, doubt


def divided(body: Body, requests: Sequence[Request]) -> tuple[list[tuple[Body, Usage]], str]:
    """Each prompt's share of what a server counted for all, and what of the server's count is no count.

    Args:
        body: of the answer.
        requests: that were asked together.

    Returns:
        Per prompt the share as it goes into its answer, with the whole count beside it, and as usage.
    """
    replies = sum(request.completion_tokens for request in requests)
    total, doubt = charged(body, Request({}, tokens=tokens_together(requests), completion_tokens=replies))
    whole = {"prompts": len(requests), **_counts(total)}
    return [({**_counts(usage), "of_list": whole}, usage) for usage in _shares(total, requests)], doubt


def _counts(usage: Usage) -> dict[str, Any]:
    return {name: getattr(usage, name) for name in _NAMES}


def _in_order(choices: object, count: int) -> list[Body] | None:
    """The choices by their index, if there is one for each prompt."""
    if not isinstance(choices, list) or len(choices) != count:
        return None
    by_index = {choice.get("index"): choice for choice in choices if isinstance(choice, Mapping)}
    return [by_index[at] for at in range(count)] if set(by_index) == set(range(count)) else None


def _shares(total: Usage, requests: Sequence[Request]) -> Iterator[Usage]:
    """The tokens of all, divided by what each prompt was estimated to have, the replies evenly."""
    prompts = list(_portions(total.prompt_tokens, [request.tokens for request in requests]))
    cached = _portions(total.cached_tokens, prompts)
    replies = _portions(total.completion_tokens, [1] * len(requests))
    for each in zip(prompts, replies, cached, strict=True):
        yield Usage(1, *each)


def _portions(total: int, weights: Sequence[int]) -> Iterator[int]:
    """Whole numbers in proportion to the weights that add up to the total."""
    if not sum(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    for before, after in pairwise(accumulate(weights, initial=0)):
        yield total * after // whole - total * before // whole
