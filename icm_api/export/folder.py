"""The folder that an export writes: there whole or not at all, and never in place of anything else.

Files are written into a folder beside it, flushed to the disk, and moved into place in one step when all are there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from icm_api.errors import ConfigError, DataError, StorageError

CARD = "README.md"
DATA = "data"
_ENDINGS = (".jsonl", ".csv", ".parquet", ".npz")
_PARTS = ("train", "validation")


@contextmanager
def whole_folder(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder to write into, which takes its place when the block ends, and vanishes when it fails.

    Args:
        folder: where the files shall be.
        force: whether an earlier export there may be replaced.

    Raises:
        ConfigError: something is there already that may not be replaced.
        DataError: a text cannot be written as UTF-8.
        StorageError: the disk is full, or the folder cannot be written.
    """
    _check_free(folder, force=force)
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
            f"cannot write {folder}: {error.strerror or error}; free or choose another place with --out"
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
def synced(path: Path) -> Iterator[BinaryIO]:
    """A new file, on the disk when the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _check_free(folder: Path, *, force: bool) -> None:
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
    if path.name == DATA and path.is_dir():
        return all(each.is_file() and _ours(each) for each in path.iterdir())
    return path.name == CARD or (path.stem in _PARTS and path.suffix in _ENDINGS)
