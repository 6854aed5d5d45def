"""P(D), I(D) and U(D): estimators of mutual predictability, and the objective that the search maximises."""

from icm_api.objective.estimator import Estimate, Estimator
from icm_api.objective.leave_one_out import LeaveOneOut, leave_one_out_context
from icm_api.objective.utility import STATISTICS, Objective

__all__ = ["STATISTICS", "Estimate", "Estimator", "LeaveOneOut", "Objective", "leave_one_out_context"]
