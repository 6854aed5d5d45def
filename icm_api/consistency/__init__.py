"""What holds between examples: constraints become relations, and I(D) counts the relations a labeling breaks.

No gold label enters, no model is asked, and nothing here chooses a label.
"""

from icm_api.consistency.audit import Audit, ComponentAudit, ConstraintAudit, audit
from icm_api.consistency.constraints import (
    AbsentKeyError,
    asymmetric,
    compared,
    equivalent,
    exactly_one,
    implies,
    mutually_exclusive,
    transitive,
    value_of,
)
from icm_api.consistency.relations import MOST_WAYS, Relations, compile_relations, constraint_name

__all__ = [
    "MOST_WAYS",
    "AbsentKeyError",
    "Audit",
    "ComponentAudit",
    "ConstraintAudit",
    "Relations",
    "asymmetric",
    "audit",
    "compared",
    "compile_relations",
    "constraint_name",
    "equivalent",
    "exactly_one",
    "implies",
    "mutually_exclusive",
    "transitive",
    "value_of",
]
