"""The folder of an export: whole or not at all, the same bytes twice, and never in place of anything else."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from icm_api.errors import ConfigError, DataError, StorageError
from icm_api.export import FORMAT_NAMES, FORMATS, FormatName, Options, export_labels
from icm_api.export.card import data_card, verdict_of
from icm_api.export.rows import LabelledData
from icm_api.export.tables import columns_of
from icm_api.export.units import chosen_examples
from icm_api.result import Guess
from icm_api.types import Dataset
from tests.labelled import NASTY, claims, reply_pairs, with_line

PYARROW = importlib.util.find_spec("pyarrow") is not None
WRITABLE = [name for name in FORMAT_NAMES if PYARROW or FORMATS[name].kind not in ("parquet", "card")]


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("to", WRITABLE)
def test_the_same_labels_give_the_same_bytes(to: FormatName, tmp_path: Path) -> None:
    options = Options(split=None if FORMATS[to].annotating else 0.5, shuffle=True, seed=3)
    for name in ("one", "two"):
        export_labels(claims(NASTY), to, tmp_path / name, options)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(files(tmp_path / "one")) >= 2


@pytest.mark.parametrize("to", WRITABLE)
def test_an_export_is_not_overwritten_unless_asked(to: FormatName, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export_labels(claims("ab"), to, folder)
    before = files(folder)
    with pytest.raises(ConfigError, match="is there already, and nothing was written: replace it with --force"):
        export_labels(claims("cdef"), to, folder)
    assert files(folder) == before
    split = None if FORMATS[to].annotating else 0.5
    export_labels(claims("cdef"), to, folder, Options(split=split), force=True)
    # A file that only the earlier export had would be taken for part of this one.
    export_labels(claims("ab"), to, folder, force=True)
    assert files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_no_other_files_are_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(ConfigError, match=r"holds 'thesis.tex', which no export writes"):
        export_labels(claims("ab"), "csv", tmp_path, force=True)
    assert files(tmp_path) == {"thesis.tex": b"ten years of work"}
    with pytest.raises(ConfigError, match="is the name of a file"):
        export_labels(claims("ab"), "csv", tmp_path / "thesis.tex", force=True)
    with pytest.raises(ConfigError, match=r"labels.csv is the name of a file, and an export is a folder"):
        export_labels(claims("ab"), "csv", tmp_path / "labels.csv")


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    export_labels(claims("ab"), "csv", tmp_path)
    assert list(files(tmp_path)) == ["train.csv"]


def test_an_export_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    export_labels(reply_pairs(["AB"]), "trl-dpo", tmp_path / "out")
    before = files(tmp_path)
    pairs = reply_pairs(["AB"] * 50)
    *most, one, other = pairs.dataset
    blank = [replace(each, fields={**each.fields, "prompt": ""}) for each in (one, other)]
    broken = replace(pairs, dataset=Dataset([*most, *blank]))
    with pytest.raises(DataError, match="'p49' has no prompt"):
        export_labels(broken, "trl-dpo", tmp_path / "out", force=True)
    assert files(tmp_path) == before


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_labels(claims("ab"), "openai-sft", tmp_path / "out")
    before = files(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*out: No space left on device"):
        export_labels(claims("cd"), "openai-sft", tmp_path / "out", force=True)
    assert files(tmp_path) == before


def test_an_export_that_cannot_take_its_place_puts_the_earlier_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_labels(claims("ab"), "openai-sft", tmp_path / "out")
    before, move = files(tmp_path), Path.replace

    def stuck(path: Path, target: Path) -> Path:
        if path.name.endswith(".part"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return move(path, target)

    monkeypatch.setattr(Path, "replace", stuck)
    with pytest.raises(StorageError, match="Device or resource busy"):
        export_labels(claims("cd"), "openai-sft", tmp_path / "out", force=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize("to", [name for name in WRITABLE if name != "cleanlab"])
def test_half_a_surrogate_pair_is_an_error_with_the_text(to: FormatName, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"half a surrogate pair, which no UTF-8 file can carry"):
        export_labels(claims(["fine", "half \ud83d"]), to, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_nothing_left_to_export_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing is left to export: 2 examples less sure than 0.99; lower --abs"):
        export_labels(claims("ab"), "csv", tmp_path / "out", Options(abstain_below=0.99))
    with pytest.raises(ConfigError, match=r"--split 0.5 leaves one side empty: 2 rows in 1 groups"):
        export_labels(claims("ab"), "csv", tmp_path / "out", Options(split=0.5))


@pytest.mark.parametrize("to", FORMAT_NAMES)
def test_what_a_format_cannot_hold_is_refused_by_name(to: FormatName, tmp_path: Path) -> None:
    form = FORMATS[to]
    asked = {
        "--soft": (Options(soft=True), form.kind == "jsonl" or form.annotating),
        "--fields": (Options(fields=("id",)), form.kind in ("jsonl", "arrays") or form.annotating),
        "--split": (Options(split=0.5), form.annotating),
        "--blind": (Options(blind=True), not form.annotating),
        "--spreadsheet": (Options(spreadsheet=True), to != "csv"),
    }
    for flag, (options, refused) in asked.items():
        if refused:
            with pytest.raises(ConfigError, match=flag):
                export_labels(claims("ab"), to, tmp_path / "out", options)
        else:
            form.check(options)


def test_what_a_host_would_refuse_is_said(tmp_path: Path) -> None:
    notes = {to: export_labels(claims("ab"), to, tmp_path / to).notes for to in ("openai-sft", "fireworks-sft", "csv")}
    assert notes == {
        "openai-sft": ("OpenAI takes no file of fewer than 10 rows, and train.jsonl has 2",),
        "fireworks-sft": ("Fireworks takes no file of fewer than 3 rows, and train.jsonl has 2",),
        "csv": (),
    }
    assert export_labels(claims("abcdefghij"), "openai-sft", tmp_path / "ten").notes == ()


def test_a_bad_verdict_of_the_run_goes_along(tmp_path: Path) -> None:
    diagnosis = {"verdict": "collapsed", "reasons": ["31 of 32 labels are 'True'", "and so on"]}
    data = claims("abcdefghij")
    data = replace(data, result=replace(data.result, about={"diagnosis": diagnosis}))
    [note] = export_labels(data, "openai-sft", tmp_path / "out").notes
    assert note == "the run's verdict on these labels is 'collapsed, unchecked': 31 of 32 labels are 'True'"
    assert verdict_of({"diagnosis": "?"}) is None
    assert verdict_of({"diagnosis": {"verdict": "salient"}}) == ("coherent, unchecked", ())


def with_guesses(data: LabelledData) -> LabelledData:
    """The same, with the other label for each example as its zero-shot label."""
    guess = {"True": Guess("False", {"True": 0.4, "False": 0.6}), "False": Guess("True", {"True": 0.7, "False": 0.3})}
    rows = [
        replace(row, zero_shot=guess[row.label], zero_shot_calibrated=guess[row.label]) for row in data.result.examples
    ]
    diagnosis = {"verdict": "collapsed", "reasons": ["31 of 32 labels are 'True'"]}
    return replace(data, result=replace(data.result, examples=tuple(rows), about={"diagnosis": diagnosis}))


@pytest.mark.parametrize("labels", ["zero-shot", "zero-shot-calibrated"])
def test_the_verdict_on_the_labels_found_is_said_of_no_others(labels: str, tmp_path: Path) -> None:
    data = with_guesses(claims("abcdefghij"))
    found = export_labels(data, "openai-sft", tmp_path / "out", Options(labels=labels))
    assert found.notes == ("nobody judged these labels: the run's verdict is on those that its search found",)
    taken = replace(data, result=data.result.taking(labels))
    units = {"train": chosen_examples(taken, Options(), training=False).units}
    card = data_card(taken, units, columns_of(taken, Options()), {}, labels)
    assert "# Labels of a language model with no demonstration" in card
    assert "A language model was asked about each example by itself" in card
    for words in ("collapsed", "31 of 32", "Internal Coherence", "U(D)", "given all other labels", "search"):
        assert words not in card


def test_what_was_written_and_left_out_is_told(tmp_path: Path) -> None:
    data = with_line(claims("abcdefghijklmn", certainties={3: 0.4}), 2, fixed=True)
    found = export_labels(data, "openai-sft", tmp_path / "a b", Options(split=0.8, abstain_below=0.5))
    assert found.lines() == [
        f"wrote 10 rows: {tmp_path}/a b/train.jsonl",
        f"wrote 3 rows: {tmp_path}/a b/validation.jsonl",
        "of these, 1 has a label that a person gave",
        "left out 1 example less sure than 0.5",
        "next:",
        '  curl https://api.openai.com/v1/files -H "Authorization: Bearer $OPENAI_API_KEY" -F purpose=fine-tune '
        f"-F file=@'{tmp_path}/a b/train.jsonl'",
    ]
    assert found.as_json()["left_out"] == {"examples less sure than 0.5": 1}


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"Parquet needs the package pyarrow: .*pip install 'icm-api\[export\]'"):
        export_labels(claims("ab"), "parquet", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def traced() -> Iterator[None]:
    """Allocations are counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.slow
@pytest.mark.parametrize(
    "to",
    [name for name in WRITABLE if name in ("openai-sft", "trl-reward", "csv", "parquet", "cleanlab")],
)
def test_memory_does_not_grow_with_the_texts(to: FormatName, tmp_path: Path) -> None:
    # 10,000 rows of 4,000 characters: 40 MB as files, of which each row is made anew.
    data = claims(["x" * 4000] * 10_000)
    # What a package takes when it is first imported is not the rows'.
    export_labels(claims("ab"), to, tmp_path / "first")
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    export_labels(data, to, tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert peak - before < 12_000_000
    if FORMATS[to].kind in ("jsonl", "csv"):
        assert size > 40_000_000
