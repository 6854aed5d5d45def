"""Where the command line writes to: consoles of any encoding, closed pipes and full disks; and what it is called by."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.cli.verbs import VERBS

ICM = [sys.executable, "-m", "icm_api"]
IDS = ("例1", "café", "😀")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose ids and keys no western code page has."""
    folder = tmp_path_factory.mktemp("output")
    rows = (
        json.dumps({"id": name, "text": "t", "group": name, "answer": "1"}, ensure_ascii=False) + "\n" for name in IDS
    )
    (folder / "claims.jsonl").write_text("".join(rows), encoding="utf-8")
    path = folder / "config.toml"
    path.write_text(
        '[data]\npath = "claims.jsonl"\n[[constraints]]\nkind = "mutually_exclusive"\nlabel = "True"\n',
        encoding="utf-8",
    )
    return path


def called(arguments: Sequence[object], encoding: str, **given: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [*ICM, *map(str, arguments)],
        env=environment,
        check=False,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | given),
    )


@pytest.mark.parametrize(
    "encoding",
    ["cp1252", "ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1:strict", "utf-8"))],
)
def test_what_a_console_cannot_show_is_escaped_as_in_json(config: Path, encoding: str) -> None:
    found = called(["audit", config], encoding)
    assert (found.returncode, found.stderr) == (0, b"")
    shown = found.stdout.decode(encoding.partition(":")[0])
    for name in IDS:
        assert name in shown or json.dumps(name)[1:-1] in shown
    assert ("例1" in shown) == (encoding == "utf-8")


def test_json_stays_json_on_any_console(config: Path) -> None:
    found = called(["audit", config, "--json"], "ascii")
    assert IDS[1] in json.dumps(json.loads(found.stdout), ensure_ascii=False)
    # A mistake is told on a console of any kind as well.
    missing = called(["audit", config.parent / "例.toml"], "cp1252:strict")
    assert missing.returncode == 2
    assert missing.stderr.startswith(b"icm-api: ")
    assert b"\\u4f8b.toml: no such file" in missing.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["audit", "CONFIG"], ["audit", "missing.toml"], ["export", "--help"]]
)
def test_a_closed_pipe_ends_quietly(config: Path, arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    given = [config if argument == "CONFIG" else argument for argument in arguments]
    mistake = arguments[-1] == "missing.toml"
    found = called(given, "utf-8", stdout=writing, **({"stderr": writing} if mistake else {}))
    os.close(writing)
    assert found.returncode == 0
    assert not found.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_standard_output_is_said_in_one_line(config: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        found = called(["audit", config], "utf-8", stdout=full)
    assert found.returncode == 3
    assert found.stderr.startswith(b"icm-api: the output cannot be written: ")
    assert found.stderr.count(b"\n") == 1


def test_no_standard_output_at_all_is_no_mistake(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["audit", str(config)]) == 0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["runn", "config.toml"], "'run'"),
        (["evaluat", "runs/x"], "'evaluate'"),
        (["cache", "stat"], "'stats'"),
        (["init", "truthfullqa"], "'truthfulqa'"),
    ],
)
def test_a_misspelt_verb_gets_the_nearest_one(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as left:
        code = left.code
    assert code == 2
    said = capsys.readouterr().err
    assert f"did you mean {meant}" in said
    assert said.count("\n") == 1


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["icm-api", "ev"], {"evaluate"}),
        (["icm-api", "run", "--pre"], {"--preset"}),
        (["icm-api", "run", "--preset", ""], {"default", "paper", "reference"}),
        (["icm-api", "cache", "pr"], {"prune"}),
        (["icm-api", "export", "--to", "trl-s"], {"trl-sft"}),
        (["icm-api", "nonsense", "--x"], set()),
    ],
)
def test_the_shell_completes_verbs_flags_and_choices(
    typed: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    words = " ".join(map(shlex.quote, typed))
    script += f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _icm_api; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    assert {*found.stdout.split()} == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_every_verb_and_balanced_quotes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS)
    for line in script.splitlines() if shell == "fish" else ():
        assert line.replace("\\'", "").count("'") % 2 == 0 or line.startswith("#")
