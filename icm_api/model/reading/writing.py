"""Text from the APIs of Anthropic and Gemini: the requests that ask for it, and what an answer says.

It does: one request for each sample, each a message of the user's. It does not: send, read labels, or know OpenAI's
format, whose provider writes by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from icm_api.errors import CapabilityError
from icm_api.model.base import Ask, Request
from icm_api.model.reading.chat import estimated_tokens


async def replies(
    texts: Sequence[str],
    samples: int,
    ask: Ask,
    body: Callable[[str], Mapping[str, Any]],
    endpoint: str,
    read: Callable[[Mapping[str, Any]], str],
) -> Sequence[Sequence[str]]:
    """`samples` replies to each text.

    Args:
        texts: what the user says.
        samples: replies to each.
        ask: of the client.
        body: of the request for a text.
        endpoint: of all requests.
        read: an answer's text.
    """
    requests = [
        Request(body(text), endpoint, sample=sample, tokens=estimated_tokens(text))
        for text in texts
        for sample in range(samples)
    ]
    written = [read(answer) for answer in await ask(requests)]
    return [written[at : at + samples] for at in range(0, len(written), samples)]


def anthropic_body(text: str, most: int, temperature: float, *, thinking: bool) -> dict[str, Any]:
    """One message, without the model's name.

    Raises:
        CapabilityError: another temperature than 1 is asked for, which current models refuse.
    """
    if temperature != 1.0:
        raise CapabilityError(
            f"anthropic: current models take no temperature, so {temperature:g} cannot be asked for; use 1"
        )
    body: dict[str, Any] = {"max_tokens": most, "messages": [{"role": "user", "content": text}]}
    return body if thinking else body | {"thinking": {"type": "disabled"}}


def gemini_body(text: str, most: int, temperature: float, *, thinking: bool) -> dict[str, Any]:
    """One content of the user's, with the configuration that asks for text alone."""
    config: dict[str, Any] = {"maxOutputTokens": most, "temperature": temperature}
    if not thinking:
        config["thinkingConfig"] = {"thinkingBudget": 0}
    return {"generationConfig": config, "contents": [{"role": "user", "parts": [{"text": text}]}]}


def gemini_text(body: Mapping[str, Any]) -> str:
    """What the model wrote, without its thoughts; "" where that is nothing.

    Example:
        >>> parts = [{"text": "Let me see.", "thought": True}, {"text": "It is "}, {"text": "18."}]
        >>> gemini_text({"candidates": [{"content": {"parts": parts}}]}), gemini_text({"candidates": [{}]})
        ('It is 18.', '')
    """
    candidates = body.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else {}
    content = first.get("content") if isinstance(first, Mapping) else None
    parts = content.get("parts") if isinstance(content, Mapping) else None
    shown = [part for part in parts or () if isinstance(part, Mapping) and not part.get("thought")]
    return "".join(part["text"] for part in shown if isinstance(part.get("text"), str))
