"""Anthropic's route, /v1/messages: sampled text and stated probabilities, never logprobs.

Does not stream, call tools, think, or enforce the real service's shortest cacheable prompt.

An answer to the same body differs from time to time, as samples do, by a random generator that depends on the server's
seed and on how often the body was answered before. An `output_config` with a JSON schema is filled in by the model's
own probabilities: numbers beside each other are those of the labels that their keys name, normalised, to two decimals;
a string with an `enum` is sampled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import exp, fsum
from typing import Any

from icm_api.testing.backend import Ids, Sampling, WireError
from icm_api.testing.wire import Answer, Call, answer_text, chat_text, content_text, integer, stops, temperature

_FIELDS = frozenset((
    "model", "messages", "max_tokens", "cache_control", "container", "diagnostics", "inference_geo", "metadata",
    "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking", "tool_choice",
    "tools",
))  # fmt: skip
_SAMPLING_FIELDS = frozenset({"temperature", "top_p", "top_k"})
_SAMPLING_REFUSED_SINCE = "2026-10-21"


def messages(call: Call) -> Answer:
    """Answer /v1/messages."""
    body = call.body
    _check_fields(call)
    most = integer(body, "max_tokens")
    if most is None:
        raise WireError("max_tokens: Field required")
    text, marked = _conversation(call)
    ids = call.backend.fits(call.backend.encode(text), most)
    read, written = _cache(call, text[:marked], ids)
    schema = _schema(body)
    sampling = Sampling(most, temperature(body), stops(body.get("stop_sequences")), call.random, answer=True)
    made = call.backend.generate(ids, sampling) if schema is None else None
    said = made.text.strip() if made is not None else json.dumps(_fill(call, ids, schema or {}))
    length = len(call.backend.encode(said)) if made is None else len(made.ids)
    refused = call.fault == "refusal"
    ended = "refusal" if refused else "end_turn" if made is None or made.stopped else "max_tokens"
    payload = {
        "id": f"msg_{call.request_id}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [] if refused or not most else [{"type": "text", "text": said}],
        "stop_reason": ended,
        "stop_sequence": None,
        "usage": {
            "input_tokens": len(ids) - read - written,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "output_tokens": length,
        },
    }
    return Answer(payload, len(ids), read, length)


def count_tokens(call: Call) -> Answer:
    """Answer /v1/messages/count_tokens."""
    _check_fields(call)
    return Answer({"input_tokens": len(call.backend.encode(_conversation(call)[0]))})


def _check_fields(call: Call) -> None:
    version = call.headers.get("anthropic-version")
    if version is None:
        raise WireError("anthropic-version: header is required")
    known = _FIELDS | _SAMPLING_FIELDS if version < _SAMPLING_REFUSED_SINCE else _FIELDS
    unknown = sorted(set(call.body) - known)
    if unknown:
        raise WireError(f"{unknown[0]}: Extra inputs are not permitted")
    for name in ("stream", "tools", "tool_choice"):
        if call.body.get(name):
            raise WireError(f"{name}: not served here")


def _conversation(call: Call) -> tuple[str, int]:
    """What the model reads, and how many characters of it are marked to be cached."""
    turns = [("system", call.body.get("system") or [])] if call.body.get("system") else []
    given = call.body.get("messages")
    if not isinstance(given, list) or not given or not all(isinstance(turn, Mapping) for turn in given):
        raise WireError("messages: at least one message is required")
    turns += [(str(turn.get("role")), turn.get("content")) for turn in given]
    if any(role not in ("user", "assistant") for role, _ in turns[len(turns) - len(given) :]):
        raise WireError("messages: role must be 'user' or 'assistant'")
    if turns[-1][0] == "assistant":
        raise WireError("This model does not support assistant message prefill.")
    texts = [(role, content_text(content)) for role, content in turns]

    def render(some: Sequence[tuple[str, str]]) -> str:
        return chat_text(some, call.dialect.separator, prefill=False)

    whole, marked = render(texts), 0
    for at, (role, content) in enumerate(turns):
        blocks = content if isinstance(content, list) else []
        for end, block in enumerate(blocks, 1):
            if block.get("cache_control"):
                until = [*texts[:at], (role, content_text(blocks[:end]))]
                last = end == len(blocks)
                marked = len(render(until if last else texts[:at])) + (0 if last else len(content_text(blocks[:end])))
    return whole, len(whole) if call.body.get("cache_control") else marked


def _cache(call: Call, marked: str, ids: Ids) -> tuple[int, int]:
    """How many tokens are read from the cache, and how many are written to it."""
    prefix = call.backend.encode(marked)
    if not prefix:
        return 0, 0
    cache = call.backend.marked_prefixes
    read = cache.longest(prefix)
    cache.add(prefix)
    return min(read, len(ids)), max(0, min(len(prefix), len(ids)) - read)


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    config = body.get("output_config") or {}
    wanted = config.get("format") if isinstance(config, Mapping) else None
    if wanted is None:
        return None
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        raise WireError("output_config.format: type must be 'json_schema'")
    schema = wanted.get("schema")
    if not isinstance(schema, Mapping):
        raise WireError("output_config.format.schema: Field required")
    return schema


def _fill(call: Call, ids: Ids, schema: Mapping[str, Any]) -> Any:
    """A value of the schema, from the model's probabilities of what comes after the prompt."""
    if schema.get("type") == "string" and isinstance(schema.get("enum"), list):
        labels = [str(label) for label in schema["enum"]]
        return call.random.choices(labels, _label_probabilities(call, ids, labels))[0]
    properties = schema.get("properties")
    inners = list(properties.values()) if isinstance(properties, Mapping) else []
    if schema.get("type") != "object" or not inners or not all(isinstance(inner, Mapping) for inner in inners):
        raise WireError("output_config.format.schema: only objects of labels and strings with an enum are served here")
    if schema.get("additionalProperties") is not False:
        raise WireError("output_config.format.schema: objects must set additionalProperties to false")
    numbers = [str(name) for name, inner in zip(properties or {}, inners, strict=True) if inner.get("type") == "number"]
    stated = dict(zip(numbers, _label_probabilities(call, ids, numbers), strict=True)) if numbers else {}
    return {
        name: round(stated[name], 2) if name in stated else _fill(call, ids, inner)
        for name, inner in zip(properties or {}, inners, strict=True)
    }


def _label_probabilities(call: Call, ids: Ids, labels: Sequence[str]) -> list[float]:
    """The probability of each label as the answer, normalised over them."""
    logprobs = []
    for label in labels:
        tokens = call.backend.encode(answer_text(label))
        call.backend.fits(ids, len(tokens))
        logprobs.append(fsum(float(call.backend.last(ids + tokens[:at])[token]) for at, token in enumerate(tokens)))
    top = max(logprobs)
    weights = [exp(logprob - top) for logprob in logprobs]
    return [weight / fsum(weights) for weight in weights]
