"""Label probabilities of Anthropic's models, which give no logprobs: they are estimated, and every result says so.

It does: ask for the label several times and count replies ("sampled"), or ask for probabilities several times and
average them ("stated"); mark shared demonstrations for the prompt cache; have text written.
It does not: send, or set a temperature (current models refuse one): replies are drawn at the model's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.model.options import AnthropicOptions
from icm_api.model.reading.chat import chat_messages, instructed, replies
from icm_api.model.reading.reading import Below, Reading, Sampling, forms_of
from icm_api.model.reading.sampling import (
    from_counts,
    from_statements,
    read_label,
    read_statement,
    spoken_forms,
    statement_question,
    statement_schema,
)
from icm_api.model.request import Asks, Body, Request, estimated_tokens
from icm_api.types import Answers, Label, Prompt, Verbalizer

_PATH = "/v1/messages"
# At most four blocks of a request may be marked for the cache.
_MOST_MARKS = 4
# Beside a label, a reply has a number or quotes, and tokens of the model's own.
_SPARE_TOKENS = 16
# Of replies that are no labels, for messages: how many different ones, and how many characters.
_MOST_SHOWN, _SHOWN = 4, 40


class AnthropicReader:
    """Estimates labels from replies, and has text written; implements `ReadsLabels` and `Writes`.

    Args:
        identity: of the endpoint, for messages.
        options: how to estimate.
        blot: removes the key from a message.
    """

    def __init__(self, identity: str, options: AnthropicOptions, blot: Callable[[str], str] = str) -> None:
        self._identity, self._options, self._blotted = identity, options, blot

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """Estimate each prompt's label probabilities from `samples` requests.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            CapabilityError: two labels are written alike but for white space.
            LogprobsUnavailableError: a statement is none.
        """
        for prompt in prompts:
            spoken_forms(prompt.verbalizer)
        samples = range(self._options.samples)
        answers = await client.ask([self._request(prompt, sample) for prompt in prompts for sample in samples])
        bodies = iter(answers)
        readings = [self._estimated(prompt, [next(bodies) for _ in samples]) for prompt in prompts]
        return Answers(tuple(readings), answers.costs)

    async def write(self, texts: Sequence[str], client: Asks, sampling: Sampling) -> Answers[Sequence[str]]:
        """`samples` replies to each text, at the model's own temperature.

        Args:
            texts: what the user says.
            client: asks the requests.
            sampling: how to write.

        Raises:
            CapabilityError: another temperature than 1 is asked for, which current models refuse.
            RequestError: a request failed, or the model refused.
        """
        if sampling.temperature != 1.0:
            raise CapabilityError(
                f"anthropic: current models take no temperature, so {sampling.temperature:g} cannot be asked for; use 1"
            )

        def asked(text: str) -> dict[str, Any]:
            body = {"max_tokens": sampling.max_tokens, "messages": [{"role": "user", "content": text}]}
            return body if self._options.thinking else body | {"thinking": {"type": "disabled"}}

        requests = [
            Request(
                asked(text),
                _PATH,
                tokens=estimated_tokens(text),
                completion_tokens=sampling.max_tokens,
                check=self._check,
            )
            for text in texts
        ]
        return await replies(requests, client, _text, sampling.samples)

    def _check(self, body: Body) -> None:
        """Refuse what is no answer. A reply that is merely no label is an answer: it lowers the coverage."""
        reason = body.get("stop_reason")
        if reason == "refusal":
            details = self._blotted(repr(body.get("stop_details")))
            raise RequestError(
                f"{self._identity}: the model refused to answer ({details:.200}); change the template or the "
                "instruction, or take the example out",
                kind="refused",
            )
        if reason == "model_context_window_exceeded":
            raise RequestError(f"{self._identity}: the prompt is too long; use fewer examples", kind="bad_request")
        try:
            _text(body)
        except (KeyError, TypeError) as error:
            raise RequestError(
                f"{self._identity}: the answer is no message: {self._blotted(repr(body)):.200}", kind="broken_answer"
            ) from error

    def _request(self, prompt: Prompt, sample: int) -> Request:
        """One of the requests that a prompt takes."""
        stated = self._options.estimate == "stated"
        shown = conversation(prompt if stated else instructed(prompt), cached=self._options.cache_control)
        body: dict[str, Any] = {"max_tokens": self._most_tokens(prompt.verbalizer), **shown}
        if not self._options.thinking:
            body["thinking"] = {"type": "disabled"}
        if stated:
            question = statement_question(prompt.verbalizer, sample)
            body["messages"][-1]["content"] += f"\n\n{question}"
            schema = statement_schema(prompt.verbalizer, sample)
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        # Requests that arrive together would all miss the cache that the first of them writes.
        shares = self._options.cache_control and prompt.turns
        prefix = sha256(prompt.shown.encode()).hexdigest() if shares else ""
        return Request(
            body,
            _PATH,
            prompt,
            sample,
            prefix,
            tokens=estimated_tokens(prompt.text),
            completion_tokens=body["max_tokens"],
            check=partial(self._check_statement, prompt.verbalizer) if stated else self._check,
        )

    def _check_statement(self, verbalizer: Verbalizer, body: Body) -> None:
        self._check(body)
        self._statement(verbalizer, body)

    def _most_tokens(self, verbalizer: Verbalizer) -> int:
        if self._options.max_tokens is not None:
            return self._options.max_tokens
        # A token is a byte at least. A statement names every label, with a number; one cut short would be lost.
        longest = max(len(form.encode()) for form in forms_of(verbalizer)) + _SPARE_TOKENS
        return longest if self._options.estimate == "sampled" else 2 * longest * len(verbalizer.labels)

    def _estimated(self, prompt: Prompt, bodies: Sequence[Body]) -> Reading:
        method = self._options.estimate
        if method == "stated":
            return from_statements([self._statement(prompt.verbalizer, body) for body in bodies]).reading(method)
        spoken = spoken_forms(prompt.verbalizer)
        written = [_text(body) for body in bodies]
        found = Counter(read_label(reply, spoken) for reply in written)
        counts = {label: found[label] for label in prompt.verbalizer.labels}
        if not any(counts.values()):
            # All of them may be something else: nothing is known then, and what they are is told.
            unlike = Counter(text[:_SHOWN] for text in written)
            instead = {text: count / len(written) for text, count in unlike.most_common(_MOST_SHOWN)}
            return Reading({}, method, None, dict.fromkeys(counts, Below(0.0)), instead)
        return from_counts(counts, found[None], self._options.smoothing).reading(method)

    def _statement(self, verbalizer: Verbalizer, body: Body) -> Mapping[Label, float]:
        try:
            return read_statement(_text(body), verbalizer)
        except LogprobsUnavailableError as error:
            raise LogprobsUnavailableError(
                f"{self._identity}: {error} (stop_reason {body.get('stop_reason')})"
            ) from None


def conversation(prompt: Prompt, *, cached: bool) -> dict[str, Any]:
    """`system` and `messages`; with `cached`, marked where a beginning is likely to be shared with other prompts.

    Args:
        prompt: instruction, demonstrations and query.
        cached: mark beginnings that other prompts are likely to share.
    """
    messages: list[dict[str, Any]] = [dict(message) for message in chat_messages(prompt)]
    system = messages.pop(0)["content"] if prompt.instruction else None
    for at in _marked_turns(len(prompt.turns)) if cached else ():
        answer = messages[2 * at + 1]
        answer["content"] = [{"type": "text", "text": answer["content"], "cache_control": {"type": "ephemeral"}}]
    return {"messages": messages} | ({"system": system} if system else {})


def _marked_turns(turns: int) -> list[int]:
    """The demonstrations after which to mark: those by which half, three quarters, ... and all are over.

    Leave-one-out by divide and conquer puts the half that most prompts share first, then the quarter, and so on, so
    prompts share beginnings that end there.

    Example:
        >>> _marked_turns(8), _marked_turns(1), _marked_turns(0)
        ([3, 5, 6, 7], [0], [])
    """
    ends = {turns - -(-turns // 2**halving) for halving in range(1, _MOST_MARKS)} | {turns}
    return sorted(end - 1 for end in ends if end > 0)


def _text(body: Body) -> str:
    """What the model said, without what it thought."""
    return "".join(block["text"] for block in body["content"] if block["type"] == "text")
