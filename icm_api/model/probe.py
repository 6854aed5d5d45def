"""What an endpoint really returns, found out by asking it a few small questions.

It does: ask whether 9 > 2 in a few ways, and compare what comes back with what was asked for, with itself, and with
the logprobs of an echoed prompt.
It does not: use a cache of answers, know the task of a run, or change what a provider does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from math import exp

from icm_api.config import ClientSettings
from icm_api.errors import LogprobsUnavailableError, ProviderError
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
from icm_api.model.reading.coverage import coverage_warning, thinks_first
from icm_api.model.reading.decisions import METHOD as DECISIONS
from icm_api.model.reading.echo import METHOD as _ECHO
from icm_api.model.reading.label_tokens import Place, read_forms
from icm_api.model.reading.reading import Below, Readers, Reading, forms_of, label_distribution
from icm_api.model.request import Asks, Body, Endpoint, Request, StatesWindow
from icm_api.types import Answers, Capabilities, LabelDistribution, Model, Prompt, Tally, Turn, Verbalizer, logsumexp

# Probabilities further apart than this are not those of the same thing; rounding on servers is well below.
_DISAGREEMENT = 0.05
# Half precision and batching move probabilities by less than this, as a rule.
_UNSTEADY = 0.01
# Prefix caches of hosted models begin at 1,024 tokens.
_LONG_PROMPT = 2048
_CLAIMS = ((9, 2), (3, 8), (51, 7), (16, 40))
_QUERY = (64, 35)
# With demonstrations as plain as these, a model that gives the labels less writes something else.
_NO_LABEL = 0.01
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


async def check_endpoint(client: Model, verbalizer: Verbalizer, tally: Tally | None = None) -> list[str]:
    """Ask a hosted model one small question, as a run should before it begins; local models are not asked.

    A provider that samples takes as many requests for it as for any other question.

    Args:
        client: through whose cache it goes, so that it is paid for once.
        verbalizer: the labels of the run.
        tally: counts what the question asked for.

    Returns:
        What to warn of.

    Raises:
        ProviderError: the endpoint cannot be used, or the model would think first: why.
        BudgetError: the question could exceed the budget.
    """
    if client.capabilities.batches:
        return []
    found = await client.label_distributions([short_prompt(verbalizer)])
    if tally is not None:
        tally.add(found.costs)
    options = client.capabilities.options
    if thinks_first(found):
        raise LogprobsUnavailableError(coverage_warning(found, verbalizer, options=options))
    # The claims are not the user's: how much the labels get says no more than whether they can be read.
    told = coverage_warning(found, verbalizer, options=options, least=_NO_LABEL) or ""
    warnings = [told, *map(_bounds_warning, found)]
    if any(distribution.method == _ECHO for distribution in found):
        warnings.append("labels are read from an echoed prompt: `icm-api probe` says whether the echo can be trusted")
    return [warning for warning in warnings if warning]


async def echo_agreement(
    readers: Readers, prompt: Prompt, known: Mapping[str, float | Below], client: Asks
) -> Finding[float]:
    """Whether echoed logprobs are those of the next token for the same beginning.

    Some servers echo logprobs that are off by one token, e.g. llama-cpp-python if a model has no BOS token.

    Args:
        readers: of the endpoint.
        prompt: whose forms were read, with a demonstration at least.
        known: log p of forms as the next token's, or a bound, which an echo must not exceed.
        client: asks the requests.

    Returns:
        The largest difference in probability, of a form or of its share among the forms. Where there is a warning,
        echoed logprobs are not to be used.
    """
    if readers.inside is None:
        return Finding(note="this endpoint gives none")
    if all(isinstance(value, Below) for value in known.values()):
        return Finding(note="nothing to compare them with: no form was listed as next token")
    # A turn follows, since servers treat the very end of a text in ways of their own.
    after = prompt.turns[0]
    asked = [replace(prompt, turns=(*prompt.turns, Turn(prompt.query, form), after), query="") for form in known]
    try:
        readings = await readers.inside.read_inside(asked, client)
    except ProviderError as error:
        return Finding(note="lost", warning=f"prompt logprobs that can't be used: {error}; set the option echo=false")
    # What is written in the text has a number of its own.
    written = ((form, reading[-2].forms[form]) for form, reading in zip(known, readings, strict=True))
    echoed = {form: value for form, value in written if isinstance(value, float)}
    exact = [form for form, value in known.items() if not isinstance(value, Below)]
    shares = _shares({form: known[form] for form in exact}), _shares({form: echoed[form] for form in exact})
    differences = {
        # Unlikely labels are hardly apart in probability; how they divide what they have is what counts later.
        form: max(_apart(known[form], echoed[form]), abs(shares[0].get(form, 0.0) - shares[1].get(form, 0.0)))
        for form in known
    }
    form = max(differences, key=differences.__getitem__)
    most, told = differences[form], known[form]
    if most <= _DISAGREEMENT:
        return Finding(most)
    other = f"at most {told.logprob:.3f}" if isinstance(told, Below) else f"{told:.3f}"
    numbers = f"log p of {form!r} is {echoed[form]:.3f} in the echo, and {other} as next token after the same text"
    return Finding(
        most,
        "lost",
        f"prompt logprobs that can't be used: {numbers}; the echo may be off by a token: set the option echo=false",
    )


def _apart(known: float | Below, echoed: float) -> float:
    """How far apart the probabilities are; from a bound only what exceeds it counts."""
    if isinstance(known, Below):
        return max(0.0, exp(echoed) - exp(known.logprob))
    return abs(exp(echoed) - exp(known))


def _shares(logprobs: Mapping[str, float | Below]) -> dict[str, float]:
    """How the probability of some forms is divided among them."""
    values = {form: value for form, value in logprobs.items() if not isinstance(value, Below)}
    total = logsumexp(list(values.values())) if values else 0.0
    return {form: exp(value - total) for form, value in values.items()}


def short_prompt(verbalizer: Verbalizer) -> Prompt:
    r"""Four demonstrations and a query that everybody can answer. The first label stands for what is right.

    Example:
        >>> short_prompt(Verbalizer.plain(["True", "False"])).text
        '9 > 2 True\n3 > 8 False\n51 > 7 True\n16 > 40 False\n64 > 35'
    """
    turns = tuple(_turn(verbalizer, left, right) for left, right in _CLAIMS)
    return Prompt("", turns, f"{_QUERY[0]} > {_QUERY[1]}", verbalizer, "\n")


def long_prompt(verbalizer: Verbalizer, count_tokens: Callable[[str], int], tokens: int) -> Prompt:
    """As many such demonstrations as fit so many tokens, before the same query.

    Args:
        verbalizer: the labels.
        count_tokens: of a text.
        tokens: the most that the prompt may have.
    """
    short = short_prompt(verbalizer)
    turns: list[Turn] = []
    room = tokens - count_tokens(short.query)
    for at in count():
        turn = _turn(verbalizer, 100 + 37 * at % 900, 100 + 53 * at % 900 + 1)
        room -= count_tokens(turn.text + turn.answer + short.separator)
        if room < 0:
            break
        turns.append(turn)
    return replace(short, turns=tuple(turns))


def _turn(verbalizer: Verbalizer, left: int, right: int) -> Turn:
    return Turn(f"{left} > {right}", verbalizer.written(verbalizer.labels[0 if left > right else 1]))


def _route_found(recorder: Recorder) -> Finding[str]:
    asked = (exchange.request.endpoint for exchange in recorder.exchanges)
    paths = dict.fromkeys(path for path in asked if path and "tokenize" not in path)
    return Finding(", ".join(paths)) if paths else Finding()


async def _window_found(endpoint: Endpoint) -> Finding[int]:
    stated = await endpoint.stated_window() if isinstance(endpoint, StatesWindow) else None
    return Finding() if stated is None else Finding(stated, warning=window_warning(stated, endpoint.capabilities) or "")


def window_warning(stated: int, can: Capabilities, needed: int | None = None) -> str | None:
    """What to say if prompts may be longer than the server takes, else None.

    Args:
        stated: tokens of the context window, by the server's own word.
        can: says which window is reckoned with.
        needed: tokens of the longest prompt; None if that is unknown.
    """
    longest = can.context_window if needed is None else min(needed, can.context_window)
    if longest <= stated:
        return None
    return (
        f"the server says that its context window is {stated:,} tokens, and prompts may have up to {longest:,}: "
        f"set context_window = {stated} under [model.options], so that whole demonstrations are left out"
    )


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
    if distribution.coverage is not None and distribution.coverage < _NO_LABEL:
        read = replace(read, coverage=Finding(distribution.coverage))
        return read, f"{recorder.identity}: {told}"
    model = LanguageModel(readers, client)
    read = replace(
        read,
        coverage=Finding(distribution.coverage, _NOT_KNOWN if distribution.coverage is None else "", told),
        bounds=Finding(distribution.intervals, warning=_bounds_warning(distribution)),
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
        found.difference, "lost", f"prompt logprobs that can't be used: {found.trouble}; set the option echo=false"
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


def _bounds_warning(distribution: LabelDistribution) -> str:
    if not distribution.intervals or distribution.unknown:
        return ""
    labels = ", ".join(f"{label} ({low:.3g} to {high:.3g})" for label, (low, high) in distribution.intervals.items())
    return (
        f"not among the alternatives, so only bounded: {labels}; ask for more with the option top_logprobs, or use "
        "labels that are single tokens"
    )
