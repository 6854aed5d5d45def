"""What an endpoint really returns, found out by asking it a few small questions.

It does: ask whether 9 > 2 in a few ways, and compare what comes back with what was asked for, with itself, and with
the logprobs of an echoed prompt.
It does not: use a cache of answers, know the task of a run, or change what a provider does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp

from icm_api.config import ClientSettings
from icm_api.errors import LogprobsUnavailableError, ProviderError
from icm_api.model.checking import bounds_warning, window_warning
from icm_api.model.client.client import Client
from icm_api.model.client.meter import Meter
from icm_api.model.findings import (
    Finding,
    Findings,
    Probe,
    Recorder,
    alternatives_found,
    first_list,
    limits_found,
    seconds_found,
    single_tokens,
)
from icm_api.model.inside import check_inside
from icm_api.model.language_model import LanguageModel
from icm_api.model.probe_decisions import demonstrations_found, questions_found
from icm_api.model.probe_echo import echo_agreement
from icm_api.model.probe_prompts import NO_LABEL, long_prompt, short_prompt
from icm_api.model.reading.coverage import coverage_warning
from icm_api.model.reading.decisions import METHOD as DECISIONS
from icm_api.model.reading.echo import METHOD as _ECHO
from icm_api.model.reading.label_tokens import Place, read_forms
from icm_api.model.reading.reading import Below, Readers, Reading, forms_of, label_distribution
from icm_api.model.request import Body, Endpoint, Request, StatesWindow
from icm_api.types import Answers, LabelDistribution, Prompt, Verbalizer

# Half precision and batching move probabilities by less than this, as a rule.
_UNSTEADY = 0.01
# Prefix caches of hosted models begin at 1,024 tokens.
_LONG_PROMPT = 2048
_SAMPLING = ("sampled", "stated")
# Inside so many turns labels are compared with next tokens: each takes a request.
_FEW_TURNS = 4
_NOT_KNOWN = "the server divides by the labels' own sum"


async def probe(
    endpoint: Endpoint,
    readers: Readers,
    verbalizer: Verbalizer,
    *,
    own: Sequence[Prompt] = (),
    settings: ClientSettings | None = None,
    meter: Meter | None = None,
) -> Probe:
    """Ask an endpoint a handful of questions, none of which a cache answers.

    Args:
        endpoint: that is asked; it is left open.
        readers: how it is read.
        verbalizer: the labels to ask for.
        own: prompts of the user's, the first with demonstrations if there can be any and the others with none; asked
            in place of whether 9 > 2.
        settings: limits and retries; a few quick tries if None.
        meter: holds the questions to a budget; none if None.

    Returns:
        What was found. An endpoint that fails is no error: its `verdict` says why it is unusable.

    Raises:
        BudgetError: the questions would exceed the budget.
    """
    recorder = Recorder(endpoint)
    settings = settings or ClientSettings(attempts=3, retry_seconds=20, timeout=60)
    # Without memory every question is sent, also one that was asked before.
    client = Client(recorder, memory=0, settings=settings, meter=meter)
    async with LanguageModel(readers, client):
        found, trouble = await _looked(recorder, readers, client, own or (short_prompt(verbalizer),))
        found = replace(
            found,
            limits=limits_found(recorder),
            seconds=seconds_found(recorder.exchanges),
            route=_route_found(recorder),
            window=await _window_found(endpoint) if recorder.exchanges else Finding(),
        )
        can = endpoint.capabilities
        # An echo that failed or disagrees comes with a warning.
        can = replace(can, prompt_logprobs=can.prompt_logprobs and not found.echo.warning)
        return Probe(endpoint.identity, can, found, client.meter.sent, trouble)


async def try_route(endpoint: Endpoint, readers: Readers, prompt: Prompt, api: str) -> Finding[float]:
    """The coverage that one prompt gets by another route to the same model.

    Args:
        endpoint: that takes the other route; it is left open.
        readers: how it is read.
        prompt: that is asked.
        api: what the option `api` calls the route.
    """
    settings = ClientSettings(attempts=1, timeout=60)
    try:
        async with LanguageModel(readers, Client(Recorder(endpoint), memory=0, settings=settings)) as model:
            [found] = await model.label_distributions([prompt])
    except ProviderError as error:
        return Finding(note=f"{api}: {error}"[:300])
    return Finding(found.coverage, api)


def _route_found(recorder: Recorder) -> Finding[str]:
    asked = (exchange.request.endpoint for exchange in recorder.exchanges)
    paths = dict.fromkeys(path for path in asked if path and "tokenize" not in path)
    return Finding(", ".join(paths)) if paths else Finding()


async def _window_found(endpoint: Endpoint) -> Finding[int]:
    stated = await endpoint.stated_window() if isinstance(endpoint, StatesWindow) else None
    return Finding() if stated is None else Finding(stated, warning=window_warning(stated, endpoint.capabilities) or "")


async def _looked(
    recorder: Recorder, readers: Readers, client: Client, prompts: Sequence[Prompt]
) -> tuple[Findings, str]:
    """What the answers say, and why the endpoint is of no use, if so."""
    prompt, verbalizer = prompts[0], prompts[0].verbalizer
    try:
        (reading,) = await readers.labels.read([prompt], client)
    except ProviderError as error:
        return Findings(), str(error)
    exchanges, forms = tuple(recorder.exchanges), forms_of(verbalizer)
    place, loose = first_list(exchanges)
    echo: Finding[float] = Finding(note="it takes two examples to find out")
    if recorder.capabilities.batches:
        echo = Finding(note="a model on this machine reads labels in one way, inside prompts too")
    elif prompt.turns:
        echo = await echo_agreement(readers, prompt, _next_token(reading, place, forms), client)
    if not echo.warning and echo.value is not None and reading.method != _ECHO:
        echo = await _inside_found(LanguageModel(readers, client), prompt, echo.value)
    read = Findings(
        method=Finding(reading.method),
        alternatives=alternatives_found(place, recorder.capabilities),
        single_tokens=single_tokens(recorder, reading, exchanges, (place, loose), forms),
        echo=echo,
    )
    if echo.warning and reading.method == _ECHO:
        return read, f"labels are read from {echo.warning}"
    try:
        distribution = label_distribution(verbalizer, reading)
    except ProviderError as error:
        return read, f"{recorder.identity}: {error}"
    options = recorder.capabilities.options
    told = coverage_warning([distribution], verbalizer, instruction=prompt.instruction, options=options) or ""
    if distribution.coverage is not None and distribution.coverage < NO_LABEL:
        read = replace(read, coverage=Finding(distribution.coverage))
        return read, f"{recorder.identity}: {told}"
    model = LanguageModel(readers, client)
    read = replace(
        read,
        coverage=Finding(distribution.coverage, _NOT_KNOWN if distribution.coverage is None else "", told),
        bounds=Finding(distribution.intervals, warning=bounds_warning(distribution)),
        difference=await _asked_again(model, prompt, distribution),
        cached=await _long_prompt_again(recorder, readers, client, verbalizer),
        rows=await _rows_found(model, prompts[1:]),
    )
    return await _decisions_looked(recorder, model, read, short_prompt(verbalizer))


async def _decisions_looked(
    recorder: Recorder, model: LanguageModel, read: Findings, prompt: Prompt
) -> tuple[Findings, str]:
    """What only decision endpoints are asked, and why one is of no use, if so."""
    if recorder.capabilities.method != DECISIONS:
        return read, ""
    try:
        demonstrations = await demonstrations_found(model, prompt, read.difference.value)
    except ProviderError as error:
        return read, str(error)
    tokens = min(_LONG_PROMPT, recorder.capabilities.context_window // 2)
    long = long_prompt(prompt.verbalizer, recorder.count_tokens, tokens)
    questions = await questions_found(recorder, model, (long, replace(long, query=prompt.turns[0].text)))
    trouble = f"{recorder.identity}: {demonstrations.warning}" if demonstrations.warning else ""
    return replace(read, demonstrations=demonstrations, questions=questions), trouble


async def _inside_found(model: LanguageModel, prompt: Prompt, most: float) -> Finding[float]:
    """Whether labels inside a prompt of a few turns are what would come next, as a scored labeling needs them."""
    try:
        found = await check_inside(model, [replace(prompt, turns=prompt.turns[:_FEW_TURNS])])
    except ProviderError as error:
        return Finding(most, "not sure", f"labels inside a prompt can't be checked: {error}")
    if found.agrees:
        return Finding(max(most, found.difference), f"at most, in {found.compared} numbers of labels inside a prompt")
    return Finding(
        found.difference, "not used", f"prompt logprobs that can't be used: {found.trouble}; set the option echo=false"
    )


async def _rows_found(model: LanguageModel, prompts: Sequence[Prompt]) -> Finding[float]:
    """How much of the probability is on the labels for the first rows, as a run begins."""
    if not prompts:
        return Finding()
    try:
        found = list(await model.label_distributions(prompts))
    except ProviderError as error:
        return Finding(note="failed", warning=f"a row asked with no demonstration failed: {error}")
    labels = ", ".join(max(zip(each.logprobs, each.labels, strict=True))[1] for each in found)
    least = min((each.coverage for each in found if each.coverage is not None), default=None)
    return Finding(
        least,
        f"at least, of {len(found)} with no demonstration: {labels}",
        coverage_warning(
            found,
            prompts[0].verbalizer,
            instruction=prompts[0].instruction,
            options=model.capabilities.options,
        )
        or "",
    )


async def _asked_again(model: LanguageModel, prompt: Prompt, first: LabelDistribution) -> Finding[float]:
    if first.method in _SAMPLING:
        return Finding(note="probabilities are estimated from several replies, so never quite the same")
    try:
        (second,) = await model.label_distributions([prompt])
    except ProviderError as error:
        return Finding(note="failed", warning=f"a question that was answered once failed when asked again: {error}")
    most = max(abs(exp(one) - exp(two)) for one, two in zip(first.logprobs, second.logprobs, strict=True))
    unsteady = f"the same question gets probabilities that differ by {most:.2g}: only the cache makes a run repeatable"
    return Finding(most, warning=unsteady if most > _UNSTEADY else "")


async def _long_prompt_again(
    recorder: Recorder, readers: Readers, client: Client, verbalizer: Verbalizer
) -> Finding[int]:
    tokens = min(_LONG_PROMPT, recorder.capabilities.context_window // 2)
    prompt = long_prompt(verbalizer, recorder.count_tokens, tokens)
    try:
        for _ in range(2):
            before = len(recorder.exchanges)
            await _answered(prompt, recorder, readers, client)
    except ProviderError as error:
        return Finding(note="failed", warning=f"a prompt of about {tokens:,} tokens failed: {error}")
    usage = max((each.response.usage for each in recorder.exchanges[before:]), key=lambda usage: usage.prompt_tokens)
    if not usage.cached_tokens:
        return Finding(0, f"of {usage.prompt_tokens:,}; there is no prefix cache, or the server doesn't report it")
    return Finding(usage.cached_tokens, f"of {usage.prompt_tokens:,}")


async def _answered(prompt: Prompt, recorder: Recorder, readers: Readers, client: Client) -> None:
    """Have a prompt answered, with only one sample of each request if the reader takes several."""
    try:
        await readers.labels.read([prompt], _OneSample(client))
    except LogprobsUnavailableError:
        # One reply may well be no label; what it cost is all that counts here.
        if recorder.capabilities.method not in _SAMPLING:
            raise


class _OneSample:
    """Asks for the first of several samples alone, and gives it for all of them; implements `Asks`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
        answers = await self._client.ask([request for request in requests if request.sample == 0])
        bodies, found = iter(answers), list[Body]()
        for request in requests:
            found.append(next(bodies) if request.sample == 0 else found[-1])
        return Answers(tuple(found), answers.costs)


def _next_token(reading: Reading, place: Place | None, forms: Sequence[str]) -> Mapping[str, float | Below]:
    """log p of the forms as next token, not from an echo."""
    if reading.method != _ECHO:
        return reading.forms
    return {} if place is None else read_forms(place, forms).forms
