"""The `[[constraints]]` tables of a configuration, one class a kind. What they mean is in `icm_api.consistency`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from icm_api.config.section import Section


class ConstraintSection(Section):
    """Fields that every `[[constraints]]` table has.

    Attributes:
        weight: what each broken relation adds to I(D).
    """

    weight: float = Field(default=1.0, gt=0)


class MutuallyExclusive(ConstraintSection):
    """Two different answers of a group cannot both have the label.

    Attributes:
        label: the label.
        by: key of what differs: "answer", a field, or metadata.
    """

    kind: Literal["mutually_exclusive"]
    label: str
    by: str = "answer"


class Equivalent(ConstraintSection):
    """Equal answers of a group have equal labels.

    Attributes:
        by: key of what is equal: "answer", a field, or metadata.
    """

    kind: Literal["equivalent"]
    by: str = "answer"


class Implies(ConstraintSection):
    """One label forces another on the examples that metadata key `to` names.

    Attributes:
        if_label: the label that forces.
        then_label: the label that is forced.
        to: key of the ids of the examples that it is forced on.
    """

    kind: Literal["implies"]
    if_label: str
    then_label: str
    to: str = "implies"


class Asymmetric(ConstraintSection):
    """A pair and its swapped copy cannot both have the label.

    Attributes:
        label: the label that says that the first thing wins.
        first: key of the first thing of a pair.
        second: key of the second thing of a pair.
        total: they cannot both lack the label either.
    """

    kind: Literal["asymmetric"]
    label: str
    first: str = "left"
    second: str = "right"
    total: bool = False


class ExactlyOne(ConstraintSection):
    """One example of each group has the label.

    Attributes:
        label: the label.
    """

    kind: Literal["exactly_one"]
    label: str


class Transitive(ConstraintSection):
    """a over b and b over c force a over c.

    Attributes:
        label: the label that says that the first thing wins.
        first: key of the first thing of a pair.
        second: key of the second thing of a pair.
    """

    kind: Literal["transitive"]
    label: str
    first: str = "left"
    second: str = "right"


Constraints = Annotated[
    MutuallyExclusive | Equivalent | Implies | Asymmetric | ExactlyOne | Transitive,
    Field(discriminator="kind"),
]
