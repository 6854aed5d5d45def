"""How OpenAI's API and its many kin write logprobs, read into one shape.

It does: find the alternatives to the first generated token and the logprobs of an echoed prompt, in either of OpenAI's
two shapes wherever a server puts them.
It does not: send anything, judge numbers or match them with labels (that is `label_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.reading.label_tokens import Place, TokenLogprob
from icm_api.model.reading.token_text import Spelling, decoded, spelled
from icm_api.model.request import Body

# How vLLM and SGLang write a token when asked for ids.
_ID = "token_id:"
_UNDECODABLE = "\ufffd"


def first_choice(body: Body) -> Body:
    """The answer with the smallest index; the first one if they have no index.

    Raises:
        LogprobsUnavailableError: there is none.
        RequestError: the model or a filter declined to answer ("refused").

    Example:
        >>> first_choice({"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]})["text"]
        'a'
    """
    listed = body.get("choices")
    choices = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    if not choices:
        raise LogprobsUnavailableError(f"the answer holds no choices: {body!r:.200}; check base_url")
    choice: Body = min(choices, key=_index)
    message = choice.get("message")
    refusal = message.get("refusal") if isinstance(message, Mapping) else None
    if refusal or choice.get("finish_reason") == "content_filter":
        raise RequestError(
            f"the model declined to answer ({str(refusal or 'content filter')!r:.200}): reword the instruction or the "
            "example, or use another model",
            kind="refused",
        )
    return choice


def _index(choice: Body) -> float:
    index = choice.get("index")
    return index if type(index) is int else inf


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
    spelling = spelled(tokens, tops)
    return Place(decoded(tokens[:1], spelling)[0], decoded(tops[0], spelling))


def echoed(body: Body, text: str) -> tuple[Place, ...]:
    """The tokens of an echoed text, without what was generated after it.

    Args:
        body: of the answer.
        text: that was sent.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs of the prompt, or its tokens are not those of the text.
    """
    apart = body.get("prompt")
    if isinstance(apart, list) and apart and isinstance(apart[0], Mapping):
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
    # Here the text itself says how its tokens are spelled.
    for spelling in dict.fromkeys((spelled(tokens, tops), *Spelling)):
        written = decoded(tokens, spelling)
        starts = _starts([token.written.decode("utf-8", "replace") for token in written], text)
        if starts is not None:
            places = map(Place, written, (decoded(top, spelling) for top in tops), starts)
            return tuple(place for place in places if place.start < len(text))
    raise LogprobsUnavailableError(
        "the echoed tokens are not those of the prompt that was sent, so which belongs to a label is unknown"
    )


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
    if isinstance(content, list):
        entries = _mappings(content)
        return [_entry(entry) for entry in entries], [
            tuple(map(_entry, _mappings(entry.get("top_logprobs")))) for entry in entries
        ]
    tokens, logprobs = shape.get("tokens"), shape.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(logprobs, list) or len(tokens) != len(logprobs):
        raise LogprobsUnavailableError(f"the logprobs have neither of the known shapes: {dict(shape)!r:.200}")
    top = shape.get("top_logprobs")
    # One mapping in place of a list of them belongs to the first token.
    listed: Sequence[Any] = [top] if isinstance(top, Mapping) else top if isinstance(top, list) else []
    listed = [entry if isinstance(entry, Mapping) else {} for entry in [*listed, *[None] * len(tokens)]]
    return (
        [_token(*column) for column in zip(tokens, logprobs, strict=True)],
        [tuple(_token(text, value) for text, value in entry.items()) for entry in listed[: len(tokens)]],
    )


def _mappings(listed: object) -> list[Body]:
    return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []


def _entry(entry: Body) -> TokenLogprob:
    raw = entry.get("bytes")
    token = _token(entry.get("token"), entry.get("logprob"))
    if not isinstance(raw, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in raw):
        return token
    return TokenLogprob(token.text, token.logprob, bytes(raw), token.id)


def _token(text: object, logprob: object) -> TokenLogprob:
    shown = text if isinstance(text, str) else ""
    if shown.startswith(_ID) and shown[len(_ID) :].isdigit():
        return TokenLogprob("", logprob, id=int(shown[len(_ID) :]))
    return TokenLogprob(shown, logprob)


def _starts(tokens: Sequence[str], text: str) -> list[int] | None:
    """Where in the text each token begins, if they write it. A server may put a token before it, and more after it."""
    ends = list(accumulate(map(len, tokens), initial=0))
    at = "".join(tokens).find(text)
    if at >= 0:
        return [start - at for start in ends[:-1]]
    for before in (0, 1):
        starts = _aligned(tokens[before:], text)
        if starts is not None:
            return [-1] * before + starts
    return None


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
