"""Label probabilities of Gemini's models: the likeliest first tokens of a reply, with their logprobs.

It does: write a prompt as a conversation, read the alternatives to the first token, and have text written.
It does not: send, or read a label of several tokens beyond its first: such a label gets a bound, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.options import GeminiOptions
from icm_api.model.reading.chat import chat_messages, instructed, replies
from icm_api.model.reading.coverage import ENOUGH, likeliest
from icm_api.model.reading.label_tokens import Place, TokenLogprob, read_forms
from icm_api.model.reading.reading import Reading, Sampling, forms_of, label_distribution
from icm_api.model.reading.token_text import decoded, spelled
from icm_api.model.request import Asks, Body, Request, estimated_tokens
from icm_api.types import Answers, Prompt

_BLOCKED = frozenset({"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"})


class GeminiReader:
    """Reads labels from the first token of a reply, and has text written; implements `ReadsLabels` and `Writes`.

    Args:
        identity: of the endpoint, for messages.
        path: that requests go to.
        options: what to ask for.
        blot: removes the key from a message.
    """

    def __init__(self, identity: str, path: str, options: GeminiOptions, blot: Callable[[str], str] = str) -> None:
        self._identity, self._path, self._options, self._blotted = identity, path, options, blot

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """The forms that the first token of a reply can be, one request per prompt.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            RequestError: a request failed, or the model or a filter declined to answer.
            LogprobsUnavailableError: an answer has no logprobs.
        """
        answers = await client.ask([self._request(prompt) for prompt in prompts])
        readings = [self._read(prompt, body) for prompt, body in zip(prompts, answers, strict=True)]
        return Answers(tuple(readings), answers.costs)

    async def write(self, texts: Sequence[str], client: Asks, sampling: Sampling) -> Answers[Sequence[str]]:
        """`samples` replies to each text.

        Args:
            texts: what the user says.
            client: asks the requests.
            sampling: how to write.

        Raises:
            RequestError: a request failed, or the model or a filter declined to answer.
        """
        config: dict[str, Any] = {"maxOutputTokens": sampling.max_tokens, "temperature": sampling.temperature}
        if not self._options.thinking:
            config["thinkingConfig"] = {"thinkingBudget": 0}
        requests = [
            Request(
                {"generationConfig": config, "contents": [{"role": "user", "parts": [{"text": text}]}]},
                self._path,
                tokens=estimated_tokens(text),
                completion_tokens=sampling.max_tokens,
                check=self._check_text,
            )
            for text in texts
        ]
        return await replies(requests, client, written_text, sampling.samples)

    def _request(self, prompt: Prompt) -> Request:
        config: dict[str, Any] = {
            "responseLogprobs": True,
            "logprobs": self._options.top_logprobs,
            "maxOutputTokens": 1,
            "temperature": 0,
        }
        if not self._options.thinking:
            config["thinkingConfig"] = {"thinkingBudget": 0}
        body: dict[str, Any] = {"generationConfig": config}
        contents = []
        for message in chat_messages(instructed(prompt)):
            parts = [{"text": message["content"]}]
            if message["role"] == "system":
                body["systemInstruction"] = {"parts": parts}
            else:
                contents.append({"role": "model" if message["role"] == "assistant" else "user", "parts": parts})
        body["contents"] = contents
        return Request(
            body,
            self._path,
            prompt,
            tokens=estimated_tokens(prompt.text),
            completion_tokens=1,
            check=partial(self._read, prompt),
        )

    def _check_text(self, body: Body) -> None:
        """Refuse what is no answer."""
        self._check_answered(body)
        if not body.get("candidates"):
            raise RequestError(
                f"{self._identity}: the answer holds no candidates: {self._blotted(repr(body)):.200}",
                kind="broken_answer",
            )

    def _check_answered(self, body: Body) -> None:
        if reason := declined(body):
            raise RequestError(
                f"{self._identity}: the model declined to answer ({self._blotted(reason)}): reword the instruction "
                "or the example, or use another model",
                kind="refused",
            )

    def _read(self, prompt: Prompt, body: Body) -> Reading:
        self._check_answered(body)
        try:
            place = first_place(body)
            read = read_forms(place, forms_of(prompt.verbalizer), loose_space=True)
            reading = Reading(read.forms, "top_k")
            if (label_distribution(prompt.verbalizer, reading).coverage or 0.0) < ENOUGH:
                reading = replace(reading, instead=likeliest(place))
        except LogprobsUnavailableError as error:
            raise LogprobsUnavailableError(f"{self._identity}: {error}") from None
        return reading


def declined(body: Body) -> str | None:
    """Why the model or a filter gave no answer; None if one was given.

    Example:
        >>> declined({"promptFeedback": {"blockReason": "OTHER"}}), declined({"candidates": [{"finishReason": "STOP"}]})
        ('OTHER', None)
    """
    reason = _first(body.get("candidates")).get("finishReason")
    blocked = _mapping(body.get("promptFeedback")).get("blockReason")
    return str(blocked) if blocked else reason if isinstance(reason, str) and reason in _BLOCKED else None


def first_place(body: Body) -> Place:
    """The first token of a reply, and the likeliest ones in its place, of which it need not be one.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs.

    Example:
        >>> a, b = ({"token": token, "tokenId": at, "logProbability": -1.0 - at} for at, token in enumerate("ab"))
        >>> shape = {"topCandidates": [{"candidates": [b]}], "chosenCandidates": [a]}
        >>> [token.text for token in first_place({"candidates": [{"logprobsResult": shape}]}).listed]
        ['b', 'a']
    """
    candidate = _first(body.get("candidates"))
    result = _mapping(candidate.get("logprobsResult"))
    listed = _first(result.get("topCandidates")).get("candidates")
    top = [_token(entry) for entry in listed] if isinstance(listed, list) else []
    chosen = _first(result.get("chosenCandidates"))
    if not chosen and not top:
        raise LogprobsUnavailableError(
            f"the answer has no logprobs (finishReason {candidate.get('finishReason')}): choose a model that "
            "gives them; one that thinks first has none for its label"
        )
    first = [_token(chosen) if chosen else top[0]]
    spelling = spelled(first, [top])
    return Place(decoded(first, spelling)[0], decoded(top, spelling))


def _token(entry: object) -> TokenLogprob:
    known = _mapping(entry)
    number = known.get("tokenId")
    return TokenLogprob(
        str(known.get("token", "")), known.get("logProbability"), id=number if isinstance(number, int) else None
    )


def written_text(body: Body) -> str:
    """What the model wrote, without its thoughts; "" if that is nothing.

    Example:
        >>> parts = [{"text": "Let me see.", "thought": True}, {"text": "It is "}, {"text": "18."}]
        >>> written_text({"candidates": [{"content": {"parts": parts}}]}), written_text({"candidates": [{}]})
        ('It is 18.', '')
    """
    candidates = body.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else {}
    content = first.get("content") if isinstance(first, Mapping) else None
    parts = content.get("parts") if isinstance(content, Mapping) else None
    shown = [part for part in parts or () if isinstance(part, Mapping) and not part.get("thought")]
    return "".join(part["text"] for part in shown if isinstance(part.get("text"), str))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _first(values: object) -> Mapping[str, Any]:
    return _mapping(values[0]) if isinstance(values, list) and values else {}
