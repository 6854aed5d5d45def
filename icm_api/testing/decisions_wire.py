"""Decision endpoints: OpenAI's /v1/decisions, a list of questions about an input, and System One's map of them.

The embedded model continues the text with the last paragraph of each question, and its options are normalised: the
"server-owned prompt" that every such endpoint has. Served are choices, and predicates (`noul`), which are clamped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

from icm_api.testing.backend import Position, Token, WireError
from icm_api.testing.wire import Answer, Call, answer_text

_MOST_QUESTIONS, _MOST_OPTIONS = 400, 255
_CLAMP = 0.01
_DECIMALS = 6


def decisions(call: Call) -> Answer:
    """Answer either wire, by the shape of the questions."""
    asked = call.body.get("questions")
    if isinstance(asked, Mapping):
        return systemone(call)
    if not isinstance(asked, list):
        raise WireError("questions must be a list or an object.")
    text = _text(call, "input")
    answers = [_answer(call, text, question) for question in _few(asked)]
    return _enveloped(call, text, [*asked], answers)


def systemone(call: Call) -> Answer:
    """Answer System One's wire."""
    asked = call.body.get("questions")
    if not isinstance(asked, Mapping):
        raise WireError("questions must be an object.", status=422)
    text = _text(call, "state")
    _few([*asked])
    answers = {}
    for name, question in asked.items():
        answer = _answer(call, text, question)
        if isinstance(answer.get("probabilities"), list):
            answer["probabilities"] = {each["value"]: each["probability"] for each in answer["probabilities"]}
        answers[name] = answer
    return _enveloped(call, text, [*asked.values()], answers)


def _few(asked: list[Any]) -> list[Any]:
    if not 1 <= len(asked) <= _MOST_QUESTIONS:
        raise WireError(f"questions must be from 1 to {_MOST_QUESTIONS}, got {len(asked)}.")
    return asked


def _text(call: Call, field: str) -> str:
    text = call.body.get(field)
    if not isinstance(text, str) or not text:
        raise WireError(f"{field} must be a text.")
    return text


def _answer(call: Call, text: str, question: object) -> dict[str, Any]:
    asked = question if isinstance(question, Mapping) else {}
    kind, instructions = asked.get("type"), asked.get("instructions")
    if not isinstance(instructions, str) or not instructions:
        raise WireError("every question needs instructions.")
    if call.fault == "refusal":
        return {"type": "refusal", "name": None}
    context = f"{text}{call.dialect.separator}{instructions.rpartition(chr(10) * 2)[2]}"
    if kind in ("noul", "predicate"):
        yes = exp(_shares(call, context, ["True", "False"])[0])
        return {"type": kind, "noul" if kind == "noul" else "probability": min(max(yes, _CLAMP), 1 - _CLAMP)}
    if kind != "choice":
        raise WireError(f"questions of type {kind!r} are not served here.")
    options = _options(asked)
    tokens = tuple(
        Token(at, option.encode(), value)
        for at, (option, value) in enumerate(zip(options, _shares(call, context, options), strict=True))
    )
    distorted = call.distort((Position(tokens[0], tokens),))
    if distorted is None:
        return {"type": "choice", "choice": options[0], "confidence": None, "probabilities": None}
    listed = [
        {"value": token.text, "probability": None if token.logprob is None else round(exp(token.logprob), _DECIMALS)}
        for token in distorted[0].top
    ]
    best = max(tokens, key=lambda token: token.logprob or 0.0)
    return {"type": "choice", "choice": best.text, "confidence": exp(best.logprob or 0.0), "probabilities": listed}


def _options(asked: Mapping[str, Any]) -> list[str]:
    listed, criteria = asked.get("choices"), asked.get("criteria")
    values = [each.get("value") for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    options = values or ([*criteria] if isinstance(criteria, Mapping) else [])
    if not all(isinstance(option, str) and option for option in options) or len(set(options)) != len(options):
        raise WireError("options must be different texts.")
    if not 2 <= len(options) <= _MOST_OPTIONS:
        raise WireError(f"options must be from 2 to {_MOST_OPTIONS}, got {len(options)}.")
    return [str(option) for option in options]


def _shares(call: Call, context: str, options: Sequence[str]) -> list[float]:
    """log of each option's share of what all options have together."""
    before = call.backend.fits(call.backend.encode(context), 1)
    totals = []
    for option in options:
        ids, total = call.backend.encode(context + answer_text(option)), 0.0
        for at in range(len(before), len(ids)):
            total += float(call.backend.last(ids[:at])[ids[at]])
        totals.append(total)
    whole = log(sum(map(exp, totals)))
    return [total - whole for total in totals]


def _enveloped(call: Call, text: str, asked: Sequence[Any], answers: object) -> Answer:
    """The answers; the text is counted once, however many questions there are."""
    ids = call.backend.encode(text)
    cached = call.backend.cached(ids)
    sent = len(ids) + sum(len(call.backend.encode(str(question["instructions"]))) for question in asked)
    usage = {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": sent,
    }
    return Answer({"model": call.model, "answers": answers, "usage": usage}, sent, cached)
