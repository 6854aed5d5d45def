"""From labelled data to a folder of files: choose, split, write, and say what was written and what left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm_api.errors import ConfigError
from icm_api.export.card import verdict_of, write_card
from icm_api.export.cleanlab import write_cleanlab
from icm_api.export.folder import DATA, whole_folder
from icm_api.export.formats import FORMATS, Format, FormatName
from icm_api.export.jsonl import write_jsonl
from icm_api.export.options import Options
from icm_api.export.rows import ExportRow, LabelledData
from icm_api.export.tables import Column, columns_of, write_csv, write_parquet
from icm_api.export.units import (
    TRAIN,
    Unit,
    any_fixed,
    chosen_examples,
    chosen_pairs,
    parted,
)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Attributes:
        format: its name.
        folder: where the files are.
        files: name in the folder -> rows.
        fixed: rows whose label a person gave.
        left_out: reason -> how many examples, or pairs.
        notes: what to know before the files are used.
        next_steps: what to do next.
    """

    format: FormatName
    folder: Path
    files: Mapping[str, int]
    fixed: int
    left_out: Mapping[str, int]
    notes: tuple[str, ...]
    next_steps: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        return [
            *(f"wrote {rows:,} rows: {self.folder / name}" for name, rows in self.files.items()),
            *([f"of these, {self.fixed:,} have a label that a person gave"] if self.fixed else []),
            *(f"left out {count:,} {reason}" for reason, count in self.left_out.items()),
            *(f"note: {note}" for note in self.notes),
            "next:",
            *(f"  {step}" for step in self.next_steps),
        ]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "format": self.format,
            "folder": str(self.folder),
            "files": dict(self.files),
            "fixed": self.fixed,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "next": list(self.next_steps),
        }


def export_labels(
    data: LabelledData, to: FormatName, folder: str | Path, options: Options | None = None, *, force: bool = False
) -> Exported:
    """Write labelled data in a format: whole, or not at all; the same data, the same bytes.

    Rows keep the data set's order. Where the data are pairs of texts in both orders, a preference format gets one row
    a pair, and only pairs whose orders agree; elsewhere it sets the label found against the most probable other one.
    Rows are made one by one: memory does not grow with the texts.

    Args:
        data: the labels, and the texts that they are about.
        to: the format, one of `FORMAT_NAMES`.
        folder: where the files shall be.
        options: what to write, and how.
        force: whether an earlier export in the folder may be replaced.

    Raises:
        ConfigError: the format can't do what is asked for, nothing is left to export, something is in the folder
            already, or a package is missing.
        DataError: an example does not fit the format.
        StorageError: the folder cannot be written.
    """
    form, folder, options = FORMATS[to], Path(folder), options or Options()
    form.check(options)
    as_pairs = form.preferences and data.replies
    choice = chosen_pairs(data, options) if as_pairs else chosen_examples(data, options, training=form.training)
    if not choice.units:
        reasons = "; ".join(f"{count} {reason}" for reason, count in choice.left_out.items())
        raise ConfigError(f"nothing is left to export: {reasons}; lower --abstain-below, or judge the labels anew")
    parts = parted(choice.units, options)
    plan = _Plan(form, parts, columns_of(data, options) if form.tabular else (), choice.left_out)
    with whole_folder(folder, force=force) as scratch:
        notes = [*_verdict_note(data), *_write(scratch, data, plan, spreadsheet=options.spreadsheet)]
        size = (scratch / plan.file(TRAIN)).stat().st_size
        notes += form.host.complaints(plan.file(TRAIN), len(parts[TRAIN]), size)
    return Exported(
        to,
        folder,
        {plan.file(part): len(units) for part, units in parts.items()},
        any_fixed(data, choice.units),
        choice.left_out,
        tuple(notes),
        form.host.steps(str(folder), str(folder / plan.file(TRAIN))),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What goes where: the units of each part, the columns of a table, and what was left out."""

    form: Format
    parts: Mapping[str, Sequence[Unit]]
    columns: Sequence[Column]
    left_out: Mapping[str, int]

    def file(self, part: str) -> str:
        """The name of a part's file in the folder."""
        return (f"{DATA}/" if self.form.kind == "card" else "") + part + self.form.ending


def _write(scratch: Path, data: LabelledData, plan: _Plan, *, spreadsheet: bool) -> Iterator[str]:
    """Write the files; yields what to know of them."""
    form = plan.form
    for part, units in plan.parts.items():
        name = plan.file(part)
        match form.kind:
            case "jsonl":
                write_jsonl(scratch / name, (form.record(data, unit) for unit in units), mark=form.mark)
            case "csv":
                risky = write_csv(scratch / name, plan.columns, _rows(data, units), spreadsheet=spreadsheet)
                if risky:
                    yield (
                        f"{risky:,} cells of {name} begin with = + - @ or the like, which a spreadsheet program runs "
                        "as formulas; to open the file in one, add --spreadsheet"
                    )
            case "arrays":
                absent = write_cleanlab(scratch / name, data, units)
                if absent:
                    yield f"no row of {name} has the label {', '.join(map(repr, absent))}"
            case _:
                write_parquet(scratch / name, plan.columns, _rows(data, units))
    if form.kind == "card":
        write_card(scratch, data, plan.parts, plan.columns, plan.left_out)


def _rows(data: LabelledData, units: Sequence[Unit]) -> Iterator[ExportRow]:
    return (data.row(unit.id) for unit in units)


def _verdict_note(data: LabelledData) -> list[str]:
    found = verdict_of(data.result.about)
    if found is None or found[0] == "salient":
        return []
    name, reasons = found
    return [f"the run's verdict on these labels is {name!r}" + (f": {reasons[0]}" if reasons else "")]
