"""Whole runs over real HTTP: same labels as the embedded model itself, through faults, budgets, kills and damage."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from pickle import dumps
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.config import ClientSettings, load_config
from icm_api.model import spent
from icm_api.model.client.cache import DATABASE
from icm_api.model.open import open_endpoint
from icm_api.runs import open_model
from icm_api.testing import CONTENT, RETRYABLE, UNRETRYABLE, Faults, Server, serve
from tests.hosted import HOSTED, KEY_VARIABLES, Hosted, bytes_of, labels_of, write_config

Printed = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[2]
SECRET = "sk-marker-81c5f0e7d2"
VLLM, CHAT = HOSTED["vllm"], HOSTED["openai-chat"]
# So that the server counts as many requests as the budget does.
ALONE = {"prompt_list": 1}
WITH_LOGPROBS = [name for name, hosted in HOSTED.items() if not hosted.spread]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, SECRET)


def run(config: Path, *more: str) -> int:
    return main(["run", str(config), *more])


def faulty_config(folder: Path, hosted: Hosted, server: Server, **more: str) -> Path:
    return write_config(folder, hosted.spec(server), hosted.options, **more)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "icm_api.cli.main", *map(str, arguments)]


# The same labels from everywhere


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the embedded model itself."""
    config = write_config(tmp_path_factory.mktemp("direct"), "pocket")
    assert run(config) == 0
    return config.parent / "run"


@pytest.mark.parametrize("name", WITH_LOGPROBS)
def test_the_same_config_gives_the_same_labels_directly_and_over_every_wire_format(
    name: str, direct: Path, tmp_path: Path
) -> None:
    """All read the labels among the top 20 here, Fireworks among its top 5 or by echo, so no number is bounded."""
    hosted = HOSTED[name]
    with serve(dialect=hosted.dialect) as server:
        config = faulty_config(tmp_path, hosted, server)
        assert run(config) == 0
        assert any(path.startswith(hosted.route) for path in server.log.requests)
    assert labels_of(tmp_path / "run") == labels_of(direct)
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (tmp_path / "run", direct))
    # Decisions are not scored by leave-one-out, which would take a request an example there.
    if not name.startswith("decisions"):
        assert ours["utility"] == pytest.approx(theirs["utility"], abs=1e-3)


def test_what_was_sent_now_and_for_the_whole_run_is_said_at_the_end(tmp_path: Path, capsys: Printed) -> None:
    prices = "\n[prices]\ninput = 1000.0\noutput = 0.0\n"
    with serve(dialect="vllm") as server:
        assert run(write_config(tmp_path, VLLM.spec(server), search="steps = 2", extra=prices)) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert main(["resume", str(tmp_path / "run")]) == 0
        again = capsys.readouterr().out.splitlines()[-1]
    sent = spent(tmp_path / "run" / "spending.jsonl")
    bill = f"{sent.requests:,} requests, {sent.prompt_tokens:,} prompt tokens, {sent.prompt_tokens / 1000:,.4f} USD"
    assert sent.requests > 0
    assert last == f"sent now: {bill}; for the whole run: {bill}"
    assert again == f"sent now: 0 requests, 0 prompt tokens, 0.0000 USD; for the whole run: {bill}"


# Faults

SLOW = {
    "slow",
    "429-date",
    "429-ms",
    "429-none",
    "429-seconds",
    "200-error",
    "500",
    "503",
    "529",
    "cut",
    "truncated-json",
}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """What a run ends in where nothing goes wrong."""
    folder = tmp_path_factory.mktemp("calm")
    with serve(dialect="vllm") as server:
        assert run(write_config(folder, VLLM.spec(server))) == 0
    return bytes_of(folder / "run")


@pytest.mark.parametrize(
    "kinds",
    [
        # Each kind is met in "all".
        *(pytest.param((kind,), id=kind, marks=pytest.mark.slow if kind in SLOW else ()) for kind in RETRYABLE),
        pytest.param(RETRYABLE, id="all"),
    ],
)
def test_a_fifth_of_faults_that_pass_changes_no_byte(
    kinds: tuple[str, ...], calm: Mapping[str, bytes], tmp_path: Path
) -> None:
    with serve(dialect="vllm", faults=Faults(kinds, rate=0.2, retry_after=0.05, delay=0.1)) as server:
        assert run(write_config(tmp_path, VLLM.spec(server))) == 0
        assert sum(server.log.faults.values()) >= 3
    assert bytes_of(tmp_path / "run") == calm


# Words of advice.
DO = r"\b(check|choose|change|use|update|reword|get|add|ask|put|set|take)\b"

FATAL = [
    # An answer that lists no label is unknown, and ends nothing.
    *(("openai-chat", kind) for kind in UNRETRYABLE if kind != "missing-label"),
    *((name, "401") for name in HOSTED if name != "openai-chat"),
    *(
        pytest.param(name, kind, marks=pytest.mark.slow)
        for name in HOSTED
        if name != "openai-chat"
        for kind in ("insufficient-quota", "refusal", *(["null-logprobs"] if name in WITH_LOGPROBS else []))
    ),
]


@pytest.mark.parametrize(("name", "kind"), FATAL)
def test_a_fault_for_good_is_one_clear_line_and_exit_code_2_and_nothing_is_sent_again(
    name: str, kind: str, tmp_path: Path, capsys: Printed
) -> None:
    hosted = HOSTED[name]
    with serve(dialect=hosted.dialect, faults=Faults((kind,), rate=0.3, times=None), record=100_000) as server:
        extra = "tolerate = 0\n\n[client]\nconcurrency = 1\nmax_concurrency = 1\n"
        config = faulty_config(tmp_path, hosted, server, extra=extra)
        assert run(config) == 2
        bodies = [json.dumps([request.path, request.body], sort_keys=True) for request in server.requests]
        assert len(set(bodies)) == len(bodies) or hosted.spread, "only samples are asked for again"
        # What is wrong with an answer is seen once its batch is there, an error at once.
        assert server.log.faults.keys() == {kind}
        assert kind in CONTENT or server.log.faults[kind] == 1
    out, err = capsys.readouterr()
    assert out == ""
    [line] = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert line.startswith("icm-api: ")
    assert "Traceback" not in err
    assert f"{hosted.provider}/" in err
    assert server.model in err
    assert SECRET not in err
    assert re.search(DO, err)


def test_alternatives_named_twice_change_nothing(direct: Path, tmp_path: Path) -> None:
    with serve(dialect="openai", faults=Faults(("duplicates",), times=None)) as server:
        assert run(faulty_config(tmp_path, CHAT, server)) == 0
    assert labels_of(tmp_path / "run") == labels_of(direct)


def test_a_prompt_that_is_too_long_says_which_setting_to_change(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICM_PROMPT__TEMPLATE", "long " * 400 + "{text}")
    with serve(dialect="vllm") as server:
        config = write_config(tmp_path, f"vllm:{server.model}@{server.url}", {"context_window": 100_000})
        assert run(config) == 2
    err = capsys.readouterr().err
    assert "maximum context length" in err
    assert "set context_window under [model.options]" in err


# What is paid for is paid once


@pytest.mark.parametrize(
    "name", ["vllm", "gemini", *(pytest.param(name, marks=pytest.mark.slow) for name in ("openai-chat", "sglang"))]
)
def test_a_second_run_sends_nothing(name: str, tmp_path: Path) -> None:
    hosted = HOSTED[name]
    with serve(dialect=hosted.dialect) as server:
        config = faulty_config(tmp_path, hosted, server)
        assert run(config) == 0
        asked = server.log.total
        assert asked > 0
        assert run(config, "--out", str(tmp_path / "again")) == 0
        assert server.log.total == asked
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "run")


@pytest.mark.slow
def test_two_processes_on_one_cache_pay_twice_only_for_what_both_asked_first(tmp_path: Path) -> None:
    with serve(dialect="vllm", faults=Faults(("slow",), delay=0.03, times=None), record=100_000) as server:
        config = write_config(tmp_path, VLLM.spec(server))
        both = [
            subprocess.Popen(command("run", config, "--out", tmp_path / name), cwd=ROOT, stdout=subprocess.DEVNULL)
            for name in ("one", "two")
        ]
        assert [process.wait(60) for process in both] == [0, 0]
        bodies = [json.dumps([request.path, request.body], sort_keys=True) for request in server.requests]
        assert max(map(bodies.count, bodies)) <= 2
        # A third one finds everything, and asks nothing.
        assert run(config, "--out", str(tmp_path / "three")) == 0
        assert server.log.total == len(bodies)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two") == bytes_of(tmp_path / "three")


# Damage in the cache


class Trap:
    """Leaves a file behind where somebody unpickles it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self._file,)


@pytest.fixture
def finished(tmp_path: Path) -> Iterator[tuple[Path, Server]]:
    """The configuration of a run that has ended, and its server, which still answers."""
    with serve(dialect="vllm") as server:
        config = write_config(tmp_path, VLLM.spec(server))
        assert run(config) == 0
        yield config, server


def change_a_row(cache: Path, statement: str, value: bytes) -> None:
    with closing(sqlite3.connect(cache / DATABASE)) as database, database:
        assert database.execute(statement, (value,)).rowcount >= 1


def test_a_planted_pickle_is_refused_and_not_run(
    finished: tuple[Path, Server], tmp_path: Path, capsys: Printed
) -> None:
    config, server = finished
    capsys.readouterr()
    asked = server.log.total
    change_a_row(tmp_path / "cache", "UPDATE Cache SET mode = 4, value = ?", dumps(Trap(tmp_path / "sprung")))
    assert run(config, "--out", str(tmp_path / "again")) != 0
    assert not (tmp_path / "sprung").exists()
    assert server.log.total == asked
    err = capsys.readouterr().err
    assert "pickle" in err
    assert "Traceback" not in err


def test_a_bit_flipped_on_disk_is_noticed_and_not_used(
    finished: tuple[Path, Server], tmp_path: Path, capsys: Printed
) -> None:
    config, server = finished
    cache, before = tmp_path / "cache", bytes_of(tmp_path / "run")
    capsys.readouterr()
    select = "SELECT rowid, value FROM Cache WHERE instr(CAST(value AS TEXT), 'token_logprobs') LIMIT 1"
    with closing(sqlite3.connect(cache / DATABASE)) as database:
        row, value = database.execute(select).fetchone()
    digit = re.search(rb'"token_logprobs":\[-\d+\.(\d)', value)
    assert digit is not None
    at = digit.start(1)
    # The lowest bit of a digit: still a digit, so still sound JSON with another number in it.
    flipped = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
    change_a_row(cache, f"UPDATE Cache SET value = ? WHERE rowid = {row}", flipped)
    assert run(config, "--out", str(tmp_path / "again")) != 0
    err = capsys.readouterr().err
    assert "checksum" in err
    assert "cache repair" in err
    assert not (tmp_path / "again" / "labels.jsonl").exists()
    asked = server.log.total
    assert main(["cache", "repair", str(cache)]) == 0
    assert main(["resume", str(tmp_path / "again")]) == 0
    assert server.log.total == asked + 1
    assert bytes_of(tmp_path / "again") == before


# Budget


def test_a_budget_stops_a_run_that_ends_in_the_same_bytes_once_it_is_raised(
    calm: Mapping[str, bytes], tmp_path: Path, capsys: Printed
) -> None:
    with serve(dialect="vllm") as server:
        assert run(write_config(tmp_path / "whole", VLLM.spec(server), ALONE)) == 0
        whole = server.log.total
    budget = whole // 2
    with serve(dialect="vllm") as server:
        config = write_config(tmp_path, VLLM.spec(server), ALONE, extra=f"\n[budget]\nrequests = {budget}\n")
        capsys.readouterr()
        assert run(config) == 3
        err = capsys.readouterr().err
        assert re.search(r"could exceed the budget.*raise the budget.*resume", " ".join(err.split()))
        assert "Traceback" not in err
        sent = server.log.total
        assert budget - ClientSettings().max_concurrency < sent <= budget
        # As long as nobody raises it, nothing more is sent.
        assert main(["resume", str(tmp_path / "run")]) == 3
        assert server.log.total == sent
        stopped = tmp_path / "run" / "config.toml"
        stopped.write_text(stopped.read_text().replace(f"requests = {budget}", f"requests = {whole}"))
        assert main(["resume", str(tmp_path / "run")]) == 0
        assert server.log.total == whole
    assert bytes_of(tmp_path / "run") == calm


def killed(config: Path, server: Server, rng: random.Random) -> int:
    """The exit code of a process that runs or resumes, and is killed some time after its first request."""
    run_folder = config.parent / "run"
    verb = ("resume", run_folder) if (run_folder / "inputs.json").exists() else ("run", config)
    before = server.log.total
    process = subprocess.Popen(command(*verb), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while server.log.total == before and process.poll() is None:
        time.sleep(0.002)
    time.sleep(0.2 * rng.random())
    process.kill()
    return process.wait(60)


@pytest.mark.slow  # A budget of the client alone, and one without kills, are never left out.
@pytest.mark.parametrize(("kills", "seed"), [(2, 0), (5, 1), (5, 2), (5, 3)])
def test_no_number_of_kills_sends_more_than_the_budget(
    calm: Mapping[str, bytes], tmp_path: Path, kills: int, seed: int
) -> None:
    # Less than a whole search asks for.
    budget, most, rng = 30, 4, random.Random(seed)
    with serve(dialect="vllm", faults=Faults(("slow",), delay=0.05, times=None)) as server:
        limits = f"\n[budget]\nrequests = {budget}\n\n[client]\nconcurrency = {most}\nmax_concurrency = {most}\n"
        config = write_config(tmp_path, VLLM.spec(server), ALONE, extra=limits)
        for _ in range(kills):
            assert killed(config, server, rng) in (-signal.SIGKILL, 3)
            assert server.log.total <= budget
        assert main(["resume", str(tmp_path / "run")]) == 3
        # What was under way at a kill is counted as sent, and nothing else is lost.
        assert budget - most * kills <= server.log.total <= budget
        assert spent(tmp_path / "run" / "spending.jsonl").requests == budget
        assert not (tmp_path / "run" / "labels.jsonl").exists()
        raised = tmp_path / "run" / "config.toml"
        raised.write_text(raised.read_text().replace(f"requests = {budget}", "requests = 100_000"))
        assert main(["resume", str(tmp_path / "run")]) == 0
    assert bytes_of(tmp_path / "run") == calm


def test_a_damaged_ledger_stops_a_run_before_anything_is_sent(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm") as server:
        config = write_config(tmp_path, VLLM.spec(server), extra="\n[budget]\nrequests = 12\n")
        assert run(config) == 3
        ledger, sent = tmp_path / "run" / "spending.jsonl", server.log.total
        ledger.write_text("oops\n" + ledger.read_text())
        capsys.readouterr()
        assert main(["resume", str(tmp_path / "run")]) == 2
        assert server.log.total == sent
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"{ledger}:1: damaged" in err
    assert re.search(DO, err)


# Encryption, and kills


@pytest.mark.parametrize("name", ["vllm", "openai-chat", "sglang", "gemini", "anthropic"])
def test_plain_http_to_another_machine_is_refused_unless_asked_for(name: str, tmp_path: Path, capsys: Printed) -> None:
    hosted = HOSTED[name]
    spec = f"{hosted.provider}:some-model@http://192.0.2.1/v1"
    assert run(write_config(tmp_path / "refused", spec)) == 2
    err = capsys.readouterr().err
    assert "https" in err
    assert "allow_http" in err
    # With it, the same is opened (and nothing sent, as only its plan is made).
    assert main(["plan", str(write_config(tmp_path / "allowed", spec, {"allow_http": True}))]) == 0


@pytest.mark.slow  # One on the embedded model, and one of the client alone, are never left out.
def test_killed_midway_and_resumed_ends_in_the_same_bytes(calm: Mapping[str, bytes], tmp_path: Path) -> None:
    with serve(dialect="vllm", faults=Faults(("slow",), delay=0.1, times=None), record=100_000) as server:
        config = write_config(tmp_path, VLLM.spec(server))
        process = subprocess.Popen(command("run", config), cwd=ROOT, stdout=subprocess.DEVNULL)
        while sum(server.log.statuses.values()) < 12:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        under_way = ClientSettings().concurrency + 12
        assert not (tmp_path / "run" / "labels.jsonl").exists()
        assert main(["resume", str(tmp_path / "run")]) == 0
        bodies = [json.dumps([request.path, request.body], sort_keys=True) for request in server.requests]
    assert bytes_of(tmp_path / "run") == calm
    assert len(bodies) - len(set(bodies)) <= min(under_way, ClientSettings().max_concurrency)


# Keys


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def finish(config: Path) -> None:
    """Run to the end with all logs on, in a process of its own."""
    done = subprocess.run(command("--debug", "run", config), cwd=ROOT, capture_output=True, check=False)
    (config.parent / "stdout").write_bytes(done.stdout)
    (config.parent / "stderr").write_bytes(done.stderr)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        *(pytest.param("vllm", end, marks=pytest.mark.slow) for end in ("cut", "success", "401")),
        *(pytest.param("anthropic", end, marks=pytest.mark.slow) for end in ("success", "401")),
        pytest.param("openai-chat", "success", marks=pytest.mark.slow),
        ("gemini", "401"),
    ],
)
def test_a_key_is_nowhere_after_a_run(name: str, end: str, tmp_path: Path) -> None:
    hosted = HOSTED[name]
    faults = None if end == "success" else Faults((end,), rate=0.3, times=1 if end == "cut" else None)
    options = {"samples": 2, "max_tokens": 1} if hosted.spread else hosted.options
    with serve(dialect=hosted.dialect, faults=faults) as server:
        config = write_config(tmp_path, hosted.spec(server), options, search="steps = 2")
        finish(config)
        assert server.log.total > 0
    found = dict(written(tmp_path))
    assert len(found[tmp_path / "stderr"]) > 100
    assert any(path.parent.name == "cache" for path in found)
    assert [str(path) for path, content in found.items() if SECRET.encode() in content] == []


@pytest.mark.slow
def test_a_key_is_nowhere_after_a_kill(tmp_path: Path) -> None:
    with serve(dialect="vllm") as server, (tmp_path / "stderr").open("wb") as stderr:
        config = write_config(tmp_path, VLLM.spec(server))
        process = subprocess.Popen(
            command("--debug", "run", config), cwd=ROOT, stderr=stderr, stdout=subprocess.DEVNULL
        )
        while server.log.total < 12:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.wait(60)
    assert [str(path) for path, content in written(tmp_path) if SECRET.encode() in content] == []


@pytest.mark.parametrize("name", sorted(HOSTED))
async def test_a_key_is_in_no_repr(name: str, tmp_path: Path) -> None:
    hosted = HOSTED[name]
    spec = f"{hosted.provider}:some-model@http://127.0.0.1:9/v1"
    assert os.environ[KEY_VARIABLES[0]] == SECRET
    provider, _ = open_endpoint(spec, hosted.options)
    client = open_model(config := load_config(write_config(tmp_path, spec, hosted.options)))
    shown = [repr(each) for each in (provider, client, config, config.model, vars(provider), vars(client))]
    assert not any(SECRET in each for each in shown)
    await provider.close()
    await client.close()
