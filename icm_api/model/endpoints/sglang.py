"""SGLang's server: exact logprobs of given token ids over its own route /generate.

It does: ask for a base model's label ids, and read answers inside a prompt, in SGLang's own shapes; for chat models
what any server of OpenAI's format can do.
It does not: use /v1/score or /v1/decisions, which normalise over the labels and so hide how much lies outside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.base import Ask, Reading, Request
from icm_api.model.catalog import ENTRIES, Options
from icm_api.model.endpoints.openai import OpenAIProvider
from icm_api.model.endpoints.vllm import VllmProvider
from icm_api.model.reading.echo import check_echo
from icm_api.model.reading.exact import Ids, logprobs_by_id
from icm_api.model.reading.label_tokens import Place, TokenLogprob
from icm_api.model.reading.wire import Body, placed, usage_of
from icm_api.types import Prompt, Usage

_GENERATE = "/generate"


class SglangProvider(VllmProvider):
    """Exact label logprobs of a base model from an SGLang server; implements `Provider`.

    With `api="chat"` labels are read from the likeliest tokens.

    Args:
        model: its name there.
        options: what to change of the entry.

    Raises:
        ConfigError: no address, or one that would send the key unencrypted.
    """

    def __init__(self, model: str, options: Options | None = None) -> None:
        super().__init__(model, options, ENTRIES["sglang"])

    async def score(self, prompts: Sequence[Prompt], ask: Ask) -> Sequence[Reading]:
        """Every form's tokens by their ids, or for chat models among the likeliest.

        Raises:
            CapabilityError: the tokens of a form cannot be told apart from what stands before it.
            ProviderError: a request failed, or an answer cannot be used.
        """
        return await (OpenAIProvider.score(self, prompts, ask) if self._chat else super().score(prompts, ask))

    def _rungs(self) -> frozenset[str]:
        return OpenAIProvider._rungs(self) if self._chat else super()._rungs()

    def _echoes(self) -> bool:
        return not self._chat

    def _check(self, request: Request, body: Body) -> None:
        if request.endpoint != _GENERATE:
            super()._check(request, body)
        elif wanted := request.body.get("token_ids_logprob"):
            logprobs_by_id(self._place(body), wanted)
        else:
            check_echo(self._echoed(body, request.body["text"]))

    def _usage(self, body: Body) -> Usage:
        info = body.get("meta_info")
        if not isinstance(info, Mapping):
            return usage_of(body)
        counts = [info.get(name) for name in ("prompt_tokens", "completion_tokens", "cached_tokens")]
        return Usage(1, *(count if isinstance(count, int) else 0 for count in counts))

    def _place(self, body: Body) -> Place:
        info = _info(body)
        chosen, wanted = _list(info, "output_token_logprobs"), _list(info, "output_token_ids_logprobs")
        if not chosen or not wanted:
            raise LogprobsUnavailableError("the answer holds no token, so no logprobs either")
        return Place(_token(chosen[0]), tuple(map(_token, wanted[0] or ())))

    def _echoed(self, body: Body, text: str) -> tuple[Place, ...]:
        info = _info(body)
        tokens = [_token(entry) for entry in _list(info, "input_token_logprobs")]
        tops = [tuple(map(_token, entries or ())) for entries in _list(info, "input_top_logprobs")]
        if len(tops) != len(tokens):
            raise LogprobsUnavailableError(f"the answer has {len(tokens)} tokens, but alternatives for {len(tops)}")
        return placed(tokens, tops, text)

    def _exact(self, prompt: Prompt, wanted: Sequence[int], ids: Ids | None) -> Request:
        given = {"text": prompt.text} if ids is None else {"input_ids": list(ids)}
        # -1: from the end of the prompt on, so that the prefix cache serves all before.
        asked = {"token_ids_logprob": list(wanted), "logprob_start_len": -1}
        return self._request(prompt, _body(given | asked) | dict(self._entry.extra), prompt.text, _GENERATE)

    def _echo(self, prompt: Prompt, text: str, top: int) -> Request:
        asked = {"logprob_start_len": 0, "top_logprobs_num": top, "return_text_in_logprobs": True}
        return self._request(prompt, _body({"text": text} | asked) | dict(self._entry.extra), text, _GENERATE)


def _body(asked: Mapping[str, Any]) -> dict[str, Any]:
    return {**asked, "sampling_params": {"max_new_tokens": 1, "temperature": 0.0}, "return_logprob": True}


def _info(body: Body) -> Mapping[str, Any]:
    info = body.get("meta_info")
    if not isinstance(info, Mapping):
        raise LogprobsUnavailableError(f"the answer holds no meta_info: {body!r:.200}")
    reason = info.get("finish_reason")
    if isinstance(reason, Mapping) and reason.get("type") == "abort":
        raise RequestError(
            f"the server gave up ({reason.get('message')!r:.200}): check its log; change the prompt if that is why",
            kind="refused",
        )
    return info


def _list(info: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = info.get(name)
    if not isinstance(found, list):
        raise LogprobsUnavailableError(
            f"the answer holds no {name}: it has {found!r:.80} in its place; update the server, or use another"
        )
    return found


def _token(entry: object) -> TokenLogprob:
    """From SGLang's [logprob, id, text or null]."""
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[1], int):
        raise LogprobsUnavailableError(f"an entry is not [logprob, id, text]: {entry!r:.80}")
    return TokenLogprob(entry[2] or "", entry[0], id=entry[1])
