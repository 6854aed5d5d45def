"""How OpenAI's API and its many kin write logprobs, read into one shape.

It does: find the alternatives to the first generated token and the logprobs of an echoed prompt, in either of OpenAI's
two shapes wherever a server puts them.
It does not: send anything, judge numbers or match them with labels (that is `label_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.reading.label_tokens import Place, TokenLogprob
from icm_api.model.request import Body

# How vLLM and SGLang write a token when asked for ids.
_ID = "token_id:"
_UNDECODABLE = "\ufffd"


def first_choice(body: Body) -> Body:
    """The first answer.

    Raises:
        LogprobsUnavailableError: there is none.
        RequestError: the model or a filter declined to answer ("refused").
    """
    choices = body.get("choices")
    if not isinstance(choices, Sequence) or not choices or not isinstance(choices[0], Mapping):
        raise LogprobsUnavailableError(f"the answer holds no choices: {body!r:.200}")
    choice: Body = choices[0]
    message = choice.get("message")
    refusal = message.get("refusal") if isinstance(message, Mapping) else None
    if refusal or choice.get("finish_reason") == "content_filter":
        raise RequestError(
            f"the model declined to answer ({str(refusal or 'content filter')!r:.200}): reword the instruction or the "
            "example, or use another model",
            kind="refused",
        )
    return choice


def next_place(body: Body) -> Place:
    """The first generated token and its alternatives.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs.
        RequestError: the model declined to answer.

    Example:
        >>> shape = {"tokens": [" a"], "token_logprobs": [-0.1], "top_logprobs": [{" a": -0.1, " b": -2.5}]}
        >>> [token.text for token in next_place({"choices": [{"logprobs": shape}]}).listed]
        [' a', ' b']
    """
    tokens, tops = _columns(_logprobs(first_choice(body)))
    if not tokens:
        raise LogprobsUnavailableError("the answer holds no token, so no logprobs either")
    return Place(tokens[0], tops[0])


def echoed(body: Body, text: str) -> tuple[Place, ...]:
    """The tokens of an echoed text, without what was generated after it.

    Args:
        body: of the answer.
        text: that was sent.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs of the prompt, or its tokens are not those of the text.
    """
    apart = body.get("prompt")
    if isinstance(apart, Sequence) and apart and isinstance(apart[0], Mapping):
        # Together puts the prompt beside the choices.
        shape = _logprobs(apart[0])
    else:
        shape = _logprobs(first_choice(body))
    return placed(*_columns(shape), text)


def placed(
    tokens: Sequence[TokenLogprob],
    tops: Sequence[tuple[TokenLogprob, ...]],
    text: str,
) -> tuple[Place, ...]:
    """The tokens at their places in the text, without those that a server put after it.

    Servers' own offsets are not used: some count a beginning-of-text token that the text does not have.

    Args:
        tokens: as the server lists them.
        tops: the alternatives to each token.
        text: that was sent.

    Raises:
        LogprobsUnavailableError: they are not those of the text.

    Example:
        >>> tokens = [TokenLogprob(text, None) for text in ("<s>", "Is", " so", "!")]
        >>> [place.start for place in placed(tokens, [()] * 4, "Is so")]
        [-3, 0, 2]
    """
    starts = _starts([_decoded(token) for token in tokens], text)
    places = map(Place, tokens, tops, starts)
    return tuple(place for place in places if place.start < len(text))


def _logprobs(choice: Body) -> Body:
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise LogprobsUnavailableError(
            "the answer has no logprobs: this model or host doesn't give any (some ignore the request silently); use "
            "one that does, or a provider that samples"
        )
    return logprobs


def _columns(shape: Body) -> tuple[list[TokenLogprob], list[tuple[TokenLogprob, ...]]]:
    """Tokens and, for each, its alternatives, from either shape."""
    content = shape.get("content")
    if isinstance(content, Sequence):
        entries = [entry for entry in content if isinstance(entry, Mapping)]
        tops = [tuple(map(_entry, entry.get("top_logprobs") or ())) for entry in entries]
        return [_entry(entry) for entry in entries], tops
    tokens, logprobs = shape.get("tokens"), shape.get("token_logprobs")
    if not isinstance(tokens, Sequence) or not isinstance(logprobs, Sequence) or len(tokens) != len(logprobs):
        raise LogprobsUnavailableError(f"the logprobs have neither of the known shapes: {dict(shape)!r:.200}")
    top = shape.get("top_logprobs")
    # One mapping in place of a list of them belongs to the first token.
    listed: Sequence[Any] = [top] if isinstance(top, Mapping) else top if isinstance(top, Sequence) else []
    listed = [*listed, *[None] * (len(tokens) - len(listed))]
    return (
        [_token(*column) for column in zip(tokens, logprobs, strict=True)],
        [tuple(_token(text, value) for text, value in (entry or {}).items()) for entry in listed[: len(tokens)]],
    )


def _entry(entry: Body) -> TokenLogprob:
    raw = entry.get("bytes")
    token = _token(entry.get("token"), entry.get("logprob"))
    if not isinstance(raw, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw):
        return token
    return TokenLogprob(token.text, token.logprob, bytes(raw), token.id)


def _token(text: object, logprob: object) -> TokenLogprob:
    shown = text if isinstance(text, str) else ""
    if shown.startswith(_ID) and shown[len(_ID) :].isdigit():
        return TokenLogprob("", logprob, id=int(shown[len(_ID) :]))
    return TokenLogprob(shown, logprob)


def _decoded(token: TokenLogprob) -> str:
    return token.written.decode("utf-8", "replace")


def _starts(tokens: Sequence[str], text: str) -> list[int]:
    """Where in the text each token begins. A server may put a token before the text, and more after it."""
    ends = list(accumulate(map(len, tokens), initial=0))
    at = "".join(tokens).find(text)
    if at >= 0:
        return [start - at for start in ends[:-1]]
    for before in (0, 1):
        starts = _aligned(tokens[before:], text)
        if starts is not None:
            return [-1] * before + starts
    raise LogprobsUnavailableError(
        "the echoed tokens are not those of the prompt that was sent, so which belongs to a label is unknown"
    )


def _aligned(tokens: Sequence[str], text: str) -> list[int] | None:
    """Where each token begins, of which some show only parts of a character; None if they don't fit the text."""
    starts: list[int] = []
    at = hidden = 0
    for token in tokens:
        if at >= len(text):
            starts.append(len(text))
        elif _UNDECODABLE in token:
            starts.append(at)
            hidden += len(token)
        else:
            found = text.find(token, at, at + hidden + len(token))
            if found < 0:
                return None
            starts.append(found)
            at, hidden = found + len(token), 0
    return starts if at >= len(text) else None
