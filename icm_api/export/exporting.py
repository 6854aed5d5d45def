"""From a finished run to a folder of files: choose, split, write, and say what was written and what left out.

The folder is there whole or not at all, and never in place of anything but an earlier export: files are written into a
folder beside it, flushed to the disk, and moved into place in one step when all are there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from icm_api.errors import ConfigError, DataError, StorageError
from icm_api.export.annotating import (
    ARGILLA_FOLDER,
    DATASET,
    LABELING,
    RECORDS,
    SETTINGS,
    TASKS,
    argilla_dataset,
    argilla_records,
    argilla_settings,
    label_studio_form,
    label_studio_tasks,
    write_list,
)
from icm_api.export.card import CARD, DATA, FOUND, data_card, verdict_of
from icm_api.export.formats import FORMATS, Format, FormatName
from icm_api.export.records import write_jsonl
from icm_api.export.rows import ExportRow, LabelledData, Options
from icm_api.export.tables import Column, columns_of, write_cleanlab, write_csv, write_parquet
from icm_api.export.units import TRAIN, VALIDATION, Choice, Unit, any_fixed, chosen_examples, chosen_pairs, parted
from icm_api.wording import count_of, of_one

if TYPE_CHECKING:
    # `icm-api export --help` needs the formats, and no run.
    from icm_api.runs import FinishedRun

_ENDINGS = (".jsonl", ".json", ".csv", ".parquet", ".npz")
_NAMES = frozenset({CARD, RECORDS, TASKS, LABELING, Path(SETTINGS).name, Path(DATASET).name})


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote, and what it left out.

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
        """The lines that say this to people."""
        return [
            *(f"wrote {count_of(rows, 'row')}: {self.folder / name}" for name, rows in self.files.items()),
            *([f"of these, {count_of(self.fixed, 'has', 'have')} a label that a person gave"] if self.fixed else []),
            *(f"left out {count_of(count, of_one(reason), reason)}" for reason, count in self.left_out.items()),
            *(f"note: {note}" for note in self.notes),
            "next:",
            *(f"  {step}" for step in self.next_steps),
        ]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, ready for JSON."""
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
    run: FinishedRun | LabelledData,
    to: FormatName,
    folder: str | Path,
    options: Options | None = None,
    *,
    force: bool = False,
) -> Exported:
    """Write the labels of a run in a format: whole, or not at all; the same labels, the same bytes.

    Rows keep the data set's order. If the data are pairs of texts in both orders, a preference format has one row a
    pair, and only pairs whose orders agree; else it sets the label found against the most probable other label.
    Rows are made one by one, so that the memory used does not grow with the texts.

    Args:
        run: a finished run, or labels in memory with the texts that they are about.
        to: the format, one of `FORMAT_NAMES`.
        folder: where the files shall be.
        options: what to write, and how.
        force: whether an earlier export in the folder may be replaced.

    Raises:
        ConfigError: the format can't do what is asked for, nothing is left to export, something is in the folder
            already, or a package is missing.
        RunError: the data changed since the run, or a file of the run is missing or damaged.
        DataError: the data cannot be read, or an example does not fit the format.
        StorageError: the folder cannot be written.
    """
    form, folder, options = FORMATS[to], Path(folder), options or Options()
    form.check(options)
    data = run if isinstance(run, LabelledData) else LabelledData.of(run)
    data = replace(data, result=data.result.taking(options.labels))
    as_pairs = form.preferences and data.replies
    choice = (
        chosen_pairs(data, options, form.fits) if as_pairs else chosen_examples(data, options, training=form.training)
    )
    if not choice.units:
        raise _nothing_left(choice)
    parts = parted(choice.units, options)
    columns = columns_of(data, options) if form.tabular else ()
    plan = _Plan(form, parts, columns, choice.left_out, options)
    with _whole_folder(folder, force=force) as scratch:
        notes = [*_verdict_note(data, options.labels), *_write(scratch, data, plan)]
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


def _nothing_left(choice: Choice) -> ConfigError:
    reasons = "; ".join(f"{count} {reason}" for reason, count in choice.left_out.items())
    return ConfigError(f"nothing is left to export: {reasons}; lower --abstain-below, or judge the labels anew")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What goes where: the units of each part, the columns of a table, what is left out, and how it is asked for."""

    form: Format
    parts: Mapping[str, Sequence[Unit]]
    columns: Sequence[Column]
    left_out: Mapping[str, int]
    options: Options

    def file(self, part: str) -> str:
        """The name of a part's file in the folder."""
        if self.form.annotating:
            return RECORDS if self.form.kind == "argilla" else TASKS
        return (f"{DATA}/" if self.form.kind == "card" else "") + part + self.form.ending


def _write(scratch: Path, data: LabelledData, plan: _Plan) -> Iterator[str]:
    """Write the files; yields what to know of them."""
    for part, units in plan.parts.items():
        name = plan.file(part)
        with _synced(scratch / name) as stream:
            yield from _write_part(stream, name, data, plan, units)
    for name, text in _beside(data, plan):
        with _synced(scratch / name) as stream:
            stream.write(text.encode())


def _beside(data: LabelledData, plan: _Plan) -> Iterator[tuple[str, str]]:
    """Names and texts of the files that belong to the format beside the labels."""
    match plan.form.kind:
        case "card":
            yield CARD, data_card(data, plan.parts, plan.columns, plan.left_out, plan.options.labels)
        case "argilla":
            settings = argilla_settings(data, plan.parts[TRAIN], blind=plan.options.blind)
            yield SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
            yield DATASET, json.dumps(argilla_dataset(), indent=2) + "\n"
        case "label-studio":
            yield LABELING, label_studio_form(data)
        case _:
            pass


def _write_part(stream: BinaryIO, name: str, data: LabelledData, plan: _Plan, units: Sequence[Unit]) -> Iterator[str]:
    form = plan.form
    match form.kind:
        case "jsonl":
            write_jsonl(stream, (form.record(data, unit) for unit in units), mark=form.mark)
        case "csv":
            risky = write_csv(stream, plan.columns, _rows(data, units), spreadsheet=plan.options.spreadsheet)
            if risky:
                yield (
                    f"{risky:,} cells of {name} begin with = + - @ or the like, which a spreadsheet program runs "
                    "as formulas; to open the file in one, add --spreadsheet"
                )
        case "arrays":
            absent = write_cleanlab(stream, data, units)
            if absent:
                yield f"no row of {name} has the label {', '.join(map(repr, absent))}"
        case "argilla":
            write_list(stream, argilla_records(data, units, blind=plan.options.blind))
        case "label-studio":
            write_list(stream, label_studio_tasks(data, units, blind=plan.options.blind))
        case _:
            write_parquet(stream, plan.columns, _rows(data, units))


def _rows(data: LabelledData, units: Sequence[Unit]) -> Iterator[ExportRow]:
    return (data.row(unit.id) for unit in units)


def _verdict_note(data: LabelledData, labels: str) -> list[str]:
    if labels != FOUND:
        return ["nobody judged these labels: the run's verdict is on those that its search found"]
    found = verdict_of(data.result.about)
    if found is None or found[0].startswith("salient"):
        return []
    name, reasons = found
    why = f": {reasons[0]}" if reasons and not name.startswith("coherent") else ""
    return [f"the run's verdict on these labels is {name!r}{why}"]


@contextmanager
def _whole_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write into: it becomes `folder` when the block ends, and is removed if the block fails."""
    check_free(folder, force=force)
    folder = folder.resolve()
    scratch, old = (folder.with_name(f".{folder.name}.{word}") for word in ("part", "old"))
    try:
        for leftover in (scratch, old):
            shutil.rmtree(leftover, ignore_errors=True)
        scratch.mkdir(parents=True)
        yield scratch
        if folder.is_dir():
            folder.replace(old)
        scratch.replace(folder)
    except OSError as error:
        raise StorageError(
            f"cannot write {folder}: {error.strerror or error}; free some space, or choose another place with --out"
        ) from error
    except UnicodeEncodeError as error:
        raise DataError(
            f"a text holds half a surrogate pair, which no UTF-8 file can carry, near {error.object[:60]!r}: mend the "
            "data; nothing was written"
        ) from error
    finally:
        if old.is_dir() and not folder.exists():
            old.replace(folder)
        for leftover in (scratch, old):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """A new file, on the disk when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def check_free(folder: Path, *, force: bool) -> None:
    """Check that an export may be written to a folder.

    Args:
        folder: where it is to be.
        force: whether an earlier export there may be replaced.

    Raises:
        ConfigError: something is there that may not be replaced, or the name is one of a file.
    """
    if folder.suffix in _ENDINGS or (folder.exists() and not folder.is_dir()):
        raise ConfigError(f"{folder} is the name of a file, and an export is a folder: give --out a folder")
    there = list(folder.iterdir()) if folder.is_dir() else []
    if not there:
        return
    if not force:
        raise ConfigError(
            f"{folder} is there already, and nothing was written: replace it with --force, or choose another place "
            "with --out"
        )
    strange = [path.name for path in there if not _ours(path)]
    if strange:
        raise ConfigError(
            f"{folder} holds {min(strange)!r}, which no export writes, so that it is not replaced: choose another "
            "place with --out"
        )


def _ours(path: Path) -> bool:
    if path.name in (DATA, ARGILLA_FOLDER) and path.is_dir():
        return all(each.is_file() and _ours(each) for each in path.iterdir())
    return path.name in _NAMES or (path.stem in (TRAIN, VALIDATION) and path.suffix in _ENDINGS)
