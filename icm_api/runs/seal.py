"""What a finished run's files held when it ended, so that damage is noticed by whoever opens the run.

`seal.json` has the length and the SHA-256 of each. Files that a later session may add to are checked as far as they
went then. A folder without a seal, which a result was saved to or an older version wrote, is taken as it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from icm_api.errors import RunError
from icm_api.files import write_whole
from icm_api.result import LABELS_FILE, SUMMARY_FILE
from icm_api.runs.folder import ASIDE_FILE, CONFIG_FILE, INPUTS_FILE, SESSIONS_FILE, SPENDING_FILE
from icm_api.runs.frozen import FROZEN_FILE
from icm_api.runs.spill import PARTS_FOLDER
from icm_api.runs.trace import TRACE_FILE

SEAL_FILE = "seal.json"
_WHOLE = (LABELS_FILE, SUMMARY_FILE, TRACE_FILE, CONFIG_FILE, INPUTS_FILE)
_GROWING = (SESSIONS_FILE, SPENDING_FILE)
# Not in every run.
_MAYBE = (ASIDE_FILE, FROZEN_FILE)
_BLOCK = 2**20


def seal(folder: Path, *, parts: bool = True) -> None:
    """Write down what the files of a run hold.

    Args:
        folder: of a run that has just ended, or whose core has.
        parts: whether the parts of its rest are complete. Those that are still written to would look damaged when a
            run that was killed among them goes on.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
        RunError: a file cannot be read.
    """
    complete = (folder / PARTS_FOLDER).glob("*.json*") if parts else ()
    names = (*_WHOLE, *_MAYBE, *_GROWING, *sorted(path.relative_to(folder).as_posix() for path in complete))
    sizes = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    found = {name: {"bytes": size, "sha256": _digest(folder / name, size)} for name, size in sizes.items()}
    write_whole(folder / SEAL_FILE, json.dumps(found, indent=2) + "\n")


def check_seal(folder: Path, but: Collection[str] = ()) -> None:
    """Compare the files of a finished run with what they held when it ended.

    Args:
        folder: of the run; without a seal nothing is checked.
        but: names of files that may have changed.

    Raises:
        RunError: a file was changed, cut or removed since, or the seal is damaged: which, and what to do.
    """
    path = folder / SEAL_FILE
    if not path.is_file():
        return
    try:
        sealed = json.loads(path.read_bytes())
        expected = {name: (int(sealed[name]["bytes"]), str(sealed[name]["sha256"])) for name in sealed}
        if not expected.keys() >= set(_WHOLE):
            raise ValueError(f"it names {', '.join(expected) or 'no file'}")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RunError(f"{path}: damaged: {error}; {_advice(folder, SEAL_FILE)}") from error
    for name, (size, digest) in expected.items():
        if name in but:
            continue
        file = folder / name
        there = file.stat().st_size if file.is_file() else 0
        if there < size or (there > size and name not in _GROWING) or _digest(file, size) != digest:
            what = "is missing" if not file.is_file() else "is not what this run wrote: it was changed or cut since"
            raise RunError(f"{file} {what}; {_advice(folder, name)}")


def _advice(folder: Path, name: str) -> str:
    if name in (LABELS_FILE, SUMMARY_FILE, SEAL_FILE):
        return f"put it back as it was, or `icm-api resume {folder}` writes it anew"
    if name == CONFIG_FILE:
        return (
            f"put it back as it was; if it was changed on purpose, `icm-api resume {folder}` checks and seals it anew"
        )
    return "put it back as it was, or begin a new run in another folder: what was paid for comes from the cache"


def _digest(path: Path, size: int) -> str:
    """Of the first `size` bytes."""
    digest = sha256()
    try:
        with path.open("rb") as stream:
            while size > 0 and (block := stream.read(min(_BLOCK, size))):
                digest.update(block)
                size -= len(block)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()
