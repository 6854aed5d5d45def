"""Pieces of a run as plain values, which a worker in another process or on another machine makes a model's work of.

Nothing here knows how they get there. Constraints travel as the configuration that they are made from, or as the
relations that were found with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from icm_api.config import Config, DiagnosticsSettings, SearchSettings
from icm_api.consistency import Relations
from icm_api.model import LanguageModel
from icm_api.objective import Objective
from icm_api.prompts import PromptBuilder
from icm_api.result import Result
from icm_api.runs.aside import Aside
from icm_api.runs.executing import Heard, Here
from icm_api.runs.frozen import Frozen
from icm_api.runs.parts import build_task
from icm_api.runs.rest import Rest, Stretch
from icm_api.runs.searching import Work
from icm_api.search import Start
from icm_api.search.estimating import estimator_of
from icm_api.types import Dataset, Example, Labeling

Plain: TypeAlias = tuple[str, Mapping[str, str], str | None, str | None, Mapping[str, Any]]
"""An example: id, fields, group, answer, metadata."""
Tell: TypeAlias = Callable[[str, Any], None]
"""Takes what a piece has to say: a kind, and a value."""
STEP, WARNING, ANEW, STRETCH = "step", "warning", "anew", "stretch"


def plain(examples: Sequence[Example] | Dataset) -> tuple[Plain, ...]:
    """Examples as plain values.

    Args:
        examples: any.
    """
    return tuple((each.id, dict(each.fields), each.group, each.answer, dict(each.metadata)) for each in examples)


def _objective(
    config: Config,
    search: SearchSettings,
    model: LanguageModel,
    dataset: Dataset,
    relations: Relations,
    statistic: str,
) -> Objective:
    task = build_task(config)
    prompts = PromptBuilder(task.template, task.verbalizer, model.count_tokens, model.capabilities.context_window)
    estimator = estimator_of(search, model, len(dataset), len(task.verbalizer.labels))
    return Objective(dataset, prompts, model, relations, search.alpha, statistic, estimator)


@dataclass(frozen=True, slots=True)
class BatchPiece:
    """A batch to search.

    Attributes:
        examples: of the batch.
        relations: among them.
        statistic: that is maximised.
        start: labels known beforehand.
        search: how to search, as the run says to which the batch belongs.
        diagnostics: how much to spend on judging, likewise.
        aside: what is set aside from the start, and how many examples may be.
    """

    examples: tuple[Plain, ...]
    relations: Relations
    statistic: str
    start: Start
    search: SearchSettings
    diagnostics: DiagnosticsSettings
    aside: Aside

    @classmethod
    def of(cls, work: Work, aside: Aside) -> BatchPiece:
        """From the work that this process would do.

        Args:
            work: of the batch.
            aside: what is set aside from the start, and how many examples may be.
        """
        objective = work.objective
        return cls(
            plain(objective.dataset),
            objective.relations,
            objective.statistic,
            work.start,
            work.settings,
            work.diagnostics,
            aside,
        )

    async def done(self, config: Config, models: tuple[LanguageModel, LanguageModel | None], tell: Tell) -> Result:
        """Search it.

        Args:
            config: of the run.
            models: the model, and the witness if there is one.
            tell: takes steps, warnings, and when it begins anew.
        """
        model, witness = models
        dataset = Dataset(Example(*each) for each in self.examples)
        objective = _objective(config, self.search, model, dataset, self.relations, self.statistic)
        work = Work(objective, self.start, self.search, self.diagnostics, witness)
        heard = Heard(
            lambda line: tell(STEP, line), lambda warning: tell(WARNING, warning), lambda aside: tell(ANEW, aside)
        )
        return await Here().search(work, self.aside, heard)


@dataclass(frozen=True, slots=True)
class Shown:
    """What all parts of the rest are labelled from.

    Attributes:
        examples: the demonstrations.
        frozen: their labels, and the calibration.
        fixed: labels that a person gave to examples of the rest.
        statistic: of the core.
    """

    examples: tuple[Plain, ...]
    frozen: Frozen
    fixed: Labeling
    statistic: str

    @classmethod
    def of(cls, rest: Rest) -> Shown:
        """From how this process would label the rest.

        Args:
            rest: that.
        """
        shown = [rest.core.get(key) for key, _ in rest.frozen.demonstrations]
        return cls(plain(shown), rest.frozen, rest.fixed, rest.objective.statistic)


@dataclass(frozen=True, slots=True)
class PartPiece:
    """Stretches of the rest to label.

    Attributes:
        stretches: whole units each.
        aside: what is set aside by now.
    """

    stretches: tuple[tuple[Plain, ...], ...]
    aside: Aside

    @classmethod
    def of(cls, stretches: Sequence[Stretch], aside: Aside) -> PartPiece:
        """From what this process would label.

        Args:
            stretches: of the rest.
            aside: what is set aside by now.
        """
        return cls(tuple(map(plain, stretches)), aside)

    async def done(self, config: Config, model: LanguageModel, shown: Shown, tell: Tell) -> None:
        """Label them.

        Args:
            config: of the run.
            model: whom to ask.
            shown: from what.
            tell: takes the lines of each stretch.
        """
        task, core = build_task(config), Dataset(Example(*each) for each in shown.examples)
        relations = Relations((), core.ids, task.verbalizer.labels)
        objective = _objective(config, config.search, model, core, relations, shown.statistic)
        rest = Rest(objective, core, task.constraints, shown.frozen, shown.fixed, config.diagnostics.abstain_below)
        stretches = [[Example(*each) for each in stretch] for stretch in self.stretches]
        async with aclosing(rest.labelled(stretches, self.aside)) as found:
            async for labelled in found:
                tell(STRETCH, labelled)
