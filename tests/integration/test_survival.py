"""Runs over batches and parts whose network is cut or whose disk is full: they stop, say how to go on, and can.

They end in the same bytes, and nothing is paid twice but what was under way.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.model import spent
from icm_api.testing import Faults, serve
from tests.cable import Cable, cable
from tests.disk import SmallDisk, small_disk
from tests.hosted import KEY_VARIABLES
from tests.integration.test_core_and_rest import COMPLETIONS, asked, hosted_world, verb_of, written

pytestmark = pytest.mark.slow
SLOTS, BUDGET = 8, 600
LIMITS = (
    f"\n[client]\nconcurrency = {SLOTS}\nmax_concurrency = {SLOTS}\nattempts = 3\nretry_seconds = 2\ntimeout = 1.0\n\n"
    f"[budget]\nrequests = {BUDGET}\n"
)
BATCHES = "\n[batches]\nsize = 12\ncount = 3\noverlap = 4\n"
SHARES = {"run": (0.1, 0.3, 0.5, 0.7, 0.75, 0.8, 0.85, 0.9), "cache": (0.5, 0.85, 0.92, 0.97)}
"""Of what a whole run takes: a cache takes most of it when it is opened."""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "k")


def started(config: Path, run: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(verb_of(config, run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_stopped(process: subprocess.Popen[str], run: Path) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 3, errors
    assert f"to go on: icm-api resume {run}\n" in errors
    assert "Traceback" not in errors


def check_goes_on(config: Path, run: Path, expected: dict[str, bytes]) -> None:
    process = started(config, run)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert written(run) == expected


def lines_in(parts: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in parts.glob("[0-9]*.jsonl"))


@pytest.mark.parametrize("batches", ["", BATCHES], ids=["core", "batches"])
@pytest.mark.parametrize("end", [Cable.cut, Cable.hush])
def test_a_network_that_is_cut_stops_the_run_and_it_goes_on(
    end: Callable[[Cable], None], batches: str, tmp_path: Path
) -> None:
    slow = Faults(("slow",), 0.0, latency=(0.01, 0.03))
    with serve(dialect=COMPLETIONS.dialect, instant=True, faults=slow) as server, cable(server.root) as network:
        far = replace(server, root=network.root)

        def world(name: str) -> tuple[Path, Path]:
            config = hosted_world(tmp_path / name, far, size=120, extra=batches + LIMITS)
            return config, config.parent / "run"

        config, run = world("one")
        assert main(["run", str(config), "--json"]) == 0
        expected, once = written(run), asked(server)
        moments: list[Callable[[Path, int], bool]] = [
            lambda run, sent: sent > 10,
            lambda run, sent: lines_in(run / "parts") > 0,
            lambda run, sent: lines_in(run / "parts") > 30,
        ]
        for at, comes in enumerate(moments):
            (config, run), before = world(str(at)), asked(server)
            process = started(config, run)
            while not comes(run, asked(server) - before):
                assert process.poll() is None
                time.sleep(0.002)
            end(network)
            check_stopped(process, run)
            network.mend()
            check_goes_on(config, run, expected)
            # Each of those under way may have been tried as often as it was allowed to.
            assert asked(server) - before <= once + 3 * SLOTS
            assert asked(server) - before <= spent(run / "spending.jsonl").requests <= BUDGET


def used(disk: SmallDisk) -> int:
    """Kilobytes."""
    found = os.statvfs(disk.folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024


@pytest.mark.parametrize("batches", ["", BATCHES], ids=["core", "batches"])
@pytest.mark.parametrize("held", SHARES)
def test_a_disk_that_is_full_stops_the_run_and_it_goes_on_once_there_is_room(
    held: str, batches: str, tmp_path: Path
) -> None:
    with serve(dialect=COMPLETIONS.dialect, instant=True) as server:

        def world(name: str, disk: SmallDisk) -> tuple[Path, Path]:
            config = hosted_world(tmp_path / name, server, size=120, extra=batches + LIMITS)
            config.write_text(config.read_text().replace(f'folder = "{held}"', f'folder = "{disk.folder / held}"'))
            return config, (disk.folder if held == "run" else config.parent) / "run"

        with small_disk(tmp_path / "one-disk") as disk:
            config, run = world("one", disk)
            empty = used(disk)
            assert main(["run", str(config), "--json"]) == 0
            expected, once, size = written(run), asked(server), used(disk) - empty
        midway = 0
        for share in SHARES[held]:
            with small_disk(tmp_path / f"{share}-disk", int(share * size)) as disk:
                (config, run), before = world(str(share), disk), asked(server)
                process = started(config, run)
                _, errors = process.communicate(timeout=120)
                assert process.returncode == 3, errors
                assert "to go on: " in errors
                assert "Traceback" not in errors
                midway += lines_in(run / "parts") > 0
                disk.resize()
                check_goes_on(config, run, expected)
                # Answers that could not be written, and those under way when that showed, twice.
                lost = 2 * SLOTS if held == "cache" else SLOTS
                assert asked(server) - before <= once + lost
                assert asked(server) - before <= spent(run / "spending.jsonl").requests <= BUDGET
        assert midway or held == "cache", "no disk was full among the parts: no test"
