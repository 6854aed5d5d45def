"""What a caller may ask of an export, checked once. Which format can do what is said in `formats`."""

from __future__ import annotations

from dataclasses import dataclass

from icm_api.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Options:
    """How to export.

    Attributes:
        soft: write the probability of every label, where the format can hold it.
        abstain_below: leave out labels less probable than this, calibrated where the run did so, in [0, 1]. Takes the
            place of the run's own threshold, so that 0 exports everything. None for the run's.
        fields: the columns of a table, in order; None for all.
        split: share of the rows for training, in (0, 1); the rest is for validation. None for one file.
        shuffle: order the rows by a hash of seed and id, in place of the data set's order.
        seed: of shuffle and split.
        spreadsheet: write a CSV file for spreadsheet programs: cells that they would run as formulas get an
            apostrophe in front, and a byte-order mark says that it is UTF-8.

    Raises:
        ConfigError: a value is out of range.
    """

    soft: bool = False
    abstain_below: float | None = None
    fields: tuple[str, ...] | None = None
    split: float | None = None
    shuffle: bool = False
    seed: int = 0
    spreadsheet: bool = False

    def __post_init__(self) -> None:
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise ConfigError(f"--abstain-below {self.abstain_below:g} is a probability: give one from 0 to 1")
        if self.split is not None and not 0 < self.split < 1:
            raise ConfigError(f"--split {self.split:g} is the share for training: give one between 0 and 1, e.g. 0.9")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} must not be negative")
        if self.fields is not None and (not self.fields or len(set(self.fields)) != len(self.fields)):
            raise ConfigError(f"--fields {','.join(self.fields)}: name each column once, and one at least")
