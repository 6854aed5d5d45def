"""The plan of one search: what it is likely to take, and at most, from what is known of speed, tokens and earlier runs.

It does not: open data or a model, or send anything (that is `planning`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

from icm_api.config import Config, DiagnosticsSettings, SearchSettings
from icm_api.evaluation import judged_anyway, likely_of_judging
from icm_api.model import LanguageModel
from icm_api.model.client.meter import cost
from icm_api.objective import Joint, Objective
from icm_api.runs.earlier import Earlier, earlier_runs
from icm_api.runs.folder import folder_of
from icm_api.runs.frozen import HELD_OUT
from icm_api.runs.pace import Pace, Wave
from icm_api.runs.parts import old_prices
from icm_api.runs.rates import Cost, Probed, Rates, largest, longest_prompt, measured_lengths
from icm_api.search import Asked, Start, build_kernel, engine_of, in_its_place, steps_of
from icm_api.search.estimating import TURNS, exact_too
from icm_api.search.forecast import spread
from icm_api.types import Usage
from icm_api.wording import count_of

_MARGIN = 1.125


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


@dataclass(frozen=True, slots=True)
class Subject:
    """One search of which a plan is made: with the judging after it, and `others` labelled from it."""

    objective: Objective
    search: SearchSettings
    diagnostics: DiagnosticsSettings
    start: Start
    model: LanguageModel
    batches: int = 1
    rest: Asked | None = None
    others: int = 0

    def plan(self, config: Config, rates: Rates, shown: Probed | None) -> Plan:
        steps = steps_of(self.search, len(self.objective.dataset))
        earlier = self.earlier(config)
        rates = _known(config, rates, shown, earlier)
        waves = [_times(wave.times(self.batches), earlier, shown) for wave in self.waves(rates)]
        if self.rest is not None:
            waves.append(rates.wave(self.rest, self.objective, measured_lengths(self.objective, self.model)))
        likely, most, longest = rates.cost(waves), self.most_in_any_case(rates, shown), self.longest()
        likely = likely.at_most(most, None if rates.prices is None else cost(most, rates.prices))
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

    def earlier(self, config: Config) -> Earlier:
        """What finished runs of this search took."""
        name, judged = self.objective.estimator.name, config.diagnostics.enabled
        return earlier_runs(folder_of(config), self.search, name, self.model.identity, judged)

    @property
    def in_its_place(self) -> Subject | None:
        """The same search as it goes on if the model's prompt logprobs prove wrong; None if that can't be."""
        other = in_its_place(self.objective, self.search)
        return None if other is None else replace(self, objective=other)

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
        lengths = {noise: measured_lengths(objective, self.model, noise=noise) for noise in (False, True)}

        def wave(each: Asked) -> Wave:
            return rates.wave(each, objective, lengths[each.noise])

        search = [wave(each) for each in asked]
        judged: list[Asked] = []
        if self.diagnostics.enabled:
            searched = sum((each.usage for each in search), Usage())
            judged = [
                *judged_anyway(objective, self.diagnostics, start),
                *likely_of_judging(
                    objective,
                    self.diagnostics,
                    searched,
                    lambda each: wave(each).usage,
                    ordered=self.search.engine == "rounds",
                ),
            ]
        once = Wave(Usage(rates.once), float(bool(rates.once)))
        # The endpoint is checked first.
        checks = 0.0 if self.model.capabilities.batches else 1.0 + self.compared
        check = wave(Asked(0, questions=checks, waits=float(bool(checks))))
        return [once, check, *search, *map(wave, judged)]

    @property
    def exact(self) -> bool:
        """Whether the labels handed out are scored by leave-one-out besides."""
        return exact_too(self.objective, self.search)

    @property
    def compared(self) -> int:
        """Requests by which labels inside prompts are compared with next tokens, before a search rests on them."""
        joint = isinstance(self.objective.estimator, Joint)
        return 1 + TURNS if joint and not self.model.capabilities.batches else 0

    def most_in_any_case(self, rates: Rates, shown: Probed | None) -> Usage:
        """The most that it takes, whatever is found out about the model's prompt logprobs."""
        most, other = self.most(rates, shown), self.in_its_place
        if other is None:
            return most
        pairs = zip(astuple(most), astuple(other.most(rates, shown)), strict=True)
        return Usage(*(max(pair) for pair in pairs))

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
        whole = round(requests * (self.longest() + sum(rates.frames)) * tokens)
        return Usage(requests + rates.once, whole, requests * rates.reply)

    def longest(self) -> int:
        return min(self.model.capabilities.context_window, longest_prompt(self.objective, self.model))

    def _instead(self, rates: Rates) -> str:
        """What is likely if the model's prompt logprobs prove wrong; empty if that can't be."""
        other = self.in_its_place
        if other is None:
            return ""
        likely, prices = rates.cost([wave.times(self.batches) for wave in other.waves(rates)]), rates.prices
        paid = "" if likely.money is None or prices is None else f", {likely.money:,.2f} {prices.currency}"
        return (
            f"if the model's prompt logprobs prove wrong as the run begins, {other.objective.estimator.name} takes the "
            f"place of joint: likely {count_of(likely.requests, 'request')}, "
            f"{count_of(likely.prompt_tokens, 'prompt token')}{paid}; icm-api probe says whether they are right"
        )

    def _notes(self, config: Config, rates: Rates, shown: Probed | None, earlier: Earlier) -> Iterator[str]:
        if shown is not None:
            spent = shown.usage
            tokens = count_of(spent.prompt_tokens, "prompt token")
            yield f"the probe took {count_of(spent.requests, 'request')} and {tokens}"
        if instead := self._instead(rates):
            yield instead
        low, high = spread(self.objective, self.search, self.start)
        yield f"how long a search goes on is known only afterwards: runs take {low:g} to {high:g} times what is likely"
        if earlier.runs:
            runs = "run" if earlier.runs == 1 else "runs"
            yield (
                f"corrected by {earlier.runs} finished {runs} of this engine and model in {folder_of(config).parent}: "
                f"{earlier.requests:.2f} times the requests that were planned"
            )
        if not self.model.capabilities.batches and shown is None and not earlier.runs:
            labels = "" if self.model.capabilities.method == "decisions" else ", and each label is taken for one token"
            yield f"tokens are estimated from the length of the texts{labels}: --probe sends one prompt and counts"
        if self.model.capabilities.alike:
            yield "what the questions of a request share is counted once: icm-api probe says whether the host does that"
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
