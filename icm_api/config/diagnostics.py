"""The `[diagnostics]` table: how much a run spends on judging its own labels. How it does is `icm_api.evaluation`'s."""

from __future__ import annotations

from pydantic import Field

from icm_api.config.section import Section


class DiagnosticsSettings(Section):
    """`[diagnostics]`: how the labels found are judged without gold. With n examples, each unit below is n requests.

    Attributes:
        enabled: judge at all.
        shuffles: labelings with the same labels in other places, to hold the labels found against.
        orders: other orders of the demonstrations.
        rounds: of each of the two second opinions, which start from the model's zero-shot predictions.
        renamings: other ways to name the labels, where there are more than two; with two there is one.
        ends: of other restarts, at most, that are scored again (answered by the cache where the search scored them).
        contested: how many of the most contested examples are listed.
        abstain_below: labels less probable than this, calibrated, are marked as open ("don't know").
        per_group: the most examples of one group that are put forward to a person.
    """

    enabled: bool = True
    shuffles: int = Field(default=4, ge=2)
    orders: int = Field(default=2, ge=0)
    rounds: int = Field(default=3, ge=1)
    renamings: int = Field(default=4, ge=1)
    ends: int = Field(default=4, ge=0)
    contested: int = Field(default=10, ge=0)
    abstain_below: float = Field(default=0.0, ge=0, le=1)
    per_group: int = Field(default=1, ge=1)

    def most_requests(self, size: int, labels: int) -> int:
        """The most requests that judging a labeling takes: `size` for each labeling that is looked at.

        Example:
            >>> DiagnosticsSettings().most_requests(100, labels=2)
            1800
        """
        renamings = 1 if labels == 2 else self.renamings
        opinions = 2 * self.rounds + 1  # both share their first round, and each result is scored
        return size * (self.shuffles + self.orders + renamings + self.ends + opinions)
