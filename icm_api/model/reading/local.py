"""Reading models on this machine: one request per prompt, whose answer lists every surface form.

After a prompt, or inside it before the answer of every turn; see `endpoints.local_questions` for the bodies. And text,
by one request a reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icm_api.errors import LogprobsUnavailableError, ProviderError
from icm_api.model.reading.chat import replies
from icm_api.model.reading.echo import inside_places
from icm_api.model.reading.reading import Reading, Sampling, forms_of, label_distribution
from icm_api.model.request import Asks, Body, Endpoint, Request
from icm_api.types import Answers, Prompt, Verbalizer

_METHOD = "exact"


class ReadsForms:
    """Reads the forms that a local model lists; implements `ReadsLabels` and `ReadsInside`.

    Args:
        endpoint: names itself in messages.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """Every form of every prompt, one request per prompt.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            ProviderError: the model can't compute an answer.
            LogprobsUnavailableError: an answer has no usable logprob for a form.
        """
        answers = await client.ask([self.request(prompt) for prompt in prompts])
        return Answers(tuple(Reading(body["logprobs"], _METHOD) for body in answers), answers.costs)

    def request(self, prompt: Prompt) -> Request:
        """The text of the prompt, and the surface forms to read."""
        body = {"prompt": prompt.text, "forms": forms_of(prompt.verbalizer)}
        return Request(body, prompt=prompt, check=lambda answer: self._check(prompt.verbalizer, answer))

    async def read_inside(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Sequence[Reading]]:
        """Per prompt and turn, every form given all that stands before the turn's answer; one request a prompt.

        Neither the last answer nor what follows has an influence.

        Args:
            prompts: whose turns are read.
            client: asks the requests.

        Raises:
            ProviderError: the model can't compute an answer.
            LogprobsUnavailableError: an answer has no usable logprob for a form.
        """
        asked = [at for at, prompt in enumerate(prompts) if prompt.turns]
        answers = await client.ask([self.request_inside(prompts[at]) for at in asked])
        read: list[Sequence[Reading]] = [()] * len(prompts)
        for at, body in zip(asked, answers, strict=True):
            read[at] = [Reading(logprobs, _METHOD) for logprobs in body["logprobs"]]
        return Answers(tuple(read), answers.costs)

    def request_inside(self, prompt: Prompt) -> Request:
        """The text up to the last answer, where answers begin, and the surface forms to read there."""
        text, starts = inside_places(prompt)
        body = {"prompt": text[: starts[-1]], "answers": starts, "forms": forms_of(prompt.verbalizer)}
        return Request(body, prompt=prompt, check=lambda answer: self._check_inside(prompt, answer))

    def _check_inside(self, prompt: Prompt, body: Body) -> None:
        """Refuse an answer that does not have usable logprobs for every turn."""
        places = body.get("logprobs")
        if not isinstance(places, Sequence) or len(places) != len(prompt.turns):
            raise LogprobsUnavailableError(
                f"{self._endpoint.identity}: the answer does not hold one of 'logprobs' for each of "
                f"{len(prompt.turns)} turns: {body!r:.200}"
            )
        for logprobs in places:
            self._check(prompt.verbalizer, {"logprobs": logprobs})

    def _check(self, verbalizer: Verbalizer, body: Body) -> None:
        """Refuse an answer without a usable logprob for every form."""
        logprobs = body.get("logprobs")
        if not isinstance(logprobs, Mapping):
            raise LogprobsUnavailableError(f"{self._endpoint.identity}: the answer holds no 'logprobs': {body!r:.200}")
        label_distribution(verbalizer, Reading(logprobs, _METHOD))


class WritesText:
    """Has a local model write; implements `Writes`.

    Args:
        endpoint: names itself in messages.
        chat: a text is a user's message, to which the model replies.
    """

    def __init__(self, endpoint: Endpoint, *, chat: bool) -> None:
        self._endpoint, self._chat = endpoint, chat

    async def write(self, texts: Sequence[str], client: Asks, sampling: Sampling) -> Answers[Sequence[str]]:
        """`samples` continuations of each text, or replies to it; a request for each.

        Args:
            texts: what to continue or to reply to.
            client: asks the requests.
            sampling: how to write.

        Raises:
            ProviderError: a text and its reply don't fit the context window.
        """
        requests = [
            Request(
                {
                    "prompt": text,
                    "max_tokens": sampling.max_tokens,
                    "temperature": float(sampling.temperature),
                    **({"chat": True} if self._chat else {}),
                },
                tokens=self._endpoint.count_tokens(text),
                completion_tokens=sampling.max_tokens,
                check=self._text,
            )
            for text in texts
        ]
        return await replies(requests, client, self._text, sampling.samples)

    def _text(self, body: Body) -> str:
        text = body.get("text")
        if not isinstance(text, str):
            raise ProviderError(f"{self._endpoint.identity}: the answer holds no text: {body!r:.200}")
        return text
