"""The engines: a row each, with all that the rest of the library needs to know of one.

To add an engine, write its kernel (`init` and `step`, see `kernel`) and add its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from icm_api.config import SearchSettings
from icm_api.errors import ConfigError
from icm_api.objective import Objective
from icm_api.search import forecast
from icm_api.search.anneal import Annealing
from icm_api.search.component_anneal import ComponentAnnealing
from icm_api.search.folds import Folds
from icm_api.search.forecast import Forecast
from icm_api.search.gibbs import Gibbs
from icm_api.search.kernel import Kernel
from icm_api.search.restarts import Bootstrap, Restarts
from icm_api.search.rounds import Rounds
from icm_api.search.start import Start, calibration_of


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to search.

    Attributes:
        name: as `[search] engine` says it.
        settings: keys of `[search]` that this engine reads and not every other one does.
        kernel: makes its kernel of the objective, the settings and the labels known beforehand.
        steps: how many steps it takes on a data set of n examples if the settings do not say.
        likely: what it is likely to ask for in so many steps.
        end: which of a restart's labelings is its end: the best one, or the last where steps score in different orders
            of demonstrations, so that the largest value may be a lucky order.
    """

    name: str
    settings: frozenset[str]
    kernel: Callable[[Objective, SearchSettings, Start], Kernel]
    steps: Callable[[SearchSettings, int], int]
    likely: Callable[[Objective, SearchSettings, Start, int], Forecast]
    end: Literal["best", "last"] = "best"


def _annealing(objective: Objective, settings: SearchSettings, start: Start) -> Kernel:
    if settings.moves == "single":
        return Annealing(objective, settings, start)
    return ComponentAnnealing(objective, settings, steps_of(settings, len(objective.dataset)), start)


def _rounds(objective: Objective, settings: SearchSettings, start: Start) -> Kernel:
    return Rounds(objective, settings, start)


def _bootstrap(objective: Objective, settings: SearchSettings, start: Start) -> Kernel:
    return Restarts(objective, settings, start, Bootstrap(objective, settings, start))


def _folds(objective: Objective, settings: SearchSettings, start: Start) -> Kernel:
    return Restarts(objective, settings, start, Folds(objective, settings, start))


def _gibbs(objective: Objective, settings: SearchSettings, start: Start) -> Kernel:
    return Restarts(objective, settings, start, Gibbs(objective, settings, start))


def _annealing_likely(objective: Objective, settings: SearchSettings, start: Start, steps: int) -> Forecast:
    found = forecast.paper if settings.moves == "single" else forecast.annealing
    return found(objective, settings, start, steps)


def _annealing_steps(settings: SearchSettings, size: int) -> int:
    return max(300, 6 * size)


def _round_steps(settings: SearchSettings, size: int) -> int:
    # Beginning anew takes a step of its own; the first beginning is step 0.
    return settings.restarts * (settings.rounds + 1) - 1


def _chosen_steps(settings: SearchSettings, size: int) -> int:
    # One more step chooses between all ends.
    return _round_steps(settings, size) + 1


_SCHEDULE = frozenset({"initial_temperature", "minimum_temperature", "cooling"})
_ANNEAL = _SCHEDULE | {"preset", "moves", "cool_by", "related_weight", "repairs"}
_ANNEAL |= {"growth", "patience", "growth_patience"}
_ROUNDS = frozenset({"rounds"})

ENGINES: Mapping[str, Engine] = MappingProxyType(
    {
        engine.name: engine
        for engine in (
            Engine("rounds", _ROUNDS | {"calibration", "prior"}, _rounds, _chosen_steps, forecast.rounds, "last"),
            Engine("anneal", _ANNEAL, _annealing, _annealing_steps, _annealing_likely),
            Engine("bootstrap", _ROUNDS, _bootstrap, _round_steps, forecast.bootstrap),
            Engine("folds", _ROUNDS | {"folds"}, _folds, _round_steps, forecast.folds),
            Engine("gibbs", _ROUNDS | _SCHEDULE, _gibbs, _round_steps, forecast.gibbs),
        )
    }
)


def engine_of(settings: SearchSettings) -> Engine:
    """The engine that the settings name.

    Args:
        settings: of the search.

    Raises:
        ConfigError: there is no engine of that name.
    """
    if settings.engine not in ENGINES:
        near = get_close_matches(settings.engine, ENGINES)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(f"search.engine: unknown engine {settings.engine!r}; {hint}known: {', '.join(ENGINES)}")
    return ENGINES[settings.engine]


def steps_of(settings: SearchSettings, size: int) -> int:
    """The most steps of a search: as the settings say, else enough that every restart can finish.

    Args:
        settings: of the search.
        size: examples in the data set.

    Raises:
        ConfigError: there is no engine of that name.

    Example:
        >>> steps_of(SearchSettings(engine="anneal"), 100), steps_of(SearchSettings(restarts=2, rounds=5), 100)
        (600, 12)
    """
    return engine_of(settings).steps(settings, size) if settings.steps is None else settings.steps


def build_kernel(objective: Objective, settings: SearchSettings, start: Start | None = None) -> Kernel:
    """The kernel that the settings name.

    Args:
        objective: U(D).
        settings: of the search.
        start: labels known beforehand.

    Raises:
        ConfigError: there is no engine of that name, or a setting of it does not fit the data set.
    """
    calibration_of(settings).check(objective.labels)
    return engine_of(settings).kernel(objective, settings, start or Start())
