"""The `[[constraints]]` tables of a configuration, one class a kind. What they mean is in `icm_api.consistency`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from icm_api.config.sections import Section


class ConstraintSection(Section):
    """Fields that every `[[constraints]]` table has."""

    weight: float = Field(default=1.0, gt=0)


class MutuallyExclusive(ConstraintSection):
    """Two different answers of a group cannot both have the label."""

    kind: Literal["mutually_exclusive"]
    label: str
    by: str = "answer"


class Equivalent(ConstraintSection):
    """Equal answers of a group have equal labels."""

    kind: Literal["equivalent"]
    by: str = "answer"


class Implies(ConstraintSection):
    """One label forces another on the examples that metadata key `to` names."""

    kind: Literal["implies"]
    if_label: str
    then_label: str
    to: str = "implies"


class Asymmetric(ConstraintSection):
    """A pair and its swapped copy cannot both have the label."""

    kind: Literal["asymmetric"]
    label: str
    first: str = "left"
    second: str = "right"
    total: bool = False


class ExactlyOne(ConstraintSection):
    """One example of each group has the label."""

    kind: Literal["exactly_one"]
    label: str


class Transitive(ConstraintSection):
    """a over b and b over c force a over c."""

    kind: Literal["transitive"]
    label: str
    first: str = "left"
    second: str = "right"


Constraints = Annotated[
    MutuallyExclusive | Equivalent | Implies | Asymmetric | ExactlyOne | Transitive,
    Field(discriminator="kind"),
]
