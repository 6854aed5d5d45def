"""What the local models have in common: one request per prompt, whose answer lists every surface form.

The body of a request is the prompt's text and its forms; the body of an answer is `{"logprobs": {form: log p}}`.
How the numbers come about is each provider's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.base import Ask, Reading, Request, forms_of, label_distribution
from icm_api.types import Prompt


def forms_request(prompt: Prompt) -> Request:
    """The text of the prompt, and the surface forms to score."""
    return Request({"prompt": prompt.text, "forms": forms_of(prompt.verbalizer)}, prompt=prompt)


async def score_forms(prompts: Sequence[Prompt], ask: Ask, method: str) -> Sequence[Reading]:
    """One request per prompt, and what its answer lists."""
    bodies = await ask([forms_request(prompt) for prompt in prompts])
    return [Reading(body["logprobs"], method) for body in bodies]


def check_forms(identity: str, method: str, request: Request, body: Mapping[str, Any]) -> None:
    """Refuse an answer without a usable logprob for every form.

    Raises:
        LogprobsUnavailableError: it has none; which form, and what was there.
    """
    logprobs = body.get("logprobs")
    if not isinstance(logprobs, Mapping) or request.prompt is None:
        raise LogprobsUnavailableError(f"{identity}: the answer holds no 'logprobs': {body!r:.200}")
    label_distribution(request.prompt.verbalizer, Reading(logprobs, method))
