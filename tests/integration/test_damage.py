"""A finished run whose files are flipped or cut: the right result or one line, and nothing silently different."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from icm_api.cli.main import main
from icm_api.errors import RunError
from icm_api.runs import FinishedRun
from icm_api.runs.seal import seal
from tests.worlds import write_world

FILES = (
    "config.toml",
    "inputs.json",
    "labels.jsonl",
    "seal.json",
    "sessions.jsonl",
    "spending.jsonl",
    "summary.json",
    "trace.jsonl",
)
QUICK = {"evaluate", "export", "queue"}
WORLDS = (
    ("comparisons", "rounds", "claims.jsonl"),
    ("sums", "anneal", "claims.csv"),
    ("facts", "bootstrap", "claims.parquet"),
)
"""Task, engine and file of the data; the CSV file has semicolons."""


class Outcome(NamedTuple):
    """What a verb did: exit code, both outputs, and what it wrote."""

    code: int
    out: str
    err: str
    written: bytes


def outcome(world: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> Outcome:
    """Run one verb on the run of a world; what it wrote last time is deleted first."""
    run, made = world / "run", world / "made"
    shutil.rmtree(made, ignore_errors=True)
    arguments = {
        "resume": ["resume", run, "--json"],
        "evaluate": ["evaluate", run, "--gold", world / "gold.jsonl"],
        "export": ["export", run, "--to", "csv", "--out", made],
        "queue": ["queue", run, "--out", made / "queue.csv"],
        "report": ["report", run, "--out", made / "report.html"],
    }[verb]
    made.mkdir()
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = int(str(stopped.code or 0))
    said = capsys.readouterr()
    written = b"".join(path.read_bytes() for path in sorted(made.rglob("*")) if path.is_file())
    if verb == "resume":
        written = (run / "labels.jsonl").read_bytes() + (run / "summary.json").read_bytes() if code == 0 else b""
    return Outcome(code, said.out, said.err, written)


@pytest.fixture(
    scope="module",
    params=[WORLDS[0], *(pytest.param(world, marks=pytest.mark.slow) for world in WORLDS[1:])],
    ids=lambda world: world[1],
)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    task, engine, file = request.param
    folder = tmp_path_factory.mktemp("damaged")
    config = write_world(folder, task, search=f'engine = "{engine}"\nrestarts = 1')
    rewritten(folder / "claims.jsonl", folder / file)
    config.write_text(config.read_text().replace("claims.jsonl", file))
    assert main(["run", str(config), "--json"]) == 0
    return folder


def rewritten(rows: Path, to: Path) -> None:
    """The rows in another kind of file, which takes their place."""
    if to == rows:
        return
    table = pd.DataFrame([json.loads(line) for line in rows.read_text().splitlines()])
    table.to_parquet(to) if to.suffix == ".parquet" else table.to_csv(to, sep=";", index=False)
    rows.unlink()


def damaged(world: Path, tmp_path: Path, file: str, change: Callable[[bytes], bytes]) -> Path:
    """A copy of the world in which one file is changed."""
    copy = tmp_path / "world"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(world, copy)
    config = copy / "run" / "config.toml"
    config.write_text(config.read_text().replace(str(world), str(copy)))
    seal(copy / "run")
    path = copy / "run" / file
    path.write_bytes(change(path.read_bytes()))
    return copy


def flip(rng: random.Random) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        at = rng.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]

    return change


def is_right_or_said(done: Outcome, right: Outcome) -> bool:
    if done.code == 0:
        return (done.out, done.written) == (right.out, right.written)
    return done.code in (2, 3) and done.err.splitlines()[-1].startswith("icm-api: ") and done.err.count("\n") <= 2


@pytest.mark.parametrize(
    ("count", "verbs"),
    [(40, QUICK), pytest.param(200, QUICK | {"report", "resume"}, marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_a_flipped_bit_gives_the_right_result_or_one_line(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, verbs: set[str]
) -> None:
    rng, noticed = random.Random(count), 0
    right = {verb: outcome(damaged(world, tmp_path, FILES[0], bytes), verb, capsys) for verb in sorted(verbs)}
    assert all(done.code == 0 for done in right.values())
    for number in range(count):
        file = FILES[number % len(FILES)]
        copy = damaged(world, tmp_path, file, flip(rng))
        # A resume writes files anew, so it comes last.
        for verb in sorted(verbs, key=("report", "export", "evaluate", "queue", "resume").index):
            done = outcome(copy, verb, capsys)
            assert is_right_or_said(done, right[verb]), (file, verb, done)
            noticed += done.code != 0
    assert noticed > count


def test_no_file_can_be_cut_unnoticed(world: Path, tmp_path: Path) -> None:
    """About 200 lengths of every file."""
    copy = damaged(world, tmp_path, FILES[0], bytes)
    for file in FILES:
        path = copy / "run" / file
        whole = path.read_bytes()
        # The seal's own last line end says nothing.
        for size in range(0, len(whole.rstrip() if file == "seal.json" else whole), max(1, len(whole) // 200)):
            path.write_bytes(whole[:size])
            with pytest.raises(RunError, match=file.replace(".", r"\.")):
                FinishedRun.open(copy / "run")
        path.write_bytes(whole)
    assert FinishedRun.open(copy / "run").result == FinishedRun.open(world / "run").result


def test_files_that_a_later_session_adds_to_may_grow_and_no_others(world: Path, tmp_path: Path) -> None:
    def grown(content: bytes) -> bytes:
        return content + b"{}\n"

    for file in ("sessions.jsonl", "spending.jsonl"):
        FinishedRun.open(damaged(world, tmp_path, file, grown) / "run")
    for file in ("labels.jsonl", "trace.jsonl"):
        with pytest.raises(RunError, match="is not what this run wrote"):
            FinishedRun.open(damaged(world, tmp_path, file, grown) / "run")


def test_a_resume_writes_labels_and_summary_anew(world: Path, tmp_path: Path) -> None:
    copy = damaged(world, tmp_path, "labels.jsonl", lambda content: content[:-20])
    assert main(["resume", str(copy / "run"), "--json"]) == 0
    assert (copy / "run" / "labels.jsonl").read_bytes() == (world / "run" / "labels.jsonl").read_bytes()
    FinishedRun.open(copy / "run")
