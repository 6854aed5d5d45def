"""Label logprobs from OpenAI's two APIs, Chat Completions and legacy Completions, and from all hosts that speak them.

It does: ask for the likeliest next tokens, and for what they don't settle ask for the logprobs of a prompt with the
label or walk along the label's tokens, as far as the host can; score answers inside a prompt; generate text.
It does not: know a host (that is `catalog`), read wire shapes (`wire`) or match tokens with labels (`label_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from icm_api.errors import CapabilityError, LogprobsUnavailableError, ProviderError, RequestError
from icm_api.model.base import Ask, Reading, Request, Response, forms_of
from icm_api.model.catalog import Entry, Options, family_of, settled
from icm_api.model.endpoints.http import blotted, checked_url, host_of, limits_of, read_key
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk, post
from icm_api.model.reading.chat import chat_messages, instructed
from icm_api.model.reading.echo import check_echo, form_logprob, inside_places, inside_readings
from icm_api.model.reading.label_tokens import Place, alternatives, next_rung, read_forms
from icm_api.model.reading.walk import Branch, branches_of, grown
from icm_api.model.reading.wire import Body, echoed, first_choice, next_place, usage_of
from icm_api.types import Capabilities, Prompt, Usage

CHAT = "chat/completions"
COMPLETIONS = "completions"

# English has some four bytes a token; the window must hold what is estimated, so the estimate is on the large side.
_BYTES_A_TOKEN = 3
# What a chat template writes around a question and its answer, and around an instruction.
_TURN_TOKENS = 10
_HEAD_TOKENS = 64


class OpenAIProvider:
    """Label logprobs over OpenAI's wire format; implements `Provider`.

    A base model reads the prompt as text. A chat model is given messages, and tokens count as a form whatever white
    space they begin with.

    Args:
        entry: the host, from `catalog.ENTRIES`.
        model: its name there.
        options: what to change of the entry.

    Raises:
        ConfigError: there is no key, no address, or one that would send the key unencrypted.
        CapabilityError: the entry leaves no way to read a label.
    """

    def __init__(self, entry: Entry, model: str, options: Options | None = None) -> None:
        options = options or Options()
        self._entry, self._model, self._options = settled(entry, options), model, options
        url = checked_url(self._entry.base_url, allow_http=options.allow_http)
        self._identity = f"{entry.name}/{host_of(url)}/{model}"
        self._url = url
        self._chat = self._entry.api == "chat"
        if next_rung(self._rungs()) is None:
            raise CapabilityError(f"{self._identity}: no way to read a label; set top_logprobs or echo")
        key = read_key(self._entry.key_variable, required=self._entry.key_required)
        self._sdk = open_sdk(Connection(url, key, options.http_client))

    @property
    def identity(self) -> str:
        """The entry's name, the host and its path, and the model's name."""
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        """Never called deterministic: servers batch, and rounding depends on the batch."""
        return Capabilities(
            self._entry.context_window - (_HEAD_TOKENS if self._chat else 0),
            next_rung(self._rungs()) or "",
            deterministic=False,
            top_logprobs=self._most(),
            prompt_logprobs=self._echoes(),
            generates=True,
        )

    def count_tokens(self, text: str) -> int:
        """An estimate from the text's length, rather too large: a token for every three bytes."""
        around = _TURN_TOKENS if self._chat and self._options.chat_style == "turns" else 0
        return -(-len(text.encode()) // _BYTES_A_TOKEN) + around

    async def score(self, prompts: Sequence[Prompt], ask: Ask) -> Sequence[Reading]:
        """Read each prompt's forms: one request a prompt, and more for forms that it doesn't settle.

        Raises:
            ProviderError: a request failed, or an answer cannot be used.
        """
        readings = await self._top_k(prompts, ask) if "top_k" in self._rungs() else None
        rung = next_rung(self._rungs(), {"top_k"})
        if readings is None or rung == "prompt_logprobs":
            return await self._prompt_logprobs(prompts, readings, ask)
        return readings

    async def score_inside(self, prompts: Sequence[Prompt], ask: Ask) -> Sequence[Sequence[Reading]]:
        """Per prompt and turn, the logprobs of the turn's answer given all before it; one request a prompt.

        The answer that is written is exact; other forms are as exact as the listed alternatives make them. What
        follows the last turn has no influence.

        Raises:
            CapabilityError: this host gives no logprobs of prompts.
            ProviderError: a request failed, or an answer cannot be used.
        """
        if not self._echoes():
            raise CapabilityError(
                f"{self._identity} gives no logprobs of prompts; completions at vllm, sglang, together and fireworks do"
            )
        marked = [inside_places(prompt) for prompt in prompts]
        bodies = await ask(
            [self._echo(prompt, text, self._most()) for prompt, (text, _) in zip(prompts, marked, strict=True)]
        )
        return [
            inside_readings(prompt, self._echoed(body, text), starts)
            for prompt, body, (text, starts) in zip(prompts, bodies, marked, strict=True)
        ]

    async def generate(
        self, texts: Sequence[str], ask: Ask, *, max_tokens: int, temperature: float, samples: int
    ) -> Sequence[Sequence[str]]:
        """`samples` continuations of each text, or replies to it from a chat model.

        Raises:
            ProviderError: a request failed.
        """
        requests = [
            Request(self._body(text, max_tokens, temperature), self._path(), sample=sample, tokens=len(text) // 3)
            for text in texts
            for sample in range(samples)
        ]
        written = [self._text(body) for body in await ask(requests)]
        return [written[at : at + samples] for at in range(0, len(written), samples)]

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Ask one after the other.

        Raises:
            RequestError: a request failed: which kind of failure, and how long the server asks to wait.
        """
        return [await self._send(request) for request in requests]

    def check(self, request: Request, body: Body) -> None:
        """Refuse an answer whose logprobs are missing or cannot be ones, or that is none.

        Raises:
            LogprobsUnavailableError: what is wrong with the numbers.
            RequestError: the model declined to answer.
        """
        try:
            self._check(request, body)
        except LogprobsUnavailableError as error:
            raise LogprobsUnavailableError(f"{self._identity}: {self._blotted(str(error))}") from None
        except RequestError as error:
            raise RequestError(f"{self._identity}: {self._blotted(str(error))}", kind=error.kind) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()

    def _check(self, request: Request, body: Body) -> None:
        if request.body.get("echo"):
            check_echo(self._echoed(body, request.body["prompt"]))
        elif request.body.get("logprobs"):
            alternatives(next_place(body).listed)
        else:
            self._text(body)

    async def _send(self, request: Request) -> Response:
        path = request.endpoint
        if path.startswith("/"):
            path = self._url.removesuffix("/v1") + path
        body, headers = await post(self._sdk, path, request.body, self._identity)
        return Response(body, self._usage(body), limits_of(headers))

    def _usage(self, body: Body) -> Usage:
        return usage_of(body)

    def _echoed(self, body: Body, text: str) -> tuple[Place, ...]:
        first_choice(body)
        return echoed(body, text)

    def _rungs(self) -> frozenset[str]:
        """Ways to read a label here."""
        walks = self._entry.api == "completions" or self._entry.prefill != "never"
        can = {"top_k": self._most() > 0, "prompt_logprobs": self._echoes(), "token_walk": walks and self._most() > 0}
        return frozenset(rung for rung, available in can.items() if available)

    def _echoes(self) -> bool:
        return self._entry.echo and self._entry.api == "completions"

    def _most(self) -> int:
        return self._entry.top_logprobs if self._entry.api == "chat" else self._entry.completion_logprobs

    async def _top_k(self, prompts: Sequence[Prompt], ask: Ask) -> list[Reading]:
        """From the likeliest tokens, walking on where one is only the beginning of a form and nothing is better."""
        bodies = await ask([self._next(prompt) for prompt in prompts])
        forms: list[dict[str, Any]] = []
        branches: list[Branch] = []
        for at, (prompt, body) in enumerate(zip(prompts, bodies, strict=True)):
            read = read_forms(next_place(body), forms_of(prompt.verbalizer), loose_space=self._chat)
            forms.append(dict(read.forms))
            branches += branches_of(at, read, loose_space=self._chat)
        walked = set()
        while branches and next_rung(self._rungs(), {"top_k"}) == "token_walk":
            nodes = list(dict.fromkeys((branch.at, branch.prefix) for branch in branches))
            answers = await ask([self._next(prompts[at], prefix) for at, prefix in nodes])
            places = {node: next_place(body) for node, body in zip(nodes, answers, strict=True)}
            walked |= {at for at, _ in nodes}
            found, branches = grown(branches, places)
            for at, form, value in found:
                forms[at][form] = value
        return [Reading(read, "token_walk" if at in walked else "top_k") for at, read in enumerate(forms)]

    async def _prompt_logprobs(
        self, prompts: Sequence[Prompt], readings: Sequence[Reading] | None, ask: Ask
    ) -> list[Reading]:
        """Ask for the forms that are not settled (all, without readings) at the end of their prompts."""
        known: list[dict[str, Any]] = [{} for _ in prompts] if readings is None else [dict(r.forms) for r in readings]
        wanted = [
            (at, form)
            for at, prompt in enumerate(prompts)
            for form in forms_of(prompt.verbalizer)
            if not isinstance(known[at].get(form), float)
        ]
        bodies = await ask([self._echo(prompts[at], prompts[at].text + form, 1) for at, form in wanted])
        for (at, form), body in zip(wanted, bodies, strict=True):
            text = prompts[at].text
            known[at][form] = form_logprob(self._echoed(body, text + form), len(text), form)
        asked = {at for at, _ in wanted}
        return [Reading(forms, "prompt_logprobs" if at in asked else "top_k") for at, forms in enumerate(known)]

    def _next(self, prompt: Prompt, begun: str = "") -> Request:
        """Which tokens follow the prompt, and the beginning of an answer?"""
        body = self._body(self._shown(prompt, begun), 1, 0.0) | self._asked_logprobs()
        if begun and self._chat and self._entry.prefill == "flags":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return self._request(prompt, body, prompt.text + begun)

    def _echo(self, prompt: Prompt, text: str, top: int) -> Request:
        """The text itself, with its logprobs. One token is generated, as some servers take 0 for no limit."""
        return self._request(prompt, self._body(text, 1, 0.0) | {"logprobs": top, "echo": True}, text)

    def _request(self, prompt: Prompt, body: Mapping[str, Any], text: str, endpoint: str | None = None) -> Request:
        shared = repr((prompt.instruction, prompt.separator, prompt.turns))
        turns = len(prompt.turns) + 1
        tokens = -(-len(text.encode()) // _BYTES_A_TOKEN) + (turns * _TURN_TOKENS + _HEAD_TOKENS if self._chat else 0)
        prefix = sha256(shared.encode()).hexdigest()[:16] if prompt.turns else ""
        return Request(body, endpoint or self._path(), prompt, prefix=prefix, tokens=tokens)

    def _path(self) -> str:
        return CHAT if self._chat else COMPLETIONS

    def _shown(self, prompt: Prompt, begun: str) -> str | list[dict[str, Any]]:
        if not self._chat:
            return prompt.text + begun
        told = instructed(prompt)
        messages: list[dict[str, Any]] = [{"role": "user", "content": told.text}]
        if self._options.chat_style == "turns":
            messages = [*chat_messages(told)]
        if begun:
            marked = {"prefix": True} if self._entry.prefill == "prefix" else {}
            messages.append({"role": "assistant", "content": begun, **marked})
        return messages

    def _body(self, shown: str | Sequence[Any], limit: int, temperature: float) -> dict[str, Any]:
        """The body of a request, without what it asks of logprobs."""
        body: dict[str, Any] = {"model": self._model, "temperature": temperature}
        if not self._chat:
            return {**body, "prompt": shown, "max_tokens": limit, **self._entry.extra}
        messages = [{"role": "user", "content": shown}] if isinstance(shown, str) else shown
        if not self._entry.openai_models:
            return {**body, "messages": messages, "max_tokens": limit, **self._entry.extra}
        family = family_of(self._model)
        return {**body, "messages": messages, family.limit: limit, **family.extra, **self._entry.extra}

    def _asked_logprobs(self) -> dict[str, Any]:
        if not self._chat or self._entry.counted:
            return {"logprobs": self._most()}
        return {"logprobs": True, "top_logprobs": self._most()}

    def _text(self, body: Body) -> str:
        """What was generated."""
        choice = first_choice(body)
        text = choice["message"].get("content") if isinstance(choice.get("message"), Mapping) else choice.get("text")
        if not isinstance(text, str):
            raise ProviderError(f"{self._identity}: the answer holds no text: {self._blotted(repr(choice)):.200}")
        return text

    def _blotted(self, text: str) -> str:
        return blotted(text, self._sdk.api_key)
