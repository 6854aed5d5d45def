"""Gemini's route, /v1beta/models/MODEL:generateContent, with `logprobsResult`.

Does not stream, give several candidates, or take anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import fsum
from typing import Any

from icm_api.testing.backend import Ids, Positions, Sampling, Token, WireError
from icm_api.testing.wire import Answer, Call, chat_text, content_text, integer, stops, temperature

_DEFAULT_MOST_TOKENS = 16
_MOST_LOGPROBS = 20
_ROLES = {"user": "user", "model": "assistant", None: "user"}


def models(call: Call) -> Answer:
    """Answer a POST to /v1beta/models/NAME:METHOD."""
    name, _, method = call.name.rpartition(":")
    if method == "generateContent":
        return _generate(call, name)
    if method == "countTokens":
        return Answer({"totalTokens": len(call.backend.encode(_conversation(call)))})
    raise WireError(f"the method {method!r} of {name!r} is not served here", status=404)


def _generate(call: Call, name: str) -> Answer:
    config = call.body.get("generationConfig") or {}
    if not isinstance(config, Mapping):
        raise WireError("generationConfig must be an object.")
    most = integer(config, "maxOutputTokens", low=1)
    top = integer(config, "logprobs")
    if top is not None and (not config.get("responseLogprobs") or not 1 <= top <= _MOST_LOGPROBS):
        raise WireError(f"logprobs must be from 1 to {_MOST_LOGPROBS}, and needs responseLogprobs.")
    if config.get("candidateCount") not in (None, 1):
        raise WireError("candidateCount must be 1 here.")
    ids: Ids = call.backend.fits(call.backend.encode(_conversation(call)), most or 0)
    cached = call.backend.cached(ids)
    stop, limit = stops(config.get("stopSequences")), most or _DEFAULT_MOST_TOKENS
    made = call.backend.generate(ids, Sampling(limit, temperature(config), stop, call.random, answer=True))
    usage = {
        "promptTokenCount": len(ids),
        "candidatesTokenCount": len(made.ids),
        "totalTokenCount": len(ids) + len(made.ids),
        "cachedContentTokenCount": cached,
    }
    candidate: dict[str, Any] = {"index": 0, "finishReason": "STOP" if made.stopped else "MAX_TOKENS"}
    if call.fault == "refusal":
        candidate["finishReason"] = "SAFETY"
    else:
        candidate["content"] = {"role": "model", "parts": [{"text": made.text}]}
        if config.get("responseLogprobs"):
            pairs = zip(made.ids, made.rows, strict=True)
            positions = tuple(call.backend.position(row, token, top or 0) for token, row in pairs)
            candidate["logprobsResult"] = _logprobs(call.distort(positions))
    payload = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": name, "responseId": call.request_id}
    return Answer(payload, len(ids), cached, len(made.ids))


def _conversation(call: Call) -> str:
    turns = [("system", call.body["systemInstruction"])] if call.body.get("systemInstruction") else []
    contents = call.body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise WireError("contents must be a list of at least one content.")
    for content in contents:
        role = content.get("role") if isinstance(content, Mapping) else "nobody"
        if role not in _ROLES:
            raise WireError("a content's role must be 'user' or 'model'.")
        turns.append((_ROLES[role], content))
    texts = [
        (role, content_text(content.get("parts") if isinstance(content, Mapping) else content))
        for role, content in turns
    ]
    return chat_text(texts, call.dialect.separator, prefill=False)


def _logprobs(positions: Positions | None) -> dict[str, Any] | None:
    if positions is None:
        return None

    def entry(token: Token) -> dict[str, Any]:
        return {"token": token.text, "tokenId": token.id, "logProbability": token.logprob}

    return {
        "topCandidates": [{"candidates": [entry(token) for token in position.top]} for position in positions],
        "chosenCandidates": [entry(position.chosen) for position in positions],
        "logProbabilitySum": fsum(position.chosen.logprob or 0.0 for position in positions),
    }
