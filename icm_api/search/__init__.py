"""The search for the labeling with the largest U(D): engines as kernels, proposals, repairs, the loop over steps."""

from icm_api.search.anneal import consistency_fix
from icm_api.search.engines import ENGINES, Engine, build_kernel, engine_of, steps_of
from icm_api.search.estimating import Believed, believed, estimator_of, in_its_place
from icm_api.search.forecast import Asked, Forecast
from icm_api.search.kernel import Info, Kernel, State
from icm_api.search.loop import (
    Found,
    Progress,
    build_objective,
    iterate,
    result_of,
    search,
    search_labels,
)
from icm_api.search.start import Start, calibration_of, make_start, refuse_folder

__all__ = [
    "ENGINES",
    "Asked",
    "Believed",
    "Engine",
    "Forecast",
    "Found",
    "Info",
    "Kernel",
    "Progress",
    "Start",
    "State",
    "believed",
    "build_kernel",
    "build_objective",
    "calibration_of",
    "consistency_fix",
    "engine_of",
    "estimator_of",
    "in_its_place",
    "iterate",
    "make_start",
    "refuse_folder",
    "result_of",
    "search",
    "search_labels",
    "steps_of",
]
