"""How OpenAI's API and its many kin write logprobs, read into one shape.

It does: find the alternatives to the first generated token and the logprobs of an echoed prompt, in either of OpenAI's
two shapes wherever a server puts them.
It does not: send anything, judge numbers or match them with labels (that is `label_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.reading.label_tokens import Place, TokenLogprob
from icm_api.model.reading.places import Columns, Places, placed
from icm_api.model.reading.token_text import decoded, spelled
from icm_api.model.request import Body

# How vLLM and SGLang write a token when asked for ids.
_ID = "token_id:"


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
    columns = _columns(_logprobs(first_choice(body)))
    if not columns.kinds:
        raise LogprobsUnavailableError("the answer holds no token, so no logprobs either")
    token, top = columns.token(0), columns.top(0)
    spelling = spelled([token, *top] if len(columns.kinds) == 1 else columns.different())
    return Place(decoded([token], spelling)[0], decoded(top, spelling))


def echoed(body: Body, text: str) -> Places:
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
    return placed(_columns(shape), text)


def _logprobs(choice: Body) -> Body:
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise LogprobsUnavailableError(
            "the answer has no logprobs: this model or host doesn't give any (some ignore the request silently); use "
            "one that does, or a provider that samples"
        )
    return logprobs


def _columns(shape: Body) -> Columns[Any]:
    """Tokens and, for each, its alternatives, from either shape."""
    content = shape.get("content")
    if isinstance(content, list):
        entries = _objects(content)
        pairs = [_pair(entry) for entry in entries]
        tops = [[_pair(each) for each in _objects(entry.get("top_logprobs"))] for entry in entries]
        return Columns([kind for kind, _ in pairs], [logprob for _, logprob in pairs], tops, _token)
    tokens, logprobs = shape.get("tokens"), shape.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(logprobs, list) or len(tokens) != len(logprobs):
        raise LogprobsUnavailableError(f"the logprobs have neither of the known shapes: {dict(shape)!r:.200}")
    top = shape.get("top_logprobs")
    # One object in place of a list of them belongs to the first token.
    listed: Sequence[Any] = [top] if isinstance(top, dict) else top if isinstance(top, list) else []
    listed = [entry.items() if isinstance(entry, dict) else () for entry in listed[: len(tokens)]]
    listed += [()] * (len(tokens) - len(listed))
    return Columns([text if isinstance(text, str) else "" for text in tokens], logprobs, listed, _plain_token)


def _objects(listed: object) -> list[Body]:
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _pair(entry: Body) -> tuple[tuple[str, bytes | None], object]:
    """Which token it is, by its text and its bytes, and its logprob."""
    text, raw = entry.get("token"), entry.get("bytes")
    if not isinstance(raw, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in raw):
        raw = None
    return (text if isinstance(text, str) else "", None if raw is None else bytes(raw)), entry.get("logprob")


def _token(kind: tuple[str, bytes | None], logprob: object) -> TokenLogprob:
    token = _plain_token(kind[0], logprob)
    return token if kind[1] is None else TokenLogprob(token.text, logprob, kind[1], token.id)


def _plain_token(shown: str, logprob: object) -> TokenLogprob:
    if shown.startswith(_ID) and shown[len(_ID) :].isdigit():
        return TokenLogprob("", logprob, id=int(shown[len(_ID) :]))
    return TokenLogprob(shown, logprob)
