"""Runs on a real Ray cluster of two workers: the same bytes, whoever is killed; no budget exceeded, nothing paid twice.

Each run is a process of its own, as a user starts it, with a cluster of its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import pytest

from icm_api.model.client.ledger import spent
from icm_api.testing import Faults, Server, serve
from tests.cable import Cable, cable
from tests.disk import small_disk
from tests.redis_server import RedisServer, needs_redis, redis_server
from tests.worlds import write_world

pytestmark = [
    pytest.mark.slow,
    needs_redis,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install 'icm-api[ray]'"),
]

NAMES = ("labels.jsonl", "summary.json", "trace.jsonl", "frozen.json", "parts/0000.jsonl", "parts/0001.jsonl")
SEARCH = 'engine = "gibbs"\nrestarts = 1\nrounds = 1\n'
MORE = (
    "\n[batches]\nsize = 12\ncount = 4\noverlap = 4\n\n[core]\npart = 30\n\n[diagnostics]\nenabled = false\n\n"
    "[client]\nretry_seconds = 60\n\n[budget]\nrequests = {budget}\n"
)
PIECES = ("BatchPiece", "PartPiece")
PATIENCE = 600
"""Seconds: Ray gives its workers a low priority, so that on a busy machine they take their time."""
SLOTS = 64
"""Requests that one worker may have under way."""


def configured(folder: Path, server: Server, cache: str, budget: int = 5000) -> Path:
    config = write_world(folder, "comparisons", 96, SEARCH)
    text = config.read_text().replace('provider = "pocket"', f'provider = "vllm:{server.model}@{server.url}"')
    config.write_text(text.replace('folder = "cache"', cache) + MORE.format(budget=budget))
    return config


def started(verb: str, target: Path, executor: str = "ray") -> subprocess.Popen[str]:
    environment = {**os.environ, "ICM_RUN__EXECUTOR": executor} if executor else {**os.environ}
    if verb == "resume" and executor:
        text = (target / "config.toml").read_text()
        assert f'executor = "{executor}"' in text
    command = [sys.executable, "-m", "icm_api.cli.main", verb, str(target), *(["--yes"] if verb == "run" else [])]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out + err


def check_stopped(process: subprocess.Popen[str], run: Path) -> None:
    code, told = ended(process)
    assert code == 3, told
    assert f"to go on: icm-api resume {run}\n" in told
    # One line, and nothing of what a worker or an actor would tell a developer.
    assert re.search(r"^icm-api: [^\n]+\n*\Z", told, re.MULTILINE), told


def children(parent: int) -> dict[int, str]:
    """All processes below one, and what they call themselves."""
    parents, names = dict[int, int](), dict[int, str]()
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text()
            names[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue

    def below(pid: int) -> bool:
        while pid in parents:
            pid = parents[pid]
            if pid == parent:
                return True
        return False

    return {pid: name for pid, name in names.items() if below(pid)}


def seen(process: subprocess.Popen[str], name: str) -> int:
    """One of the cluster's processes, once there is one that is called so: its id."""
    until = monotonic() + PATIENCE
    while monotonic() < until and process.poll() is None:
        for pid, called in children(process.pid).items():
            if re.match(rf"ray::.*{name}", called):
                return pid
        sleep(0.05)
    process.kill()
    raise AssertionError(f"no process of the cluster was called {name}: {ended(process)}")


def kill_one(process: subprocess.Popen[str], name: str) -> None:
    """Kill one of the cluster's processes, once there is one that is called so."""
    os.kill(seen(process, name), signal.SIGKILL)


def files(folder: Path) -> Mapping[str, bytes]:
    return {name: (folder / "run" / name).read_bytes() for name in NAMES}


def wait_for(condition: Callable[[], bool]) -> None:
    until = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < until
        sleep(0.02)


def bodies(server: Server) -> Counter[str]:
    """How often each question was asked, whatever it travelled with."""
    found: Counter[str] = Counter()
    for request in server.requests:
        prompt = request.body.get("prompt", request.path)
        several = isinstance(prompt, list) and not isinstance(prompt[0], int)
        found.update(map(json.dumps, prompt if several else [prompt]))
    return found


def posted(server: Server) -> int:
    """Requests over HTTP, which a budget counts: a list of questions is one."""
    return sum(request.path.endswith("/completions") for request in server.requests)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(instant=True, faults=Faults(("slow",), 0.0, latency=(0.02, 0.02)), record=1_000_000) as running:
        yield running


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, bytes], Counter[str]]:
    """What one process gives and asks."""
    folder = tmp_path_factory.mktemp("whole")
    before = bodies(server)
    code, told = ended(started("run", configured(folder, server, 'folder = "cache"'), ""))
    assert code == 0, told
    return files(folder), bodies(server) - before


Whole = tuple[Mapping[str, bytes], Counter[str]]


def test_workers_give_the_bytes_of_one_process_and_ask_as_much(
    server: Server, redis: RedisServer, whole: Whole, tmp_path: Path
) -> None:
    before = bodies(server)
    code, told = ended(started("run", configured(tmp_path, server, f'url = "{redis.url}"')))
    assert code == 0, told
    assert files(tmp_path) == whole[0]
    assert bodies(server) - before == whole[1]


@pytest.mark.parametrize(
    ("victim", "during"),
    [("BatchPiece", "BatchPiece"), ("PartPiece", "PartPiece"), *(("LimiterActor", each) for each in PIECES)],
)
def test_whoever_is_killed_the_bytes_are_the_same_and_only_what_was_in_flight_is_paid_again(
    victim: str, during: str, server: Server, redis: RedisServer, whole: Whole, tmp_path: Path
) -> None:
    before = bodies(server)
    process = started("run", configured(tmp_path, server, f'url = "{redis.url}"'))
    seen(process, during)
    kill_one(process, victim)
    code, told = ended(process)
    assert code == 0, told
    assert files(tmp_path) == whole[0]
    twice = (bodies(server) - before) - whole[1]
    assert sum(twice.values()) <= SLOTS


@pytest.mark.parametrize("during", PIECES)
def test_a_server_of_the_cache_that_restarts_loses_nothing(
    during: str, server: Server, redis: RedisServer, whole: Whole, tmp_path: Path
) -> None:
    before = bodies(server)
    process = started("run", configured(tmp_path, server, f'url = "{redis.url}"'))
    seen(process, during)
    wait_for(lambda: sum((bodies(server) - before).values()) > 50)
    redis.kill()
    sleep(1.0)
    redis.start()
    code, told = ended(process)
    if code == 3:
        code, told = ended(started("resume", tmp_path / "run"))
    assert code == 0, told
    assert files(tmp_path) == whole[0]
    assert sum(((bodies(server) - before) - whole[1]).values()) <= 2 * SLOTS


def test_a_run_that_is_killed_with_its_cluster_goes_on(
    server: Server, redis: RedisServer, whole: Whole, tmp_path: Path
) -> None:
    before = bodies(server)
    process = started("run", configured(tmp_path, server, f'url = "{redis.url}"'))
    wait_for(lambda: sum((bodies(server) - before).values()) > 50)
    process.kill()
    process.communicate()
    code, told = ended(started("resume", tmp_path / "run"))
    assert code == 0, told
    assert files(tmp_path) == whole[0]
    assert sum(((bodies(server) - before) - whole[1]).values()) <= 2 * SLOTS


@pytest.mark.parametrize("during", PIECES)
@pytest.mark.parametrize("end", [Cable.cut, Cable.hush])
def test_a_network_that_is_cut_stops_the_run_and_it_goes_on(
    end: Callable[[Cable], None], during: str, server: Server, redis: RedisServer, whole: Whole, tmp_path: Path
) -> None:
    before = bodies(server)
    with cable(server.root) as network:
        config = configured(tmp_path, replace(server, root=network.root), f'url = "{redis.url}"')
        config.write_text(config.read_text().replace("retry_seconds = 60", "retry_seconds = 2\ntimeout = 1.0"))
        process = started("run", config)
        seen(process, during)
        end(network)
        check_stopped(process, tmp_path / "run")
        network.mend()
        code, told = ended(started("resume", tmp_path / "run"))
    assert code == 0, told
    assert files(tmp_path) == whole[0]
    assert sum(((bodies(server) - before) - whole[1]).values()) <= 2 * SLOTS


@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_a_disk_that_is_full_stops_the_run_and_it_goes_on_once_there_is_room(
    share: float, server: Server, redis: RedisServer, whole: Whole, tmp_path: Path
) -> None:
    """Of what the files of a whole run take, the disk has room for a share: for the ledger, batches, and parts."""
    before, size = bodies(server), sum(map(len, whole[0].values()))
    with small_disk(tmp_path / "disk", int(share * size) // 1024) as disk:
        config, run = configured(tmp_path, server, f'url = "{redis.url}"'), disk.folder / "run"
        config.write_text(config.read_text().replace('folder = "run"', f'folder = "{run}"'))
        check_stopped(started("run", config), run)
        disk.resize()
        code, told = ended(started("resume", run))
        assert code == 0, told
        assert files(disk.folder) == whole[0]
    assert sum(((bodies(server) - before) - whole[1]).values()) <= SLOTS


@pytest.mark.parametrize("victim", ["", "BatchPiece", "LimiterActor"])
def test_no_worker_spends_more_than_the_budget_of_all(
    victim: str, server: Server, redis: RedisServer, tmp_path: Path
) -> None:
    before, budget = posted(server), 25
    process = started("run", configured(tmp_path, server, f'url = "{redis.url}"', budget))
    if victim:
        kill_one(process, victim)
    code, told = ended(process)
    assert code == 3, told
    assert "budget" in told
    assert 0 < posted(server) - before <= budget
    assert spent(tmp_path / "run" / "spending.jsonl").requests <= budget


@pytest.mark.parametrize("victim", ["", "BatchPiece"])
def test_the_seeds_of_a_comparison_are_searched_side_by_side(
    victim: str, server: Server, redis: RedisServer, tmp_path: Path
) -> None:
    """With a budget that both seeds share; the same numbers as one after the other, and nothing asked twice."""
    found, asked = {}, {}
    for executor in ("", "ray"):
        cache = f'url = "{redis.url}"' if executor else 'folder = "cache"'
        config = configured(tmp_path / f"place-{executor}", server, cache)
        text = config.read_text().replace("\n[batches]\nsize = 12\ncount = 4\noverlap = 4\n", "")
        methods = '["icm", "bootstrap-equal", "golden"]'
        config.write_text(f"{text}\n[compare]\nseeds = 2\nheld_out = 0.5\nmethods = {methods}\n")
        before = bodies(server)
        gold = str(config.parent / "gold.jsonl")
        command = [sys.executable, "-m", "icm_api.cli.main", "compare", str(config), "--gold", gold, "--json"]
        environment = {**os.environ, **({"ICM_RUN__EXECUTOR": executor} if executor else {})}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if victim and executor:
            kill_one(process, victim)
        code, told = ended(process)
        assert code == 0, told
        place = config.parent / "run-compare"
        found[executor] = (place / "comparison.json").read_bytes(), (place / "table.csv").read_bytes()
        asked[executor] = bodies(server) - before
        if executor:
            counted = spent(place / "spending.jsonl").requests
    assert found["ray"] == found[""]
    assert sum((asked["ray"] - asked[""]).values()) <= (SLOTS if victim else 0)
    assert 0 < counted <= 5000
