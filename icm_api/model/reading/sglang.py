"""SGLang's own: exact logprobs of given token ids, and of prompts, over its route /generate.

It does: ask and read in SGLang's shapes for base models; chat models are read as at any host of OpenAI's formats.
It does not: use /v1/score or /v1/decisions, which normalise over the labels and so hide how much lies outside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.host import Host
from icm_api.model.reading import openai
from icm_api.model.reading.echo import PromptLogprobs, check_echo
from icm_api.model.reading.exact_ids import METHOD, ExactIds, Ids, listed_ids, logprobs_by_id
from icm_api.model.reading.label_tokens import Place, TokenLogprob
from icm_api.model.reading.openai import Questions
from icm_api.model.reading.places import Columns, Places, placed
from icm_api.model.reading.reading import Readers
from icm_api.model.request import Body, Request
from icm_api.types import Prompt

_GENERATE = "/generate"


def readers(host: Host) -> Readers:
    """Labels of a base model by their token ids; of a chat model among the likeliest tokens."""
    if host.chat:
        return openai.readers(host)
    questions = Questions(host)
    own = Generate(questions)
    return Readers(
        ExactIds(questions, own.exact, place, prompt_ids),
        PromptLogprobs(own.echo, echoed, host.most),
        questions,
        METHOD,
    )


class Generate:
    """Writes requests to /generate.

    Args:
        questions: of the host.
    """

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    def exact(self, prompt: Prompt, wanted: Sequence[int], ids: Ids | None, whole: bool = False) -> Request:
        """How likely are these tokens after the prompt, or after these ids, which stand for it and more?

        Args:
            prompt: that is asked about.
            wanted: the ids to give logprobs of.
            ids: stand for the prompt and more; None for the prompt itself.
            whole: the answer shall hold the prompt's ids too, as SGLang's does from 0.5.13 on.
        """
        given = {"text": prompt.text} if ids is None else {"input_ids": list(ids)}
        # -1: from the end of the prompt on, so that the prefix cache serves all before.
        asked = {"token_ids_logprob": list(wanted), "logprob_start_len": -1}
        more = {"return_prompt_token_ids": True} if whole else None
        return self._request(prompt, given | asked, prompt.text, lambda body: logprobs_by_id(place(body), wanted), more)

    def echo(self, prompt: Prompt, text: str, top: int) -> Request:
        """The text itself, with its logprobs and so many alternatives at each token.

        Args:
            prompt: that is asked about.
            text: to give the logprobs of.
            top: the most alternatives at each token.
        """
        asked = {"logprob_start_len": 0, "top_logprobs_num": top, "return_text_in_logprobs": True}
        return self._request(prompt, {"text": text} | asked, text, lambda body: check_echo(echoed(body, text)))

    def _request(
        self,
        prompt: Prompt,
        asked: Mapping[str, Any],
        text: str,
        check: Callable[[Body], object],
        more: Body | None = None,
    ) -> Request:
        body = _body(asked) | dict(self._questions.host.entry.extra)
        return self._questions.request(prompt, body, text, check, _GENERATE, more)


def place(body: Body) -> Place:
    """The generated token, and those whose logprobs were asked for.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs.
        RequestError: the server gave up.
    """
    info = _info(body)
    chosen, wanted = _list(info, "output_token_logprobs"), _list(info, "output_token_ids_logprobs")
    if not chosen or not wanted:
        raise LogprobsUnavailableError("the answer holds no token, so no logprobs either")
    return Place(_token(*_pair(chosen[0])), tuple(_token(*each) for each in _pairs(wanted[0])))


def prompt_ids(body: Body) -> Ids | None:
    """The ids of the prompt that an answer holds; None if it holds none.

    Example:
        >>> prompt_ids({"text": "", "prompt_token_ids": [5, 7]}), prompt_ids({"text": ""})
        ((5, 7), None)
    """
    return listed_ids(body.get("prompt_token_ids"))


def echoed(body: Body, text: str) -> Places:
    """The tokens of the text that was sent.

    Args:
        body: of the answer.
        text: that was sent.

    Raises:
        LogprobsUnavailableError: the answer has no logprobs of the prompt, or its tokens are not those of the text.
        RequestError: the server gave up.
    """
    info = _info(body)
    pairs = [_pair(entry) for entry in _list(info, "input_token_logprobs")]
    tops = [_pairs(entries) for entries in _list(info, "input_top_logprobs")]
    if len(tops) != len(pairs):
        raise LogprobsUnavailableError(f"the answer has {len(pairs)} tokens, but alternatives for {len(tops)}")
    return placed(Columns([kind for kind, _ in pairs], [logprob for _, logprob in pairs], tops, _token), text)


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


def _pairs(entries: object) -> list[tuple[tuple[str, int], object]]:
    return [_pair(entry) for entry in entries] if isinstance(entries, list) else []


def _pair(entry: object) -> tuple[tuple[str, int], object]:
    """Which token it is, by its text and its id, and its logprob: of SGLang's [logprob, id, text or null]."""
    if not isinstance(entry, list) or len(entry) != 3 or type(entry[1]) is not int:
        raise LogprobsUnavailableError(f"an entry is not [logprob, id, text]: {entry!r:.80}")
    return (entry[2] if isinstance(entry[2], str) else "", entry[1]), entry[0]


def _token(kind: tuple[str, int], logprob: object) -> TokenLogprob:
    return TokenLogprob(kind[0], logprob, id=kind[1])
