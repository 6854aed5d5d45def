"""OpenAI's routes, /v1/completions and /v1/chat/completions, in every dialect; and the tokenizer routes beside them.

It does: read a request as the dialect does, and write logprobs in the shapes that clients have to read.
It does not: stream, call tools, or give several choices for one prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time
from typing import Any

from icm_api.testing.backend import Generation, Ids, Sampling
from icm_api.testing.dialects import CHAT_FIELDS, COMPLETION_FIELDS
from icm_api.testing.openai_shapes import content_shape, legacy_shape, prompt_shape
from icm_api.testing.positions import Position, Token, WireError
from icm_api.testing.wire import Answer, Call, chat_text, content_text, integer, stops, temperature, token_ids

_DEFAULT_MOST_TOKENS = 16
_MOST_WANTED = 128
_REFUSAL = "I'm sorry, but I can't help with that."


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request wants: `top` alternatives or none (None), the `wanted` ids instead of them, and how to show."""

    top: int | None
    wanted: Ids | None
    as_ids: bool
    prompt_top: int | None
    sampling: Sampling


def completions(call: Call) -> Answer:
    """Answer /v1/completions."""
    body, dialect = call.body, call.dialect
    _check_fields(call, COMPLETION_FIELDS)
    echo = bool(body.get("echo"))
    if echo and not dialect.echo:
        raise WireError("Only no echo is supported")
    top = _capped("logprobs", integer(body, "logprobs"), dialect.most_completion_logprobs)
    most = integer(body, "max_tokens")
    asked = _asked(call, top, _DEFAULT_MOST_TOKENS if most is None else most)
    choices, answers = [], []
    for index, (ids, prompt) in enumerate(_prompts(call, most or 0)):
        cached = call.backend.cached(ids)
        made = call.backend.generate(ids, asked.sampling)
        refused = call.fault == "refusal"
        choice = {
            "index": index,
            "text": "" if refused else (prompt if echo else "") + made.text,
            "finish_reason": "content_filter" if refused else "stop" if made.stopped else "length",
            "logprobs": _completion_logprobs(call, ids if echo else (), made, asked, offset=0 if echo else len(prompt)),
        }
        if asked.prompt_top is not None:
            choice["prompt_logprobs"] = _prompt_logprobs(call, ids, asked.prompt_top)
        choices.append(choice)
        answers.append(Answer(None, len(ids), cached, len(made.ids)))
    prompt, cached, completion = (
        sum(getattr(answer, name) for answer in answers)
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    )
    payload = _envelope(call, "text_completion", "cmpl", choices, _usage(prompt, cached, completion))
    return Answer(payload, prompt, cached, completion)


def chat_completions(call: Call) -> Answer:
    """Answer /v1/chat/completions."""
    body, dialect = call.body, call.dialect
    _check_fields(call, CHAT_FIELDS)
    asks = bool(body.get("logprobs"))
    top = _capped("top_logprobs", integer(body, "top_logprobs"), dialect.most_top_logprobs)
    if top and not asks:
        raise WireError("when using `top_logprobs`, `logprobs` must be set to true.")
    if dialect.strict and asks and body.get("reasoning_effort") not in (None, "none"):
        raise WireError("logprobs are only supported with reasoning_effort 'none'.", code="unsupported_parameter")
    most = integer(body, "max_completion_tokens", integer(body, "max_tokens"))
    ids = call.backend.fits(call.backend.encode(conversation_text(call)), most or 0)
    wanted_top = (dialect.default_top_logprobs if top is None else top) if asks else None
    asked = _asked(call, wanted_top, _DEFAULT_MOST_TOKENS if most is None else most, answer=True)
    cached = call.backend.cached(ids)
    made = call.backend.generate(ids, asked.sampling)
    refused = call.fault == "refusal"
    text = made.text.removeprefix(" ") if dialect.strip_space else made.text
    choice = {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": None if refused else text,
            "refusal": _REFUSAL if refused else None,
        },
        "finish_reason": "stop" if refused or made.stopped else "length",
        "logprobs": _chat_logprobs(call, made, asked),
    }
    usage = _usage(len(ids), cached, len(made.ids))
    payload = _envelope(call, "chat.completion", "chatcmpl", [choice], usage)
    if asked.prompt_top is not None:
        payload["prompt_logprobs"] = _prompt_logprobs(call, ids, asked.prompt_top)
    return Answer(payload, len(ids), cached, len(made.ids))


def tokenize(call: Call) -> Answer:
    """Answer /tokenize: the ids of a text, or under vLLM and SGLang of a conversation."""
    field = call.dialect.tokenize
    if field is None:
        raise WireError("Not Found", status=404, kind="not_found_error")
    text = conversation_text(call) if "messages" in call.body else call.body.get(field)
    if not isinstance(text, str):
        raise WireError(f"{field} must be a string.")
    ids = call.backend.encode(text)
    if field == "content":
        return Answer({"tokens": ids})
    return Answer({"tokens": ids, "count": len(ids), "max_model_len": call.backend.window, "token_strs": None})


def detokenize(call: Call) -> Answer:
    """Answer /detokenize: the text of ids."""
    if call.dialect.tokenize is None:
        raise WireError("Not Found", status=404, kind="not_found_error")
    ids = call.backend.known(token_ids(call.body.get("tokens"), "tokens"))
    return Answer({call.dialect.tokenize: _text(call, ids)})


def models(call: Call) -> Answer:
    """Answer GET /v1/models."""
    card = {"id": call.backend.name, "object": "model", "created": 0, "owned_by": "icm-api"}
    return Answer({"object": "list", "data": [card | {"max_model_len": call.backend.window}]})


def conversation_text(call: Call) -> str:
    """The text of a request's messages by the chat template (`wire.chat_text`)."""
    messages = call.body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(turn, Mapping) for turn in messages):
        raise WireError("messages must be a list of at least one message.")
    roles = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
    unknown = [turn.get("role") for turn in messages if turn.get("role") not in roles]
    if unknown:
        raise WireError(f"messages have a role {unknown[0]!r}; roles served here are {', '.join(roles)}.")
    turns = [(roles[turn["role"]], content_text(turn.get("content"))) for turn in messages]
    return chat_text(turns, call.dialect.separator, prefill=_prefills(call, turns[-1][0]))


def _prefills(call: Call, last_role: str) -> bool:
    rule, asked = call.dialect.prefill, bool(call.body.get("continue_final_message"))
    if rule == "exact" and asked and call.body.get("add_generation_prompt", True):
        raise WireError("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    return last_role == "assistant" and (rule == "always" or (asked and rule != "never"))


def _check_fields(call: Call, known: frozenset[str]) -> None:
    unknown = sorted(set(call.body) - known)
    if call.dialect.strict and unknown:
        raise WireError(f"Unrecognized request argument supplied: {unknown[0]}", code="unknown_parameter")
    if call.body.get("stream"):
        raise WireError("stream is not served here.")
    if call.body.get("n") not in (None, 1):
        raise WireError("n must be 1 here.")


def _capped(name: str, value: int | None, most: int | None) -> int | None:
    if value is not None and most is not None and value > most:
        raise WireError(f"Requested {name} of {value}, which is greater than max allowed: {most}")
    return value


def _asked(call: Call, top: int | None, most_tokens: int, *, answer: bool = False) -> _Asked:
    body, extensions = call.body, call.dialect.extensions
    wanted = None
    if "logprob_token_ids" in extensions and body.get("logprob_token_ids") is not None:
        wanted = call.backend.known(token_ids(body["logprob_token_ids"], "logprob_token_ids"))
        if top is None or len(wanted) > _MOST_WANTED:
            raise WireError(f"logprob_token_ids takes at most {_MOST_WANTED} ids, and needs logprobs.")
    as_ids = "return_tokens_as_token_ids" in extensions and bool(body.get("return_tokens_as_token_ids"))
    prompt_top = None
    if "prompt_logprobs" in extensions:
        prompt_top = _capped("prompt_logprobs", integer(body, "prompt_logprobs"), call.dialect.most_completion_logprobs)
    sampling = Sampling(most_tokens, temperature(body), stops(body.get("stop")), call.random, answer=answer)
    return _Asked(top, wanted, as_ids, prompt_top, sampling)


def _prompts(call: Call, most_tokens: int) -> list[tuple[Ids, str]]:
    """The prompts, as ids and as text."""
    given = call.body.get("prompt")
    several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
    found = []
    for one in given if isinstance(given, list) and several else [given]:
        ids = call.backend.encode(one) if isinstance(one, str) else call.backend.known(token_ids(one, "prompt"))
        if not ids:
            raise WireError("prompt must not be empty.")
        call.backend.fits(ids, most_tokens)
        found.append((ids, one if isinstance(one, str) else _text(call, ids)))
    return found


def _text(call: Call, ids: Sequence[int]) -> str:
    return b"".join(call.backend.token(token, None).raw for token in ids).decode("utf-8", "replace")


def _positions(call: Call, made: Generation, asked: _Asked) -> tuple[Position, ...]:
    top = asked.top or 0
    pairs = zip(made.ids, made.rows, strict=True)
    return tuple(call.backend.position(row, token, top, asked.wanted) for token, row in pairs)


def _completion_logprobs(
    call: Call, echoed: Ids, made: Generation, asked: _Asked, *, offset: int
) -> dict[str, Any] | None:
    if asked.top is None:
        return None
    positions = _positions(call, made, asked)
    if echoed:
        echoed_positions = prompt_positions(call, echoed, asked.top, asked.wanted)
        last = integer(call.body, "echo_last") if "echo_last" in call.dialect.extensions else None
        positions = (
            echoed_positions[len(echoed) - (len(echoed) if last is None else min(last, len(echoed))) :] + positions
        )
    distorted = call.distort(() if call.fault == "refusal" else positions)
    if distorted is None:
        return None
    if call.dialect.shape == "content":
        return {"content": content_shape(distorted, as_ids=asked.as_ids)}
    return legacy_shape(distorted, as_ids=asked.as_ids, offset=offset)


def _chat_logprobs(call: Call, made: Generation, asked: _Asked) -> dict[str, Any] | None:
    positions = call.distort(_positions(call, made, asked))
    if asked.top is None or positions is None:
        return None
    if call.dialect.strip_space:
        positions = tuple(map(_stripped, positions[:1])) + positions[1:]
    written = content_shape(positions, as_ids=asked.as_ids)
    return {"content": None, "refusal": written} if call.fault == "refusal" else {"content": written, "refusal": None}


def _stripped(position: Position) -> Position:
    def stripped(token: Token) -> Token:
        return Token(token.id, token.raw.removeprefix(b" "), token.logprob)

    return Position(stripped(position.chosen), tuple(map(stripped, position.top)))


def prompt_positions(
    call: Call, ids: Ids, top: int, wanted: Sequence[int] | None = None, start: int = 0
) -> tuple[Position, ...]:
    """The prompt's tokens from `start` on with their alternatives; the prompt's first has no logprob."""
    rows = call.backend.every(ids)
    first = (Position(call.backend.token(ids[0], None), ()),) if start == 0 else ()
    rest = range(max(1, start), len(ids))
    return first + tuple(call.backend.position(rows[at], ids[at], top, wanted) for at in rest)


def _prompt_logprobs(call: Call, ids: Ids, top: int) -> list[dict[str, Any] | None] | None:
    positions = call.distort(prompt_positions(call, ids, top))
    return None if positions is None else prompt_shape(positions, call.backend.every(ids))


def _envelope(call: Call, kind: str, prefix: str, choices: list[Any], usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{call.request_id}",
        "object": kind,
        "created": int(time()),
        "model": call.model,
        "system_fingerprint": call.backend.name,
        "choices": choices,
        "usage": usage,
    }


def _usage(prompt: int, cached: int, completion: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
