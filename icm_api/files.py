"""Writing a file whole or not at all. Files that grow line by line are written by `journal`."""

from __future__ import annotations

import os
from pathlib import Path

from icm_api.errors import StorageError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it is either there whole or not at all, also after a power cut.

    Args:
        path: of the file, whose folders are made.
        content: text, which is written in UTF-8, or bytes.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    if path.exists() and not path.is_file():
        # The file would take the place of the device, pipe or folder.
        raise StorageError(f"cannot write {path}: it is not a file; choose another place")
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; free some space, or choose another place"
        ) from error
