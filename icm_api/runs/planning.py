"""What a run is likely to take, and what it may take at most, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from icm_api.config import Config, CoreSection, DiagnosticsSettings, SearchSettings
from icm_api.errors import ConfigError
from icm_api.evaluation import judged_anyway, likely_of_judging, share_of_judging
from icm_api.model import LanguageModel
from icm_api.model.client.meter import cost
from icm_api.objective import Joint, Objective
from icm_api.runs.aside import Aside, too_long
from icm_api.runs.cutting import Large
from icm_api.runs.earlier import Earlier, earlier_runs
from icm_api.runs.executing import PARTS_BY_JOBS
from icm_api.runs.folder import folder_of
from icm_api.runs.frozen import HELD_OUT
from icm_api.runs.pace import Pace, Wave
from icm_api.runs.parts import old_prices, open_model, prices_of
from icm_api.runs.rates import Cost, Probed, Rates, largest, measured_lengths, probed, stated_rates
from icm_api.search import ENGINES, Asked, Start, build_kernel, build_objective, engine_of, estimator_of, steps_of
from icm_api.search.estimating import TURNS, exact_too
from icm_api.search.forecast import spread
from icm_api.types import Dataset, Model, PromptTemplate, Usage, Verbalizer

_MARGIN = 1.125
_ESTIMATORS = [name for name in get_args(SearchSettings.model_fields["estimator"].annotation) if name != "auto"]
# What belongs to one way of searching, and is left out when others are compared with it.
_OWN = {"preset": "default", "moves": "groups", "calibration": None, "prior": None, "steps": None}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run takes.

    Attributes:
        examples: in the data set, those that are labelled from a core included.
        relations: made by the constraints.
        steps: the most that the search takes.
        requests: upper bound on requests.
        prompt_tokens: upper bound on prompt tokens.
        longest_prompt: tokens of the longest prompt that can occur, as they are counted or estimated.
        context_window: of the model.
        likely: what it is likely to take, a cache of answers apart; single runs differ from it.
        engine: the kind of search.
        estimator: how P(D) is estimated.
        money: upper bound on the cost, nothing off for cached prefixes; None without `[prices]`.
        minutes: what so many requests take at the speed that is known; None if none is.
        notes: what it rests on, a line each.
        too_long: ids of examples that are alone longer than the window, which a run sets aside.
        rest: examples that are labelled from those that are searched.
        batches: that the search is cut into.
    """

    examples: int
    relations: int
    steps: int
    requests: int
    prompt_tokens: int
    longest_prompt: int
    context_window: int
    likely: Cost
    engine: str
    estimator: str
    money: float | None = None
    minutes: float | None = None
    notes: tuple[str, ...] = ()
    too_long: tuple[str, ...] = ()
    rest: int = 0
    batches: int = 1


async def plan(config: Config, *, probe: bool = False) -> Plan:
    """How many requests and tokens a run is likely to take, and takes at most.

    Args:
        config: of the run.
        probe: send one question of the run's own (a local model gets some), to measure speed and tokens; else nothing
            is sent.

    Raises:
        IcmError: whatever would stop the run before its first request.
    """
    return (await _plans(config, probe=probe))[0]


async def compare_plans(config: Config, *, probe: bool = False) -> list[Plan]:
    """The plan of the configuration, and those of every other engine and estimator on the same data.

    Args:
        config: of the run.
        probe: as for `plan`.

    Raises:
        IcmError: whatever would stop the run before its first request.
    """
    return await _plans(config, probe=probe, compare=True)


def _others(search: SearchSettings, own_estimator: str, *, inside: bool) -> Iterator[SearchSettings]:
    for engine in ENGINES:
        for estimator in _ESTIMATORS:
            if (engine, estimator) == (search.engine, own_estimator) or (estimator == Joint.name and not inside):
                continue
            own = {} if engine == search.engine else _OWN
            try:
                yield search.changed(engine=engine, estimator=estimator, **own)
            except ConfigError:
                continue


async def _plans(config: Config, *, probe: bool, compare: bool = False) -> list[Plan]:
    large, found = Large.open(config), []
    async with open_model(config) as model:
        cut = large.cut(model)
        # Batches are about equally large.
        dataset = cut.batches[0].dataset if cut.batches else cut.dataset
        task, start = cut.task, cut.start.among(dataset.ids)
        shown_to_rest = min(len(cut.dataset), (config.core or CoreSection()).demonstrations)
        waits = -(-cut.split.parts // PARTS_BY_JOBS) if cut.split and config.client.tier == "batch" else 1.0
        rest = None if cut.split is None else Asked(shown_to_rest, questions=cut.split.rest + HELD_OUT, waits=waits)
        own = estimator_of(config.search, model, len(dataset), len(task.verbalizer.labels)).name
        others = _others(config.search, own, inside=model.capabilities.prompt_logprobs) if compare else ()
        searches = [config.search, *others]
        objectives = [build_objective(dataset, model, task, search) for search in searches]
        # No engine shows an example otherwise than another.
        aside = Aside(too_long(objectives[0]))
        first, _ = _asked_about(objectives[0], start, aside)
        rates = replace(await stated_rates(first, model), prices=prices_of(config))
        shown = await probed(config, first) if probe else None
        for objective, search in zip(objectives, searches, strict=True):
            asked, known = _asked_about(objective, start, aside)
            subject = _Subject(asked, search, config.diagnostics, known, model, max(1, len(cut.batches)), rest)
            try:
                one = subject.plan(config, rates, shown)
                found.append(
                    replace(
                        one,
                        # With those that are set aside, and each of all batches once.
                        examples=len(cut.dataset) + one.rest,
                        relations=len(objective.relations),
                        too_long=tuple(aside.reasons),
                    )
                )
            except ConfigError:
                # Another engine's setting may not fit the data.
                if search is config.search:
                    raise
    return found


def _asked_about(objective: Objective, start: Start, aside: Aside) -> tuple[Objective, Start]:
    """Without the examples that a run sets aside, since they are longer than the window: one could outweigh all."""
    return (objective, start) if len(aside.reasons) == len(objective.dataset) else aside.without(objective, start)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is planned."""

    objective: Objective
    search: SearchSettings
    diagnostics: DiagnosticsSettings
    start: Start
    model: LanguageModel
    batches: int = 1
    rest: Asked | None = None

    def plan(self, config: Config, rates: Rates, shown: Probed | None) -> Plan:
        steps = steps_of(self.search, len(self.objective.dataset))
        earlier = earlier_runs(folder_of(config), self.search, self.model.identity, config.diagnostics.enabled)
        rates = _known(config, rates, shown, earlier)
        waves = [_times(wave.times(self.batches), earlier, shown) for wave in self.waves(rates)]
        if self.rest is not None:
            waves.append(rates.wave(self.rest, self.objective, measured_lengths(self.objective, self.model)))
        likely, most, longest = rates.cost(waves), self.most(rates, shown), self.longest()
        # It waits as often for each request as it is likely to.
        waits = sum(wave.waits for wave in waves) * most.requests / likely.questions
        return Plan(
            len(self.objective.dataset) + self.others,
            len(self.objective.relations),
            steps,
            most.requests,
            most.prompt_tokens,
            longest,
            self.model.capabilities.context_window,
            likely,
            self.search.engine,
            self.objective.estimator.name,
            None if rates.prices is None else cost(most, rates.prices),
            rates.pace.minutes([Wave(most, waits, most.requests * likely.requests / likely.questions)]),
            (*self._notes(config, rates, shown, earlier), *_on_jobs(config, sum(wave.waits for wave in waves))),
            rest=self.others,
            batches=self.batches,
        )

    def waves(self, rates: Rates) -> list[Wave]:
        """All that is likely to be asked for, before what earlier runs say of it."""
        objective, start = self.objective, self.start
        steps = steps_of(self.search, len(objective.dataset))
        asked = [*engine_of(self.search).likely(objective, self.search, start, steps)]
        zero_shot = Asked(len(start.fixed), questions=len(start.free(objective.dataset)), waits=1.0)
        if not any(each.questions and each.shown == zero_shot.shown for each in asked):
            asked.append(zero_shot)
        if self.exact:
            asked.append(Asked(len(objective.dataset), scores=1.0, waits=1.0, exact=True))
        judge = self.diagnostics
        judging = likely_of_judging(objective, judge) if judge.enabled else ()
        anyway = judged_anyway(objective, judge, start) if judge.enabled else ()
        lengths = {
            noise: measured_lengths(objective, self.model, noise=noise)
            for noise in {each.noise for each in (*asked, *anyway, *judging)}
        }
        search, certain, judged = (
            [rates.wave(each, objective, lengths[each.noise]) for each in part] for part in (asked, anyway, judging)
        )
        share = share_of_judging(judge, *(sum(wave.usage.requests for wave in part) for part in (search, judged)))
        once = Wave(Usage(rates.once), float(bool(rates.once)))
        # The endpoint is checked first.
        checks = 0.0 if self.model.capabilities.batches else 1.0 + self.compared
        check = rates.wave(Asked(0, questions=checks, waits=float(bool(checks))), objective, lengths[False])
        return [once, check, *search, *certain, *(wave.times(share) for wave in judged)]

    @property
    def exact(self) -> bool:
        """Whether the labels handed out are scored by leave-one-out besides."""
        return exact_too(self.objective, self.search)

    @property
    def others(self) -> int:
        """Examples that are labelled from those that are searched."""
        return 0 if self.rest is None else round(self.rest.questions) - HELD_OUT

    @property
    def compared(self) -> int:
        """Requests by which labels inside prompts are compared with next tokens, before a search rests on them."""
        joint = isinstance(self.objective.estimator, Joint)
        return 1 + TURNS if joint and not self.model.capabilities.batches else 0

    def most(self, rates: Rates, shown: Probed | None) -> Usage:
        objective, can = self.objective, self.model.capabilities
        size = len(objective.dataset)
        kernel = build_kernel(objective, self.search, self.start)
        searching = kernel.most_requests(steps_of(self.search, size)) + size * self.exact
        judge = self.diagnostics
        judging = judge.most_requests(size, len(objective.labels), searching) if judge.enabled else 0
        # A score takes more than a request an example where a window holds no two of them.
        judging *= -(-objective.requests(size) // size)
        # Zero-shot labels are asked for in any case, and hosted models once before all else.
        once = 0 if can.batches else 1 + self.compared
        prompts = (searching + size + judging) * self.batches + once + (self.others + HELD_OUT if self.rest else 0)
        requests = round(prompts * max(can.requests_per_prompt, shown.requests if shown else 1))
        tokens = largest((rates.most_tokens, shown.tokens * _MARGIN if shown and shown.tokens else None))
        whole = round(requests * self.longest() * tokens)
        return Usage(requests + rates.once, whole, requests * rates.reply)

    def longest(self) -> int:
        prompts, window = self.objective.prompts, self.model.capabilities.context_window
        found = longest_prompt(self.objective.dataset, prompts.template, prompts.verbalizer, self.model)
        return min(window, found)

    def _notes(self, config: Config, rates: Rates, shown: Probed | None, earlier: Earlier) -> Iterator[str]:
        if shown is not None:
            spent = shown.usage
            yield f"the probe took {spent.requests:,} requests and {spent.prompt_tokens:,} prompt tokens"
        low, high = spread(self.objective, self.search)
        yield f"how long a search goes on is known only afterwards: runs take {low:g} to {high:g} times what is likely"
        if earlier.runs:
            runs = "run" if earlier.runs == 1 else "runs"
            yield (
                f"corrected by {earlier.runs} finished {runs} of this engine and model in {folder_of(config).parent}: "
                f"{earlier.requests:.2f} times the requests that were planned"
            )
        if not self.model.capabilities.batches and shown is None and not earlier.runs:
            yield "tokens are estimated from the length of the texts: --probe counts those of one prompt"
        pace = rates.pace
        if pace.source:
            yield f"minutes: {pace.source}"
        if old := old_prices(config):
            yield f"warning: {old}"


def _on_jobs(config: Config, waits: float) -> Iterator[str]:
    """What to know of a run by batch jobs that waits so many times."""
    if config.client.tier != "batch":
        return
    told = f"by batch jobs, about {max(1, round(waits)):,} one after the other, each of minutes to 24 hours"
    if config.prices is not None:
        told += "; money is half of what [prices] says"
        if config.model.provider.startswith("together:"):
            told += ", which together grants for some models: for others, state the double there"
    yield told


def _known(config: Config, rates: Rates, shown: Probed | None, earlier: Earlier) -> Rates:
    """The rates with what a probe or earlier runs showed, and a speed: stated, measured, or of earlier runs."""
    if shown is not None:
        requests = max(rates.requests, shown.requests)
        rates = replace(rates, requests=requests, tokens=shown.tokens or rates.tokens)
    client = config.client
    if client.tier == "batch":
        # How long a job waits says nothing of an answer.
        pace = Pace(client=client)
    elif client.latency is not None:
        pace = Pace(latency=client.latency, client=client, source=f"at {client.latency:g} s an answer, as stated")
        if shown is not None:
            pace = replace(pace, client=shown.pace.client)
    elif shown is not None:
        pace = shown.pace
    elif earlier.seconds is not None:
        each = f"{earlier.seconds:.3g} s a request, as the earlier runs took"
        pace = Pace(request=earlier.seconds, client=client, source=each)
    else:
        pace = Pace(client=client)
    return replace(rates, pace=pace)


def _times(wave: Wave, earlier: Earlier, shown: Probed | None) -> Wave:
    """What earlier runs make of it; how long prompts are, a probe knows better."""
    requests, tokens = earlier.requests, earlier.requests * (1.0 if shown is not None else earlier.tokens)
    return wave.times(requests, tokens)


async def planned(
    objective: Objective, search: SearchSettings, diagnostics: DiagnosticsSettings, start: Start, model: LanguageModel
) -> Mapping[str, Any]:
    """What a summary says of the plan, so that what a run took can be compared with it: nothing that changes with time.

    Args:
        objective: of the run.
        search: how it searches.
        diagnostics: how it judges.
        start: labels known beforehand.
        model: that is asked.
    """
    objective, start = _asked_about(objective, start, Aside(too_long(objective)))
    subject = _Subject(objective, search, diagnostics, start, model)
    rates = await stated_rates(objective, model)
    likely, most = rates.cost(subject.waves(rates)), subject.most(rates, None)
    return {
        "requests": likely.questions,
        "prompt_tokens": likely.prompt_tokens,
        "most_requests": most.requests,
        "most_prompt_tokens": most.prompt_tokens,
    }


def longest_prompt(dataset: Dataset, template: PromptTemplate, verbalizer: Verbalizer, model: Model) -> int:
    """Tokens of a prompt that shows all examples with their labels, cut to no window."""
    texts = [template.render(example) for example in dataset]
    answer = max((verbalizer.written(label) for label in verbalizer.labels), key=model.count_tokens)
    shown = sum(model.count_tokens(text + answer + template.separator) for text in texts)
    return shown + model.count_tokens(template.instruction + template.separator)
