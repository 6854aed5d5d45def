"""OpenAI's routes, /v1/completions and /v1/chat/completions, in every dialect; and the tokenizer routes beside them.

Does not stream, call tools, or give several choices for one prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from time import time
from typing import Any

from icm_api.testing.backend import Backend, Generation, Ids, Position, Positions, Row, Sampling, Token, WireError
from icm_api.testing.faults import misechoed
from icm_api.testing.wire import (
    CHAT_FIELDS,
    COMPLETION_FIELDS,
    Answer,
    Call,
    chat_text,
    content_text,
    integer,
    stops,
    temperature,
    token_ids,
)

_DEFAULT_MOST_TOKENS = 16
_MOST_WANTED = 128
_REFUSAL = "I'm sorry, but I can't help with that."


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request wants: `top` alternatives (None: no logprobs), or the `wanted` ids; and how to show them."""

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
    choices, parts = [], []
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
        if _tells_ids(call):
            choice |= {"prompt_token_ids": ids, "token_ids": made.ids}
        choices.append(choice)
        parts.append(Answer(None, len(ids), cached, len(made.ids)))
    return Answer.of(_envelope(call, "text_completion", "cmpl", choices, Answer.of(None, parts)), parts)


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
    message = {"content": None, "refusal": _REFUSAL} if refused else {"content": text, "refusal": None}
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": "stop" if refused or made.stopped else "length",
        "logprobs": _chat_logprobs(call, made, asked),
    }
    answer = Answer(None, len(ids), cached, len(made.ids))
    payload = _envelope(call, "chat.completion", "chatcmpl", [choice], answer)
    if asked.prompt_top is not None:
        payload["prompt_logprobs"] = _prompt_logprobs(call, ids, asked.prompt_top)
    if _tells_ids(call):
        payload["prompt_token_ids"] = ids
        choice["token_ids"] = made.ids
    return Answer.of(payload, [answer])


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


def models(backend: Backend) -> dict[str, Any]:
    """The body of GET /v1/models."""
    card = {"id": backend.name, "object": "model", "created": 0, "owned_by": "icm-api"}
    return {"object": "list", "data": [card | {"max_model_len": backend.window}]}


def conversation_text(call: Call) -> str:
    """The text of a request's messages by the chat template (`wire.chat_text`).

    Raises:
        WireError: there are no messages, or one has no known role or no text.
    """
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


def _tells_ids(call: Call) -> bool:
    return "return_token_ids" in call.dialect.extensions and bool(call.body.get("return_token_ids"))


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


def _positions(call: Call, made: Generation, asked: _Asked) -> Positions:
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
        kept = len(echoed) if last is None else min(last, len(echoed))
        positions = echoed_positions[len(echoed) - kept :] + positions
    distorted = call.distort(() if call.fault == "refusal" else positions)
    if distorted is None:
        return None
    if call.dialect.shape == "content":
        return {"content": _content_shape(distorted, as_ids=asked.as_ids)}
    return _legacy_shape(distorted, as_ids=asked.as_ids, offset=offset)


def _chat_logprobs(call: Call, made: Generation, asked: _Asked) -> dict[str, Any] | None:
    positions = call.distort(_positions(call, made, asked))
    if asked.top is None or positions is None:
        return None
    if call.dialect.strip_space:
        positions = tuple(map(_stripped, positions[:1])) + positions[1:]
    written = _content_shape(positions, as_ids=asked.as_ids)
    return {"content": None, "refusal": written} if call.fault == "refusal" else {"content": written, "refusal": None}


def _stripped(position: Position) -> Position:
    def stripped(token: Token) -> Token:
        return Token(token.id, token.raw.removeprefix(b" "), token.logprob)

    return Position(stripped(position.chosen), tuple(map(stripped, position.top)))


def prompt_positions(call: Call, ids: Ids, top: int, wanted: Sequence[int] | None = None, start: int = 0) -> Positions:
    """The prompt's tokens with their alternatives; the prompt's first token has no logprob.

    Args:
        call: the request.
        ids: the whole prompt, at least one token.
        top: how many of the likeliest tokens are the alternatives.
        wanted: ids of the alternatives, in place of the likeliest.
        start: the first place to report.

    Returns:
        len(ids) - start positions.
    """
    rows = call.backend.every(ids)
    first = (Position(call.backend.token(ids[0], None), ()),) if start == 0 else ()
    rest = range(max(1, start), len(ids))
    positions = first + tuple(call.backend.position(rows[at], ids[at], top, wanted) for at in rest)
    return misechoed(call.fault, positions)


def _prompt_logprobs(call: Call, ids: Ids, top: int) -> list[dict[str, Any] | None] | None:
    positions = call.distort(prompt_positions(call, ids, top))
    return None if positions is None else _prompt_shape(positions, call.backend.every(ids))


def _envelope(call: Call, kind: str, prefix: str, choices: list[Any], spent: Answer) -> dict[str, Any]:
    return {
        "id": f"{prefix}-{call.request_id}",
        "object": kind,
        "created": int(time()),
        "model": call.model,
        "system_fingerprint": call.backend.name,
        "choices": choices,
        "usage": {
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
            "total_tokens": spent.prompt_tokens + spent.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": spent.cached_tokens},
        },
    }


def _show(token: Token, *, as_ids: bool) -> str:
    """A token as text, or as vLLM's "token_id:N", which no two tokens share."""
    return f"token_id:{token.id}" if as_ids else token.text


def _legacy_shape(positions: Positions, *, as_ids: bool, offset: int) -> dict[str, Any]:
    """Parallel lists; the alternatives of a place are keyed by text and hold the chosen token too.

    The first token of a prompt has no logprob, and null in place of its alternatives. `offset`: characters before it.
    """
    chosen = [position.chosen for position in positions]
    offsets = accumulate((len(token.text) for token in chosen[:-1]), initial=offset)
    return {
        "tokens": [_show(token, as_ids=as_ids) for token in chosen],
        "token_logprobs": [token.logprob for token in chosen],
        "top_logprobs": [
            None
            if position.chosen.logprob is None
            else {_show(token, as_ids=as_ids): token.logprob for token in (position.chosen, *position.top)}
            for position in positions
        ],
        "text_offset": list(offsets) if positions else [],
    }


def _content_shape(positions: Positions, *, as_ids: bool) -> list[dict[str, Any]]:
    """One object a token, with its alternatives as a list."""

    def entry(token: Token) -> dict[str, Any]:
        return {"token": _show(token, as_ids=as_ids), "logprob": token.logprob, "bytes": list(token.raw)}

    return [entry(position.chosen) | {"top_logprobs": list(map(entry, position.top))} for position in positions]


def _prompt_shape(positions: Positions, rows: Row) -> list[dict[str, Any] | None]:
    """vLLM's prompt logprobs: null, then per token alternatives keyed by id, the token itself first.

    `rows`: log probabilities at all places of the prompt, [len(positions), vocabulary], from which ranks are counted.
    """

    def entry(token: Token, row: Row) -> dict[str, Any]:
        rank = 1 + int((row > row[token.id]).sum())
        return {"logprob": token.logprob, "rank": rank, "decoded_token": token.text}

    return [
        None
        if position.chosen.logprob is None
        else {str(token.id): entry(token, row) for token in (position.chosen, *position.top)}
        for position, row in zip(positions, rows, strict=True)
    ]
