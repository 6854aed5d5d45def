"""vLLM's server: exact logprobs of given token ids, whatever the model finds likeliest.

It does: learn from the server which ids the labels have in context, and ask for just those; else what any server of
OpenAI's format can do.
It does not: load a tokenizer, or use prompt logprobs for labels (such requests can't use vLLM's prefix cache).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.base import Ask, Reading, Request, forms_of
from icm_api.model.catalog import ENTRIES, Entry, Options
from icm_api.model.endpoints.openai import COMPLETIONS, OpenAIProvider
from icm_api.model.reading.exact import (
    METHOD,
    FormIds,
    Ids,
    checked_forms,
    form_logprobs,
    ids_after,
    logprobs_by_id,
    questions,
    with_witness,
)
from icm_api.model.reading.label_tokens import Place
from icm_api.model.reading.wire import Body, next_place
from icm_api.types import Prompt

_TOKENIZE = "/tokenize"
_SOME_QUESTION = ({"role": "user", "content": "?"},)


class VllmProvider(OpenAIProvider):
    """Exact label logprobs from a vLLM server; implements `Provider`.

    Args:
        model: its name there.
        options: what to change of the entry; `api` is "completions" (base models) if None.
        entry: the entry in the catalog.

    Raises:
        ConfigError: no address, or one that would send the key unencrypted.
    """

    def __init__(self, model: str, options: Options | None = None, entry: Entry = ENTRIES["vllm"]) -> None:
        super().__init__(entry, model, options)

    async def score(self, prompts: Sequence[Prompt], ask: Ask) -> Sequence[Reading]:
        """Every form's tokens by their ids: one request a prompt, and one more for each beginning of longer forms.

        Raises:
            CapabilityError: the tokens of a form cannot be told apart from what stands before it.
            ProviderError: a request failed, or an answer cannot be used.
        """
        forms = await self._form_ids(prompts, ask)
        asked = [questions(ids) for ids in forms]
        long = [at for at, wanted in enumerate(asked) if len(wanted) > 1]
        starts = dict(zip(long, await self._tokens([self._whole(prompts[at]) for at in long], ask), strict=True))
        requests = [
            self._exact(prompt, with_witness(ids), (*starts[at], *before) if before else None)
            for at, prompt in enumerate(prompts)
            for before, ids in asked[at].items()
        ]
        bodies = iter(await ask(requests))
        readings = []
        for ids, wanted in zip(forms, asked, strict=True):
            answers = {before: logprobs_by_id(self._place(next(bodies)), after) for before, after in wanted.items()}
            readings.append(Reading(form_logprobs(ids, answers), METHOD))
        return readings

    def _rungs(self) -> frozenset[str]:
        return super()._rungs() | {METHOD}

    def _check(self, request: Request, body: Body) -> None:
        if request.endpoint == _TOKENIZE:
            _tokens_of(body)
        elif wanted := request.body.get("logprob_token_ids"):
            logprobs_by_id(self._place(body), wanted)
        else:
            super()._check(request, body)

    def _place(self, body: Body) -> Place:
        return next_place(body)

    def _exact(self, prompt: Prompt, wanted: Sequence[int], ids: Ids | None) -> Request:
        """How likely are these tokens after the prompt, or after these ids, which stand for it and more?"""
        given = {"logprob_token_ids": wanted, "return_tokens_as_token_ids": True}
        if ids is not None:
            limits = {"max_tokens": 1, "temperature": 0.0, "logprobs": 1}
            body: dict[str, Any] = {"model": self._model, "prompt": list(ids), **limits, **self._entry.extra, **given}
            return self._request(prompt, body, prompt.text, COMPLETIONS)
        body = self._body(self._shown(prompt, ""), 1, 0.0)
        return self._request(prompt, body | {"logprobs": True if self._chat else 1} | given, prompt.text)

    async def _form_ids(self, prompts: Sequence[Prompt], ask: Ask) -> list[FormIds]:
        """The ids of each prompt's forms, as they stand after its last word, or at the start of an answer."""
        wanted = [("" if self._chat else _last_word(prompt), tuple(forms_of(prompt.verbalizer))) for prompt in prompts]
        known = {}
        for tail, forms in dict.fromkeys(wanted):
            ways = {form: self._ways(form) for form in forms}
            bodies = [self._beginning(tail)]
            bodies += [self._continued(tail, way) for form in forms for way in ways[form]]
            before, *rest = await self._tokens(bodies, ask)
            whole = iter(rest)
            known[tail, forms] = checked_forms(
                {form: [ids_after(before, next(whole), form) for _ in ways[form]] for form in forms}
            )
        return [known[key] for key in wanted]

    def _ways(self, form: str) -> tuple[str, ...]:
        """A chat model may write a form with the space or without it."""
        return tuple(dict.fromkeys((form.lstrip(), form))) if self._chat else (form,)

    def _beginning(self, tail: str) -> dict[str, Any]:
        if self._chat:
            return {"messages": [*_SOME_QUESTION], "add_generation_prompt": True}
        return {"prompt": tail, "add_special_tokens": False}

    def _continued(self, tail: str, form: str) -> dict[str, Any]:
        if not self._chat:
            return {"prompt": tail + form, "add_special_tokens": False}
        messages = [*_SOME_QUESTION, {"role": "assistant", "content": form}]
        return {"messages": messages, "add_generation_prompt": False, "continue_final_message": True}

    def _whole(self, prompt: Prompt) -> dict[str, Any]:
        """The prompt with all that the server would put before and around it."""
        if self._chat:
            return {"messages": self._shown(prompt, ""), "add_generation_prompt": True}
        return {"prompt": prompt.text, "add_special_tokens": True}

    async def _tokens(self, asked: Sequence[Mapping[str, Any]], ask: Ask) -> list[Ids]:
        """What the server's tokenizer makes of texts or conversations."""
        template = {name: value for name, value in self._entry.extra.items() if name.startswith("chat_template")}
        requests = [Request({"model": self._model, **body, **template}, _TOKENIZE) for body in asked]
        return [_tokens_of(body) for body in await ask(requests)]


def _last_word(prompt: Prompt) -> str:
    """What follows the last white space: tokens don't reach over it, and few prompts differ in it.

    Example:
        >>> from icm_api.types import Verbalizer
        >>> _last_word(Prompt("", (), "Is it right?", Verbalizer.plain(["True", "False"])))
        'right?'
    """
    return prompt.text.split()[-1]


def _tokens_of(body: Body) -> Ids:
    tokens = body.get("tokens")
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise LogprobsUnavailableError(f"the server's tokenizer gave no list of ids: {body!r:.200}")
    return tuple(tokens)
