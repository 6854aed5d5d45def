"""The work of a run between its inputs and its result: check the endpoint, search, judge what was found.

Examples that are too long are set aside first. Those that the model refuses are on the way, and the search begins anew
without them: what was answered comes from the cache. Nothing is written or shown here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from icm_api.config import DiagnosticsSettings, SearchSettings
from icm_api.errors import BudgetError, PromptError, ProviderError
from icm_api.model import LanguageModel, check_endpoint
from icm_api.model.checking import window_warning
from icm_api.model.reading.coverage import coverage_warning
from icm_api.objective import Objective
from icm_api.result import LABELS_FILE, Result
from icm_api.runs.aside import Aside, too_long
from icm_api.runs.judging import Trail, judged, with_zero_shot
from icm_api.runs.rates import longest_prompt
from icm_api.search import Found, Progress, Start, believed, result_of
from icm_api.search import search as search_engine
from icm_api.types import Model
from icm_api.wording import count_of


@dataclass(frozen=True, slots=True)
class Watch:
    """What a caller may want to hear of while a run goes on.

    Attributes:
        on_step: called after every step, those taken again in a resume included.
        on_resume: called once before a resume goes on, with the steps on disk and the torn bytes dropped.
        on_warning: called with what to know of the endpoint before the run begins, of examples that are set aside, and
            of labels that were not judged.
        on_judging: called when the search is over, and its labels are about to be judged.
        on_model: called once with the model that is asked, before anything is.
        on_part: called after each part of the rest with the examples that are labelled, and all of them.
    """

    on_step: Callable[[Progress], None] = lambda progress: None
    on_resume: Callable[[int, int], None] = lambda steps, torn: None
    on_warning: Callable[[str], None] = lambda warning: None
    on_judging: Callable[[], None] = lambda: None
    on_model: Callable[[Model], None] = lambda model: None
    on_part: Callable[[int, int], None] = lambda done, total: None


_MOST_NAMED = 5

_SHORT_PROMPT = 512
"""Tokens."""
UNWATCHED = Watch()
"""For a caller who wants to hear of nothing."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run searches, and how.

    Attributes:
        objective: over all examples.
        start: labels known beforehand.
        settings: of the search.
        diagnostics: how much to spend on judging.
        witness: another model that scores the labels found once more; None for none.
    """

    objective: Objective
    start: Start
    settings: SearchSettings
    diagnostics: DiagnosticsSettings
    witness: Model | None = None

    async def result(self, aside: Aside, watch: Watch, anew: Callable[[Aside], None] = lambda aside: None) -> Result:
        """Label the examples, and judge the labels.

        Args:
            aside: examples that are set aside from the start, and how many may be.
            watch: what to hear of.
            anew: called before the search begins anew, with all that is set aside then.

        Raises:
            PromptError: more examples than is tolerated are too long for the context window.
            ProviderError: the endpoint cannot be used, or refuses more examples than is tolerated.
            BudgetError: the next request could exceed the budget.
        """
        watch.on_model(self.objective.model)

        def told(fewer: Aside) -> Aside:
            anew(fewer)
            for key, reason in fewer.since(aside).items():
                watch.on_warning(f"example {key!r} is set aside: {reason}")
            return fewer

        long = {key: why for key, why in too_long(self.objective).items() if key not in aside.reasons}
        if long:
            aside = told(aside.with_more(PromptError("too long"), long))
        verbalizer = self.objective.prompts.verbalizer
        # What only the check asks for is no cost of the search.
        for warning in await check_endpoint(self.objective.model, verbalizer, self.objective.tally.part()):
            watch.on_warning(warning)
        if self.witness is not None:
            # Before anything is paid for, not when the search is over.
            for warning in await check_endpoint(self.witness, verbalizer, self.objective.tally.part()):
                watch.on_warning(f"the witness: {warning}")
        if shorter := await _window_warning(self.objective):
            watch.on_warning(shorter)
        for warning in self.start.clashes(self.objective.relations):
            watch.on_warning(warning)
        while True:
            objective, start = aside.without(self.objective, self.start)
            trail = Trail()
            try:
                objective, doubt = await believed(objective, self.settings)
                found = await self._found(objective, start, trail, watch, doubt)
                break
            except ProviderError as error:
                aside = told(await aside.blaming(error, objective))
        watch.on_judging()
        unknown = [key for key, read in found.score.distributions.items() if read.unknown]
        if unknown:
            watch.on_warning(_about_unknown(unknown))
        result = result_of(found, self.settings)
        if aside.reasons:
            listed = dict(sorted(aside.reasons.items()))
            result = replace(result, about={**result.about, "set_aside": listed})
        return await self._judged(found, result, trail, watch)

    async def _found(self, objective: Objective, start: Start, trail: Trail, watch: Watch, doubt: str) -> Found:
        def step(progress: Progress) -> None:
            if progress.info.step == 0:
                if doubt:
                    # Only now: an endpoint that cannot be used at all has an error of its own.
                    watch.on_warning(doubt)
                told = coverage_warning(
                    tuple(progress.state.score.distributions.values()),
                    objective.prompts.verbalizer,
                    instruction=objective.prompts.template.instruction,
                    options=objective.model.capabilities.options,
                )
                if told:
                    watch.on_warning(told)
            watch.on_step(progress)
            trail.add(progress.state.labeling)

        return await search_engine(objective, self.settings, start, step)

    async def _judged(self, found: Found, result: Result, trail: Trail, watch: Watch) -> Result:
        try:
            result = await with_zero_shot(found, result, self.settings)
            if self.diagnostics.enabled:
                result = await judged(found, result, trail, self.diagnostics, self.settings.seed, self.witness)
        except (BudgetError, ProviderError) as error:
            if isinstance(error, ProviderError) and not error.unanswered:
                raise
            # The labels are complete, and paid for.
            watch.on_warning(f"the labels are written, but not judged: {error}")
        return result


def _about_unknown(ids: Sequence[str]) -> str:
    named = ", ".join(map(repr, ids[:_MOST_NAMED])) + (", ..." if len(ids) > _MOST_NAMED else "")
    return (
        f"{count_of(len(ids), 'label')} that the model said nothing of, as it listed no label (coverage 0 in "
        f"{LABELS_FILE}): {named}"
    )


async def _window_warning(objective: Objective) -> str | None:
    """What to say if the server's window is shorter than the prompts may be, so that the run does not die late."""
    model = objective.model
    if not isinstance(model, LanguageModel):
        return None
    needed = longest_prompt(objective, model)
    # Shorter ones fit any server's window, so that none has to be asked for.
    stated = await model.stated_window() if needed > _SHORT_PROMPT else None
    return None if stated is None else window_warning(stated, model.capabilities, needed)
