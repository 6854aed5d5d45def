"""How the rest of a data set is labelled from its core: in stretches of whole units, one request an example.

Every request shows the same frozen demonstrations. Which stretches there are, and where their lines go, `rest_parts`
knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from icm_api.consistency import AbsentKeyError, Relations, compile_relations
from icm_api.errors import PromptError, ProviderError
from icm_api.evaluation import legal_posterior, scaled
from icm_api.objective import Objective, shifted
from icm_api.prompts import PromptBuilder
from icm_api.result import labelled
from icm_api.runs.aside import Aside, guilty, too_long
from icm_api.runs.frozen import Frozen
from icm_api.search.align import align, most_probable
from icm_api.types import Constraint, Dataset, Example, Label, LabelDistribution, Labeling, Tally

Stretch: TypeAlias = Sequence[Example]
Labelled: TypeAlias = tuple[Sequence[Mapping[str, Any]], Mapping[str, str]]
"""The lines of a stretch, and which of its examples are set aside, and why."""

_AHEAD = 2
"""Stretches under way, so that the slowest answers of one keep nobody waiting."""
_JOBS_AHEAD = 16
"""The same where each is a batch job."""
_KEPT = ("id", "label", "probability", "coverage", "group", "probabilities", "fixed", "calibrated", "abstained")


@dataclass(frozen=True, slots=True)
class Rest:
    """How the rest is labelled.

    Attributes:
        objective: over the core; gives prompts, model and labels.
        core: examples that the demonstrations are among.
        constraints: of the task.
        frozen: demonstrations and calibration.
        fixed: labels that a person gave to examples of the rest.
        abstain_below: labels less probable than this are marked as open.
    """

    objective: Objective
    core: Dataset
    constraints: Sequence[Constraint]
    frozen: Frozen
    fixed: Labeling
    abstain_below: float

    async def labelled(self, stretches: Sequence[Stretch], aside: Aside) -> AsyncGenerator[Labelled]:
        """The lines of some stretches, one after the other, while the next is asked about already.

        Args:
            stretches: whole units.
            aside: what is set aside before.

        Yields:
            The lines of a stretch, and which of its examples are set aside, and why.

        Raises:
            ProviderError: the endpoint cannot be used, or refuses more examples than is tolerated.
            PromptError: more examples than is tolerated are too long.
        """
        ahead = _JOBS_AHEAD if self.objective.model.capabilities.at_once > 1 else _AHEAD
        waiting, under_way = list(stretches), list[asyncio.Task[Labelled]]()
        try:
            while True:
                while len(under_way) < ahead and waiting:
                    under_way.append(asyncio.create_task(self._stretch(waiting.pop(0), aside)))
                if not under_way:
                    return
                found = await under_way.pop(0)
                aside = replace(aside, reasons={**aside.reasons, **found[1]})
                yield found
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _stretch(self, examples: Stretch, aside: Aside) -> Labelled:
        """The lines of some whole units, and which of them are set aside, and why."""
        builder = self.objective.prompts
        # A builder keeps what it rendered: of the rest, only as long as it is asked about.
        prompts = PromptBuilder(builder.template, builder.verbalizer, builder.count_tokens, builder.context_window)
        asked = replace(self.objective, dataset=Dataset(examples), prompts=prompts, tally=Tally())
        reasons = too_long(asked)
        if reasons:
            aside.with_more(PromptError("too long"), reasons)
        shown = prompts.after(self.frozen.shown(self.core))
        while True:
            left = [example for example in examples if example.id not in reasons]
            try:
                reads = await asked.read([shown.prompt(example) for example in left]) if left else ()
                break
            except ProviderError as error:
                most = aside.most - len(aside.reasons) - len(reasons)
                found = await guilty(error, asked, most)
                aside.with_more(error, {**reasons, **found} if found else {})
                reasons |= found
        predicted = dict(zip([example.id for example in left], reads, strict=True))
        rows = self._labelled(Dataset(left), predicted) if left else {}
        lines = [rows.get(example.id) or {"id": example.id, "set_aside": reasons[example.id]} for example in examples]
        return lines, reasons

    def _labelled(self, dataset: Dataset, predicted: Mapping[str, LabelDistribution]) -> dict[str, dict[str, Any]]:
        """The best legal labels of each component, and how sure they are."""
        fixed = Labeling({key: self.fixed[key] for key in dataset.ids if key in self.fixed})
        relations = self._relations(dataset)
        calibrated = {key: shifted(read, self.frozen.shifts) for key, read in predicted.items()}
        free = {key: read for key, read in calibrated.items() if key not in fixed}
        labels = align(replace(self.objective, dataset=dataset, relations=relations), free, fixed, most_probable)
        sure = legal_posterior(calibrated, relations) if len(relations) else calibrated
        return {
            example.id: self._row(example, labels[example.id], predicted[example.id], sure[example.id])
            for example in dataset
        }

    def _row(self, example: Example, label: Label, read: LabelDistribution, sure: LabelDistribution) -> dict[str, Any]:
        final = scaled(sure, self.frozen.temperature)
        fixed = example.id in self.fixed
        row = replace(
            labelled(example, label, read, fixed=fixed),
            calibrated={name: round(final.probability(name), 6) for name in final.labels},
            abstained=final.probability(label) < self.abstain_below and not fixed,
        )
        return {name: getattr(row, name) for name in _KEPT}

    def _relations(self, dataset: Dataset) -> Relations:
        labels = self.objective.labels

        def reads_something(constraint: Constraint) -> bool:
            try:
                compile_relations(dataset, labels, [constraint])
            except AbsentKeyError:
                return False
            return True

        return compile_relations(dataset, labels, [each for each in self.constraints if reads_something(each)])
