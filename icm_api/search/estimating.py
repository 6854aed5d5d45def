"""Which estimator of P(D) a search rests on: the one that the settings name, or the cheapest that the model allows.

`rounds` averages over many scores in different orders, so that a cheap estimate of each does: `joint` where the model
gives logprobs of its prompts, else `shared` if there are more examples than one of its contexts shows. The other
engines compare single scores, and by default do so exactly.
"""

from __future__ import annotations

from icm_api.config import SearchSettings
from icm_api.objective import Estimator, Joint, LeaveOneOut, Shared
from icm_api.types import Model

LEAST_SHOWN, MOST_SHOWN = 16, 64
"""Demonstrations in a context of `shared`, if nobody says: a quarter of the examples within these bounds."""


def estimator_of(settings: SearchSettings, model: Model, size: int, *, inside: bool = True) -> Estimator:
    """The estimator of a search.

    Args:
        settings: of the search.
        model: whom to ask.
        size: examples in the data set.
        inside: whether logprobs of prompts may be used, if the model gives any and the settings leave it open.

    Example:
        >>> from icm_api.config import SearchSettings
        >>> estimator_of(SearchSettings(estimator="shared"), None, 100).demonstrations
        25
    """
    name = settings.estimator
    shown = settings.demonstrations or min(max(size // 4, LEAST_SHOWN), MOST_SHOWN)
    if name == "auto":
        name = "leave_one_out"
        if settings.engine == "rounds":
            name = "joint" if inside and model.capabilities.prompt_logprobs else "shared"
        if name == "shared" and size <= 2 * shown:
            name = "leave_one_out"
    if name == "joint":
        return Joint()
    return Shared(settings.folds, shown) if name == "shared" else LeaveOneOut()
