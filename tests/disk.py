"""Small file systems in memory, which a test may fill; they need root on Linux."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOMY = 100_000


class SmallDisk:
    """A file system of its own in a folder.

    Args:
        folder: where it is mounted.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, kilobytes: int = _ROOMY) -> None:
        """Give it another size, by default one with room for anything here.

        Args:
            kilobytes: how large it is.
        """
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(self.folder)], check=True)


@contextmanager
def small_disk(folder: Path, kilobytes: int = _ROOMY) -> Iterator[SmallDisk]:
    """A file system of so many kilobytes until the block ends; the test is skipped if none can be had.

    Args:
        folder: that is not there yet.
        kilobytes: how large it is.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("needs the right to mount a file system")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: what a failed test still holds open goes with it.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
