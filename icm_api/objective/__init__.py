"""P(D), I(D) and U(D): estimators of mutual predictability, and the objective that the search maximises."""

from icm_api.objective.calibration import CENTRES, Calibration, pooled, shares, shifted
from icm_api.objective.estimator import Estimate, Estimator, Lengths
from icm_api.objective.information import Term, explained, information, information_terms
from icm_api.objective.joint import Joint
from icm_api.objective.leave_one_out import LeaveOneOut, leave_one_out_context
from icm_api.objective.shared import Shared
from icm_api.objective.utility import INFORMATION, STATISTICS, Objective

__all__ = [
    "CENTRES",
    "INFORMATION",
    "STATISTICS",
    "Calibration",
    "Estimate",
    "Estimator",
    "Joint",
    "LeaveOneOut",
    "Lengths",
    "Objective",
    "Shared",
    "Term",
    "explained",
    "information",
    "information_terms",
    "leave_one_out_context",
    "pooled",
    "shares",
    "shifted",
]
