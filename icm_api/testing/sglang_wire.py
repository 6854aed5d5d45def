"""SGLang's own routes: /generate with its `meta_info`, and /v1/score.

Does not stream. As in SGLang, the first of the prompt's logprobs is null wherever they start, and -1 starts at the last
token of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, fsum
from typing import Any

from icm_api.testing.backend import Generation, Ids, Position, Positions, Sampling, Token, WireError
from icm_api.testing.openai_wire import prompt_positions
from icm_api.testing.wire import Answer, Call, integer, stops, temperature, token_ids

_DEFAULT_MOST_TOKENS = 128


def generate(call: Call) -> Answer:
    """Answer /generate: one object for one prompt, a list for a list."""
    body = call.body
    given = body.get("text") if body.get("input_ids") is None else body.get("input_ids")
    several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    if body.get("stream"):
        raise WireError("stream is not served here.")
    answers = [_one(call, prompt) for prompt in (given if isinstance(given, list) and several else [given])]
    payloads = [answer.payload for answer in answers]
    return Answer.of(payloads if several else payloads[0], answers)


def score(call: Call) -> Answer:
    """Answer /v1/score: per item, the probability of each label token after query and item."""
    body = call.body
    wanted = call.backend.known(token_ids(body.get("label_token_ids"), "label_token_ids"))
    query, items = body.get("query"), body.get("items")
    scores, prompt_tokens, cached_tokens = [], 0, 0
    for item in [items] if isinstance(items, str) else items or []:
        parts = (item, query) if body.get("item_first") else (query, item)
        if all(isinstance(part, str) for part in parts):
            ids = call.backend.fits(call.backend.encode("".join(map(str, parts))))
        else:
            ids = call.backend.fits(
                call.backend.known(tuple(token for part in parts for token in token_ids(part, "query and items")))
            )
        cached_tokens += call.backend.cached(ids)
        prompt_tokens += len(ids)
        position = call.backend.position(call.backend.last(ids), wanted[0] if wanted else 0, 0, wanted)
        scores.append(_scores(call.distort((position,)), softmax=bool(body.get("apply_softmax"))))
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 0, "total_tokens": prompt_tokens}
    payload = {"scores": scores, "model": call.model, "usage": usage, "object": "scoring"}
    return Answer(payload, prompt_tokens, cached_tokens)


def _scores(positions: Positions | None, *, softmax: bool) -> list[float] | None:
    if positions is None:
        return None
    probabilities = [exp(token.logprob or 0.0) for token in positions[0].top]
    total = fsum(probabilities)
    return [value / total for value in probabilities] if softmax and total else probabilities


def _one(call: Call, prompt: object) -> Answer:
    body = call.body
    settings = body.get("sampling_params") or {}
    if not isinstance(settings, Mapping):
        raise WireError("sampling_params must be an object.")
    most = integer(settings, "max_new_tokens")
    given = (
        call.backend.encode(prompt) if isinstance(prompt, str) else call.backend.known(token_ids(prompt, "input_ids"))
    )
    ids = call.backend.fits(given, most or 0)
    if not ids:
        raise WireError("text must not be empty.")
    cached = call.backend.cached(ids)
    limit = _DEFAULT_MOST_TOKENS if most is None else most
    made = call.backend.generate(ids, Sampling(limit, temperature(settings), stops(settings.get("stop")), call.random))
    refused = call.fault == "refusal"
    reason = {"type": "abort", "message": "refused"} if refused else {"type": "stop" if made.stopped else "length"}
    info: dict[str, Any] = {
        "id": call.request_id,
        "finish_reason": reason,
        "prompt_tokens": len(ids),
        "completion_tokens": len(made.ids),
        "cached_tokens": cached,
    }
    if body.get("return_logprob") and not refused:
        info |= _logprobs(call, ids, made)
    payload = {"text": "" if refused else made.text, "output_ids": [] if refused else made.ids, "meta_info": info}
    if "return_prompt_token_ids" in call.dialect.extensions and body.get("return_prompt_token_ids"):
        payload["prompt_token_ids"] = [*ids]
    return Answer(payload, len(ids), cached, len(made.ids))


def _logprobs(call: Call, ids: Ids, made: Generation) -> dict[str, Any]:
    """The six lists of `meta_info`, those that were asked for."""
    body = call.body
    top = integer(body, "top_logprobs_num", 0) or 0
    start = integer(body, "logprob_start_len", -1, low=-1)
    start = len(ids) - 1 if start is None or start < 0 else min(start, len(ids))
    asked = body.get("token_ids_logprob")
    wanted = None if asked is None else call.backend.known(token_ids(asked, "token_ids_logprob"))
    with_text = bool(body.get("return_text_in_logprobs"))

    def places(wish: Ids | None) -> tuple[Positions | None, Positions | None]:
        rest = prompt_positions(call, ids, top, wish, start=start + 1) if start + 1 < len(ids) else ()
        first = (Position(call.backend.token(ids[start], None), ()),) if start < len(ids) else ()
        pairs = zip(made.ids, made.rows, strict=True)
        outputs = tuple(call.backend.position(row, token, top, wish) for token, row in pairs)
        return call.distort(first + rest), call.distort(outputs)

    def entry(token: Token) -> list[object]:
        return [token.logprob, token.id, token.text if with_text else None]

    def alternatives(positions: Positions) -> list[list[list[object]] | None]:
        return [None if p.chosen.logprob is None else [entry(token) for token in p.top] for p in positions]

    found: dict[str, Any] = {}
    for side, positions in zip(("input", "output"), places(None), strict=True):
        found[f"{side}_token_logprobs"] = None if positions is None else [entry(p.chosen) for p in positions]
        if top:
            found[f"{side}_top_logprobs"] = None if positions is None else alternatives(positions)
    if wanted is not None:
        for side, positions in zip(("input", "output"), places(wanted), strict=True):
            found[f"{side}_token_ids_logprobs"] = None if positions is None else alternatives(positions)
    return found
