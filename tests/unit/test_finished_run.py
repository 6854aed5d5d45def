"""A finished run is opened in one place, and what it sent is counted with the sessions that were killed."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import icm_api
from icm_api.model import Sent
from icm_api.runs import FinishedRun
from icm_api.types import Usage
from tests.finished import MadeUp, finished_run

PACKAGE = Path(str(icm_api.__file__)).parent
FILES = {
    "CHECKS_FILE": "checks.json",
    "CONFIG_FILE": "config.toml",
    "INPUTS_FILE": "inputs.json",
    "LABELS_FILE": "labels.jsonl",
    "SESSIONS_FILE": "sessions.jsonl",
    "SUMMARY_FILE": "summary.json",
    "TRACE_FILE": "trace.jsonl",
}
HOME = ("runs/", "result.py")
"""What writes the files of a run, and so may read them."""
ALLOWED = {
    # The configuration that a demo writes, which is no run's.
    "cli/demo.py": {"config.toml"},
    # Printed, so that a person finds them.
    "cli/running.py": {"LABELS_FILE", "SUMMARY_FILE", "TRACE_FILE"},
    # A search that was cut short goes on under what is left of the budget; a comparison has notes of its own sessions.
    "compare/searches.py": {"CONFIG_FILE", "SESSIONS_FILE", "SUMMARY_FILE"},
    # A run that is labelled batch by batch, by a model that learns in between, is written there.
    "training/iterate.py": {"CONFIG_FILE", "INPUTS_FILE", "LABELS_FILE", "SUMMARY_FILE"},
}


def named(path: Path) -> set[str]:
    """The files of a run that a module names, by constant or by string."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in FILES:
                found.add(name)
            case ast.Constant(value=str(text)) if text in FILES.values():
                found.add(text)
    return found


def test_no_other_module_reads_the_files_of_a_run() -> None:
    modules = {path.relative_to(PACKAGE).as_posix(): named(path) for path in PACKAGE.rglob("*.py")}
    outside = {module: files for module, files in modules.items() if files and not module.startswith(HOME)}
    assert {module: files for module, files in outside.items() if not files <= ALLOWED.get(module, set())} == {}


def test_the_check_sees_what_the_runs_themselves_name() -> None:
    assert named(PACKAGE / "runs" / "finished.py") >= {"CONFIG_FILE", "INPUTS_FILE", "SESSIONS_FILE", "TRACE_FILE"}
    assert named(PACKAGE / "runs" / "trace.py") >= {"TRACE_FILE", "trace.jsonl"}


def test_what_was_sent_counts_sessions_that_were_killed_and_their_money(tmp_path: Path) -> None:
    prices = {"input": 2.0, "output": 8.0, "currency": "EUR"}
    folder = finished_run(tmp_path, MadeUp(["a", "b"], config={"prices": prices}))
    assert FinishedRun.open(folder).sent is None
    note = {"sent": {"requests": 2, "prompt_tokens": 2_000_000}, "seconds": 1.5, "money": 4.0}
    (folder / "sessions.jsonl").write_text(json.dumps(note) + "\n")
    (folder / "spending.jsonl").write_text(json.dumps(note["sent"]) + "\n")
    assert FinishedRun.open(folder).sent == Sent(1, 0, Usage(2, 2_000_000), 1.5, 4.0)
    with (folder / "spending.jsonl").open("a") as stream:
        stream.write('{"requests": 3, "prompt_tokens": 500000, "completion_tokens": 1000000}\n')
    killed = Usage(3, 500_000, 1_000_000)
    assert FinishedRun.open(folder).sent == Sent(1, 0, Usage(5, 2_500_000, 1_000_000), 1.5, 13.0, killed)


def test_the_page_says_what_sessions_without_a_summary_sent(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    from icm_api.report import write_report

    folder = finished_run(tmp_path, MadeUp(["a", "b"]))
    note = {"sent": {"requests": 2, "prompt_tokens": 20}, "seconds": 1.5}
    (folder / "sessions.jsonl").write_text(json.dumps(note) + "\n")
    (folder / "spending.jsonl").write_text(json.dumps(note["sent"]) + "\n")
    before = write_report(folder, tmp_path / "page.html").page.read_text(encoding="utf-8")
    assert "without a summary" not in before
    with (folder / "spending.jsonl").open("a") as stream:
        stream.write('{"requests": 1000}\n')
    after = write_report(folder, tmp_path / "page.html").page.read_text(encoding="utf-8")
    assert re.search(
        r"over 1 session: 1,002 requests .* 1,000 requests of sessions that ended without a summary", after
    )
