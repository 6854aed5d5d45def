"""Reading models on this machine: one request per prompt, whose answer lists every surface form.

The body of a request is the prompt's text and its forms; the body of an answer is `{"logprobs": {form: log p}}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.reading import Reading, forms_of, label_distribution
from icm_api.model.request import Asks, Body, Endpoint, Request
from icm_api.types import Answers, Prompt, Verbalizer

_METHOD = "exact"


class ReadsForms:
    """Reads the forms that a local model lists; implements `ReadsLabels`.

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

    def _check(self, verbalizer: Verbalizer, body: Body) -> None:
        """Refuse an answer without a usable logprob for every form."""
        logprobs = body.get("logprobs")
        if not isinstance(logprobs, Mapping):
            raise LogprobsUnavailableError(f"{self._endpoint.identity}: the answer holds no 'logprobs': {body!r:.200}")
        label_distribution(verbalizer, Reading(logprobs, _METHOD))
