"""Questions in OpenAI's two formats, Chat Completions and legacy Completions, and the text of answers to them.

It does: write bodies as a host's catalogue entry wants them. It does not: read logprobs, or send anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from icm_api.errors import CapabilityError, ProviderError
from icm_api.model.catalog import Family, family_of
from icm_api.model.host import HEAD_TOKENS, TURN_TOKENS, Host
from icm_api.model.reading.chat import chat_messages, instructed, replies
from icm_api.model.reading.echo import METHOD, PromptLogprobs, check_echo
from icm_api.model.reading.label_tokens import alternatives
from icm_api.model.reading.openai_bodies import echoed, first_choice, next_place
from icm_api.model.reading.places import Places
from icm_api.model.reading.reading import Readers, Sampling, named
from icm_api.model.reading.top_k import TopK
from icm_api.model.request import Asks, Body, Request, bytes_in_tokens
from icm_api.types import Answers, Prompt

_CHAT = "chat/completions"
COMPLETIONS = "completions"
"""The path of legacy Completions, below the base URL."""

# SGLang's comes last; a host's extra fields may say another number than this library.
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens")


def readers(host: Host) -> Readers:
    """How a host of OpenAI's formats is read: the likeliest tokens, then an echoed prompt or a walk, as it can.

    Raises:
        CapabilityError: the entry leaves no way to read a label.
    """
    questions = Questions(host)
    inside = PromptLogprobs(questions.echo, echoed_places, host.most) if host.echoes else None
    if host.most:
        return Readers(TopK(questions, host, inside), inside, questions, "top_k")
    if inside is None:
        raise CapabilityError(f"{host.identity}: no way to read a label; set top_logprobs or echo")
    return Readers(inside, inside, questions, METHOD)


def echoed_places(body: Body, text: str) -> Places:
    """The tokens of an echoed text; see `openai_bodies.echoed`.

    Args:
        body: of the answer.
        text: that was sent.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs of the prompt.
        RequestError: the model declined to answer.
    """
    first_choice(body)
    return echoed(body, text)


class Questions:
    """Writes requests to one host; also has it write text.

    A base model reads the prompt as text. A chat model is given messages.

    Args:
        host: the model and its host.
    """

    def __init__(self, host: Host) -> None:
        self.host = host

    def next(self, prompt: Prompt, begun: str = "", most: int = 0) -> Request:
        """Which tokens follow the prompt, and the beginning of an answer?

        Args:
            prompt: what the model is shown.
            begun: the beginning of its answer.
            most: alternatives to list; 0 for as many as usual.
        """
        body = self.body(self.shown(prompt, begun), 1, 0.0) | self._asked_logprobs(most or self.host.most)
        if begun and self.host.chat and self.host.entry.prefill == "flags":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return self.request(prompt, body, prompt.text + begun, lambda answer: alternatives(next_place(answer).listed))

    def echo(self, prompt: Prompt, text: str, top: int) -> Request:
        """The text itself, with its logprobs. One token is generated, as some servers take 0 for no limit.

        Args:
            prompt: that is asked about.
            text: to give the logprobs of.
            top: the most alternatives at each token.
        """
        body = self.body(text, 1, 0.0) | {"logprobs": top, "echo": True}
        return self.request(prompt, body, text, lambda answer: check_echo(echoed_places(answer, text)))

    async def write(self, texts: Sequence[str], client: Asks, sampling: Sampling) -> Answers[Sequence[str]]:
        """`samples` continuations of each text, or replies to it from a chat model; a request for each.

        Args:
            texts: what to continue or to reply to.
            client: asks the requests.
            sampling: how to write.

        Raises:
            ProviderError: a request failed, or an answer holds no text.
        """
        requests = [
            Request(
                body := self.body(text, sampling.max_tokens, sampling.temperature),
                self._path,
                tokens=len(text) // 3,
                completion_tokens=_most_reply_tokens(body),
                check=named(self.host.identity, self.host.blot, self._text),
            )
            for text in texts
        ]
        return await replies(requests, client, self._text, sampling.samples)

    def request(
        self,
        prompt: Prompt,
        body: Body,
        text: str,
        check: Callable[[Body], object],
        path: str | None = None,
        more: Body | None = None,
    ) -> Request:
        """The request of a body, with what the client must know of it.

        Args:
            prompt: that is asked about.
            body: of the request.
            text: what the model reads, for an estimate of its tokens.
            check: raises if an answer can't be used.
            path: if not the usual one of the host.
            more: what else to send, beside the body.
        """
        more = more or {}
        turns = len(prompt.turns) + 1
        tokens = bytes_in_tokens(text) + (turns * TURN_TOKENS + HEAD_TOKENS if self.host.chat else 0)
        return Request(
            body,
            path or self._path,
            prompt,
            prefix=sha256(prompt.shown.encode()).hexdigest()[:16] if prompt.turns else "",
            group=self._group({**body, **more}, path or self._path),
            tokens=tokens,
            completion_tokens=_most_reply_tokens(body),
            check=named(self.host.identity, self.host.blot, check),
            more=more,
        )

    def shown(self, prompt: Prompt, begun: str) -> str | list[dict[str, Any]]:
        """What the model is shown: text for a base model, messages for a chat model.

        Args:
            prompt: to show.
            begun: the beginning of its answer.
        """
        if not self.host.chat:
            return prompt.text + begun
        told = instructed(prompt)
        messages: list[dict[str, Any]] = [{"role": "user", "content": told.text}]
        if self.host.chat_style == "turns":
            messages = [*chat_messages(told)]
        if begun:
            marked = {"prefix": True} if self.host.entry.prefill == "prefix" else {}
            messages.append({"role": "assistant", "content": begun, **marked})
        return messages

    def body(self, shown: str | Sequence[Any], limit: int, temperature: float) -> dict[str, Any]:
        """The body of a request, without what it asks of logprobs.

        Args:
            shown: text or messages.
            limit: the most tokens of a reply.
            temperature: of the reply.
        """
        entry = self.host.entry
        body: dict[str, Any] = {"model": self.host.model, "temperature": temperature}
        if not self.host.chat:
            body |= {"prompt": shown, "max_tokens": limit}
        else:
            family = family_of(self.host.model) if entry.openai_models else Family("", "max_tokens", {})
            messages = [{"role": "user", "content": shown}] if isinstance(shown, str) else shown
            body |= {"messages": messages, family.limit: limit, **family.extra}
        return {name: value for name, value in body.items() if name not in entry.leave_out} | dict(entry.extra)

    def _group(self, body: Body, path: str) -> str:
        """What requests must have in common for their prompts to travel as a list: all but the prompts themselves."""
        # Of several replies to a prompt, which belong to which prompt differs from host to host.
        if self.host.together == 1 or path != COMPLETIONS or {"n", "best_of"} & body.keys():
            return ""
        return repr([(name, value) for name, value in body.items() if name != "prompt"] + [type(body["prompt"])])

    @property
    def _path(self) -> str:
        return _CHAT if self.host.chat else COMPLETIONS

    def _asked_logprobs(self, most: int) -> dict[str, Any]:
        if not self.host.chat or self.host.entry.counted:
            return {"logprobs": most}
        return {"logprobs": True, "top_logprobs": most}

    def _text(self, body: Body) -> str:
        """What was generated; nothing if all of it was thoughts."""
        choice = first_choice(body)
        message = choice.get("message")
        if isinstance(message, Mapping) and message.get("content", "") is None:
            return ""
        text = message.get("content") if isinstance(message, Mapping) else choice.get("text")
        if not isinstance(text, str):
            raise ProviderError(f"{self.host.identity}: the answer holds no text: {self.host.blot(repr(choice)):.200}")
        return text


def _most_reply_tokens(body: Body) -> int:
    """The most tokens that a body allows all its replies together."""
    said = body.get("sampling_params", body)
    most = next((said[name] for name in _LIMITS if isinstance(said.get(name), int)), 0)
    replies = said.get("n")
    return most * (replies if isinstance(replies, int) else 1)
