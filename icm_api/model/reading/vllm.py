"""vLLM's own: exact logprobs of given token ids, over OpenAI's two formats.

Prompt logprobs are not used for labels, since such requests can't use vLLM's prefix cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from icm_api.model.host import Host
from icm_api.model.reading import openai
from icm_api.model.reading.exact_ids import METHOD, ExactIds, Ids, listed_ids, logprobs_by_id
from icm_api.model.reading.openai import COMPLETIONS, Questions
from icm_api.model.reading.openai_bodies import first_choice, next_place
from icm_api.model.reading.reading import Readers
from icm_api.model.request import Body, Request, bytes_in_tokens
from icm_api.types import Prompt

# A list of 64 prompts whose ids come back too stays well below what an answer may have.
_MOST_IDS = 32_768


def readers(host: Host) -> Readers:
    """Labels by their token ids; all else as any host of OpenAI's formats is read."""
    questions = Questions(host)

    def exact(prompt: Prompt, wanted: Sequence[int], ids: Ids | None, whole: bool) -> Request:
        return exact_request(questions, prompt, wanted, ids, whole=whole)

    return replace(openai.readers(host), labels=ExactIds(questions, exact, next_place, prompt_ids), method=METHOD)


def exact_request(
    questions: Questions, prompt: Prompt, wanted: Sequence[int], ids: Ids | None, *, whole: bool = False
) -> Request:
    """How likely are these tokens after the prompt, or after these ids?

    Args:
        questions: writes bodies for the host.
        prompt: that is asked about.
        wanted: the ids to give logprobs of.
        ids: stand for the prompt and more; None for the prompt itself.
        whole: the answer shall hold the prompt's ids too, unless they are very many.
    """
    given = {"logprob_token_ids": wanted, "return_tokens_as_token_ids": True}

    def check(body: Body) -> None:
        logprobs_by_id(next_place(body), wanted)

    host = questions.host
    if ids is not None:
        limits = {"max_tokens": 1, "temperature": 0.0, "logprobs": 1}
        body: dict[str, Any] = {"model": host.model, "prompt": list(ids), **limits, **host.entry.extra, **given}
        return questions.request(prompt, body, prompt.text, check, COMPLETIONS)
    body = questions.body(questions.shown(prompt, ""), 1, 0.0) | {"logprobs": True if host.chat else 1} | given
    whole = whole and bytes_in_tokens(prompt.text) <= _MOST_IDS
    return questions.request(prompt, body, prompt.text, check, more={"return_token_ids": True} if whole else None)


def prompt_ids(body: Body) -> Ids | None:
    """The ids of the prompt that an answer holds, of completions or of chat; None if it holds none.

    Example:
        >>> prompt_ids({"choices": [{"index": 0, "prompt_token_ids": [5, 7]}]})
        (5, 7)
    """
    return listed_ids(body.get("prompt_token_ids") or first_choice(body).get("prompt_token_ids"))
