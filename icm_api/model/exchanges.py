"""What can be seen of a server in the requests that went to it and the answers that came back.

It does: note every exchange with an endpoint, and read from them alternatives, forms that are single tokens, limits and
times.
It does not: decide what to ask (that is `probe`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import monotonic

from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.model.findings import Finding
from icm_api.model.reading.exact_ids import ids_after
from icm_api.model.reading.gemini import first_place
from icm_api.model.reading.label_tokens import Place, alternatives, read_forms
from icm_api.model.reading.openai_bodies import next_place
from icm_api.model.reading.reading import Below, Reading
from icm_api.model.request import Endpoint, Request, Response
from icm_api.types import Capabilities


@dataclass(frozen=True, slots=True)
class Exchange:
    request: Request
    response: Response
    seconds: float


class Recorder:
    """An endpoint that notes what is sent and what comes back; implements `Endpoint`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.exchanges: list[Exchange] = []
        self.slowed = 0

    @property
    def identity(self) -> str:
        """The endpoint's."""
        return self._endpoint.identity

    @property
    def capabilities(self) -> Capabilities:
        """The endpoint's."""
        return self._endpoint.capabilities

    def count_tokens(self, text: str) -> int:
        """As the endpoint does."""
        return self._endpoint.count_tokens(text)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Have the endpoint send them.

        Raises:
            ProviderError: as the endpoint raises it.
        """
        began = monotonic()
        try:
            responses = await self._endpoint.send(requests)
        except RequestError as error:
            self.slowed += error.kind == "rate_limit"
            raise
        seconds = monotonic() - began
        self.exchanges += [Exchange(*each, seconds) for each in zip(requests, responses, strict=True)]
        return responses

    async def close(self) -> None:
        """Whoever opened the endpoint closes it."""


def first_list(exchanges: Sequence[Exchange]) -> tuple[Place | None, bool]:
    """The first list of alternatives to a next token, and whether it begins an answer of a chat model."""
    for exchange in exchanges:
        body, asked = exchange.response.body, exchange.request.body
        try:
            if "candidates" in body:
                return first_place(body), True
            if "choices" in body and not asked.get("echo") and "logprob_token_ids" not in asked:
                return next_place(body), "messages" in asked
        except LogprobsUnavailableError:
            continue
    return None, False


def alternatives_found(place: Place | None, capabilities: Capabilities) -> Finding[int]:
    if place is None:
        return Finding(note="labels are read without any")
    distinct = len(alternatives(place.top)) if place.top else 0
    twice = len(place.top) - distinct
    note = f"asked for {capabilities.top_logprobs}"
    return Finding(distinct, f"{note}; {twice} more are repeated or have no logprob" if twice else note)


def single_tokens(
    endpoint: Endpoint,
    reading: Reading,
    exchanges: Sequence[Exchange],
    listed: tuple[Place | None, bool],
    forms: Sequence[str],
) -> Finding[Mapping[str, bool]]:
    place, loose = listed
    found: dict[str, bool] = {}
    if reading.method == "exact":
        found = {form: endpoint.count_tokens(form) == 1 for form in forms}
    elif reading.method == "exact_ids":
        found = _by_tokenizer(exchanges, forms)
    elif place is not None:
        read = read_forms(place, forms, loose_space=loose)
        single = {form: not isinstance(value, Below) for form, value in read.forms.items()}
        found = {form: single[form] for form in forms if single[form] or form in read.begun}
    unknown = ", ".join(repr(form) for form in forms if form not in found)
    return Finding(found or None, f"unknown of {unknown}: no token of the answer tells" if unknown else "")


def _by_tokenizer(exchanges: Sequence[Exchange], forms: Sequence[str]) -> dict[str, bool]:
    """From what the server's tokenizer said of the forms after the prompt's last word."""
    scored = [each for each in exchanges if "tokens" not in each.response.body]
    if len(scored) == 1:
        # Each further token of a form takes a further request.
        return dict.fromkeys(forms, True)
    texts = {str(each.request.body.get("prompt")): each.response.body.get("tokens") or () for each in exchanges}
    found = {}
    for form in forms:
        for text, tokens in texts.items():
            before = texts.get(text.removesuffix(form)) if text.endswith(form) else None
            if before:
                try:
                    found[form] = len(ids_after(before, tokens, form)) == 1
                except CapabilityError:
                    continue
    return found


def limits_found(recorder: Recorder) -> Finding[Mapping[str, float]]:
    stated: dict[str, float] = {}
    for exchange in recorder.exchanges:
        stated |= exchange.response.limits or {}
    slowed = f"{recorder.slowed} of these few questions were refused for their rate" if recorder.slowed else ""
    silent = "the server's headers say nothing" if recorder.exchanges else "no question was answered"
    return Finding(stated or None, "" if stated else silent, slowed)


def seconds_found(exchanges: Sequence[Exchange]) -> Finding[float]:
    if not exchanges:
        return Finding(note="no question was answered")
    return Finding(median(each.seconds for each in exchanges), f"median of {len(exchanges)}")
