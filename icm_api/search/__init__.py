"""The search for the labeling with the largest U(D): kernels, proposals, repairs, and the loop over steps."""

from icm_api.search.draws import draw
from icm_api.search.fix import consistency_fix
from icm_api.search.kernel import Info, Kernel, State
from icm_api.search.loop import Progress, Task, build_kernel, build_objective, iterate, search_labels

__all__ = [
    "Info",
    "Kernel",
    "Progress",
    "State",
    "Task",
    "build_kernel",
    "build_objective",
    "consistency_fix",
    "draw",
    "iterate",
    "search_labels",
]
