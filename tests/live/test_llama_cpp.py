"""The library against llama-cpp-python's server, a real one, with tiny random weights that are made here.

Needs llama-cpp-python[server] and gguf: `pytest -m live tests/live/test_llama_cpp.py`. The oracle is the same weights
in this process. With a model that adds no BOS token that server's echo is off by one token: the probe has to notice.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icm_api.cli.main import main
from icm_api.model import Client
from icm_api.model.client.cache import ResponseCache
from icm_api.model.open import Opened, open_endpoint
from icm_api.model.probe import probe
from icm_api.model.reading.reading import forms_of
from icm_api.types import Prompt, Turn, Verbalizer
from tests.hosted import INSTRUCTION, SEPARATOR, labels_of, write_config
from tests.models import as_model

INSTALLED = all(importlib.util.find_spec(name) for name in ("llama_cpp", "gguf"))
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not INSTALLED, reason="llama-cpp-python[server] and gguf are not installed"),
]

TWO = Verbalizer.plain(["True", "False"])
OPTIONS = {"api": "completions", "echo": True, "top_logprobs": 300, "context_window": 1024}
WINDOW, WIDTH, LAYERS, HEADS, INNER = 1024, 64, 2, 4, 96
PROMPTS = [
    Prompt(INSTRUCTION, tuple(Turn(f"{at}2>{at}1", " True") for at in range(1, count)), query, TWO, SEPARATOR)
    for query in ("82>27", "12>35")
    for count in (1, 3, 6)
]
START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Running:
    """A server of a model file."""

    url: str
    file: Path
    adds_bos: bool

    @property
    def spec(self) -> str:
        return f"llamacpp:{self.file.stem}@{self.url}"

    def open(self) -> Opened:
        return open_endpoint(self.spec, OPTIONS)


def byte_letters() -> list[str]:
    """How GPT-2's tokenizer writes each byte: printable ones as they are, others as letters above 255."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) if byte in plain else chr(256 + others.index(byte)) for byte in range(256)]


def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges: bytes, and all beginnings of " True" and " False" with their space."""
    tokens, merges = byte_letters(), []
    space = tokens[ord(" ")]
    for word in ("True", "False"):
        for at, letter in enumerate(word):
            merges.append(f"{space}{word[:at]} {letter}")
            tokens.append(f"{space}{word[: at + 1]}")
    return [*tokens, "<s>", "</s>"], merges


def make_model(file: Path, *, adds_bos: bool) -> None:
    """Write random weights of a two-layer Llama."""
    import gguf

    tokens, merges = vocabulary()
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(WINDOW)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    control = gguf.TokenType.CONTROL
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - 2) + [control, control])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_add_bos_token(adds_bos)

    def add(name: str, *shape: int, scale: float = 1.0) -> None:
        values = random.standard_normal(shape) * scale / shape[-1] ** 0.5 if len(shape) > 1 else np.ones(shape)
        writer.add_tensor(name, values.astype(np.float32))

    add("token_embd.weight", len(tokens), WIDTH, scale=8)
    # Spread out, so that tokens differ in probability as those of a trained model do.
    add("output.weight", len(tokens), WIDTH, scale=3)
    add("output_norm.weight", WIDTH)
    for layer in range(LAYERS):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{part}.weight", WIDTH, WIDTH, scale=2)
        add(f"blk.{layer}.ffn_gate.weight", INNER, WIDTH, scale=2)
        add(f"blk.{layer}.ffn_up.weight", INNER, WIDTH, scale=2)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, INNER, scale=2)
        add(f"blk.{layer}.attn_norm.weight", WIDTH)
        add(f"blk.{layer}.ffn_norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=["bos", "no-bos"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server as a process of its own, with a model that adds a BOS token or none."""
    folder, port = tmp_path_factory.mktemp("llama"), free_port()
    file, adds_bos = folder / f"tiny-{request.param}.gguf", request.param == "bos"
    make_model(file, adds_bos=adds_bos)
    flags = {"model": file, "port": port, "n_ctx": WINDOW, "n_threads": 2, "logits_all": "true", "verbose": "false"}
    arguments = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", *arguments], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, folder / "log")
        yield Running(f"http://127.0.0.1:{port}/v1", file, adds_bos)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"the server did not answer in {START_SECONDS} s: {log.read_text(errors='replace')[-2000:]}")


Oracle = Callable[[str, str], float]


@pytest.fixture(scope="module")
def oracle(server: Running) -> Iterator[Oracle]:
    """log p of a form after a text: one forward pass over both in this process."""
    import llama_cpp

    model: Any = llama_cpp.Llama(str(server.file), n_ctx=WINDOW, n_threads=2, logits_all=True, verbose=False)

    def tokens(text: str) -> Sequence[int]:
        found: Sequence[int] = model.tokenize(text.encode(), add_bos=server.adds_bos, special=False)
        return found

    def logprob(text: str, form: str) -> float:
        before, whole = tokens(text), tokens(text + form)
        assert whole[: len(before)] == before
        model.reset()
        model.eval(whole)
        rows = np.array(model.scores[: len(whole)], dtype=np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        return fsum(float(rows[at - 1, whole[at]]) for at in range(len(before), len(whole)))

    yield logprob
    model.close()


def truth(oracle: Oracle, one: Prompt) -> Mapping[str, float]:
    return {form: oracle(one.text, form) for form in forms_of(one.verbalizer)}


async def test_probabilities_are_the_models_own(server: Running, oracle: Oracle) -> None:
    async with as_model(server.open()) as client:
        found = await client.label_distributions(PROMPTS)
    for one, read in zip(PROMPTS, found, strict=True):
        forms = truth(oracle, one)
        mass = fsum(map(exp, forms.values()))
        assert read.method == "top_k"
        assert read.probability("True") == pytest.approx(exp(forms[" True"]) / mass, abs=1e-4)
        assert read.coverage == pytest.approx(mass, rel=1e-3)


async def test_the_probe_finds_an_echo_that_is_off_by_a_token(server: Running, oracle: Oracle) -> None:
    provider = server.open()
    found = await probe(*provider, TWO)
    await provider.endpoint.close()
    assert found.trouble == ""
    echo = found.findings.echo
    if server.adds_bos:
        assert echo.warning == ""
        assert echo.value == pytest.approx(0, abs=1e-3)
        assert found.capabilities.prompt_logprobs
    else:
        assert "off by a token" in echo.warning
        assert not found.capabilities.prompt_logprobs


async def test_an_echo_is_right_where_the_model_adds_bos(server: Running, oracle: Oracle) -> None:
    if not server.adds_bos:
        pytest.skip("without BOS this server's echo is wrong")
    one = PROMPTS[2]
    endpoint, readers = server.open()
    assert readers.inside is not None
    async with Client(endpoint) as client:
        (readings,) = await readers.inside.read_inside([one], client)
    text = INSTRUCTION
    for turn, reading in zip(one.turns, readings, strict=True):
        text += SEPARATOR + turn.text
        assert reading.forms[turn.answer] == pytest.approx(oracle(text, turn.answer), abs=1e-3)
        text += turn.answer


async def test_a_kept_answer_is_not_asked_for_again(server: Running, tmp_path: Path) -> None:
    async with as_model(server.open(), ResponseCache(tmp_path)) as client:
        first = await client.label_distributions(PROMPTS)
    async with as_model(server.open(), ResponseCache(tmp_path)) as client:
        assert await client.label_distributions(PROMPTS) == first
        assert client.sent.requests == 0


def test_a_run_ends_and_a_second_one_ends_in_the_same_labels(server: Running, tmp_path: Path) -> None:
    config = write_config(tmp_path, server.spec, {**OPTIONS, "echo": False})
    assert main(["run", str(config)]) == 0
    assert main(["run", str(config), "--out", str(tmp_path / "again")]) == 0
    assert labels_of(tmp_path / "run") == labels_of(tmp_path / "again")
