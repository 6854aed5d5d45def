"""Files that a run writes: what is in the way is never replaced, and what is removed under a run stops it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icm_api.errors import StorageError
from icm_api.files import write_whole
from icm_api.journal import Journal


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    """Nor is a device, which `--out` may name by mistake."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(StorageError, match="it is not a file; choose another place"):
            write_whole(path, "text")
    assert pipe.is_fifo()
    write_whole(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_a_journal_that_is_removed_under_a_run_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with Journal(path) as journal:
        journal.write({"step": 0})
        path.unlink()
        with pytest.raises(StorageError, match=r"trace\.jsonl: it was removed while the run was writing it"):
            journal.write({"step": 1})
