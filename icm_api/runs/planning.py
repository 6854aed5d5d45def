"""What a run is likely to take, and what it may take at most, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from icm_api.config import Config, CoreSection, DiagnosticsSettings, SearchSettings
from icm_api.errors import ConfigError
from icm_api.model import LanguageModel
from icm_api.objective import Joint, Objective
from icm_api.runs.aside import Aside, too_long
from icm_api.runs.cutting import Large
from icm_api.runs.executing import PARTS_BY_JOBS
from icm_api.runs.forecast import Plan, Subject
from icm_api.runs.frozen import sizes_of
from icm_api.runs.parts import open_model, prices_of
from icm_api.runs.rates import probed, stated_rates
from icm_api.search import ENGINES, Asked, Start, build_objective, estimator_of

_ESTIMATORS = [name for name in get_args(SearchSettings.model_fields["estimator"].annotation) if name != "auto"]
# What belongs to one way of searching, and is left out when others are compared with it.
_OWN = {"preset": "default", "moves": "groups", "calibration": None, "prior": None, "steps": None}


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
        shown_to_rest, held_out = sizes_of(cut.dataset, (config.core or CoreSection()).demonstrations)
        waits = -(-cut.split.parts // PARTS_BY_JOBS) if cut.split and config.client.tier == "batch" else 1.0
        rest = None if cut.split is None else Asked(shown_to_rest, questions=cut.split.rest + held_out, waits=waits)
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
            left = 0 if cut.split is None else cut.split.rest
            batches = max(1, len(cut.batches))
            subject = Subject(asked, search, config.diagnostics, known, model, batches, rest, left)
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
    subject = Subject(objective, search, diagnostics, start, model)
    rates = await stated_rates(objective, model)
    likely, most = rates.cost(subject.waves(rates)), subject.most_in_any_case(rates, None)
    return {
        "estimator": objective.estimator.name,
        "requests": likely.questions,
        "prompt_tokens": likely.prompt_tokens,
        "most_requests": most.requests,
        "most_prompt_tokens": most.prompt_tokens,
    }
