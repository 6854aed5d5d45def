"""Odd configurations, data, replies and arguments: a result or one of the documented errors, and nothing else.

Cases are drawn from numbered seeds, so that one that failed fails again: `SEED` in the message is all it needs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import exp
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
import tomli_w

from icm_api.cli.main import main
from icm_api.config import ClientSettings, load_config
from icm_api.data import DataSource, load_examples
from icm_api.errors import IcmError
from icm_api.model import open_model
from icm_api.runs import build_task
from icm_api.testing import serve
from icm_api.types import Prompt, Verbalizer
from tests.hosted import HOSTED

DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**70, -0.0, 1e308, 0.5, "", " ", "\0", "\x1b[31m", "a\nb", "é", "龙", "=1+1"),
    *("../..", "x" * 5000, "NaN", "1e999", [], {}, [None], {"": ""}, DEEP, {"a": {"b": [1, "2", None]}}),
)


def numbered(some: int) -> pytest.MarkDecorator:
    """So many cases, and ten times as many among the slow tests."""
    many = pytest.param(10 * some, marks=pytest.mark.slow)
    return pytest.mark.parametrize("cases", [some, many], ids=["some", "many"])


def odd(rng: random.Random, value: Any) -> Any:
    """The value with one place of it changed: replaced, left out, renamed, repeated or moved."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        changed = {name: odd(rng, each) if name == key else each for name, each in value.items()}
        match rng.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[f"{key}{rng.choice('sx_')}"] = changed.pop(key)
            case 2:
                changed[rng.choice(("extra", "id", "label", "gold", "error"))] = rng.choice(ODD)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        changed_list = [*value[:at], odd(rng, value[at]), *value[at + 1 :]]
        match rng.randrange(6):
            case 0:
                del changed_list[at]
            case 1:
                changed_list.append(value[at])
            case 2:
                rng.shuffle(changed_list)
        return changed_list
    return rng.choice(ODD)


def flipped(rng: random.Random, content: bytes) -> bytes:
    """The bytes with some flipped, cut or repeated; mostly as they are."""
    if not content or rng.random() < 0.6:
        return content
    at, size = rng.randrange(len(content)), rng.randrange(1, 20)
    match rng.randrange(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + content[at : at + size] * 2 + content[at + size :]
        case 2:
            return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        case _:
            return content[:at] + rng.randbytes(size) + content[at:]


def only_documented(seed: int, action: Callable[[], object]) -> bool:
    """Whether the action was refused; fails on whatever is no error of this library, or has more than a line."""
    said = None
    try:
        action()
    except IcmError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(f"SEED {seed}: {type(error).__name__}: {error}") from error
    assert said is None or readable(said), f"SEED {seed}: {said!r}"
    return said is not None


def readable(message: str) -> bool:
    """It has words, and nothing that a terminal would obey."""
    return bool(message.strip()) and not any(sign in message for sign in "\x00\x1b\x07")


CONFIG: dict[str, Any] = {
    "data": {"path": "rows.jsonl", "fields": ["text"], "id": "id", "limit": 2, "seed": 1},
    "prompt": {"template": "{text} is", "labels": ["True", "False"], "instruction": "Judge.", "separator": "\n"},
    "model": {"provider": "pocket", "options": {}},
    "constraints": [{"kind": "mutually_exclusive", "label": "True"}, {"kind": "equivalent", "by": "answer"}],
    "search": {"engine": "rounds", "seed": 0, "restarts": 1, "rounds": 2, "alpha": 5.0, "start": "random"},
    "client": {"concurrency": 2, "timeout": 5.0},
    "budget": {"requests": 100},
    "prices": {"input": 1.0, "output": 2.0},
    "diagnostics": {"enabled": False},
}
ROWS = [{"id": f"r{at}", "text": f"{at} is even", "group": str(at // 2), "answer": at} for at in range(4)]


@numbered(750)
def test_configurations(tmp_path: Path, cases: int) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    path, refused = tmp_path / "config.toml", 0
    for seed in range(cases):
        rng, changed = random.Random(f"config {seed}"), CONFIG
        for _ in range(rng.randrange(1, 4)):
            changed = odd(rng, changed)
        try:
            content = tomli_w.dumps(changed).encode()
        except (TypeError, AttributeError, UnicodeEncodeError, RecursionError):
            # TOML has no null, and its writer no depth.
            content = tomli_w.dumps(CONFIG).encode()
        path.write_bytes(flipped(rng, content))
        refused += only_documented(seed, lambda: build_task(load_config(path, environment=False)))
    assert cases / 4 < refused < cases


@numbered(750)
def test_data(tmp_path: Path, cases: int) -> None:
    refused = 0
    for seed in range(cases):
        rng = random.Random(f"data {seed}")
        rows: list[Any] = odd(rng, ROWS) if rng.random() < 0.8 else ROWS
        kind = rng.choice(("jsonl", "json", "csv", "tsv"))
        if kind in ("csv", "tsv") and isinstance(rows, list):
            between = rng.choice(",;\t|")
            lines = [between.join(map(str, row.values())) for row in rows if isinstance(row, dict)]
            text = "\n".join([between.join(ROWS[0]), *lines])
        else:
            lines = list(map(json.dumps, rows)) if kind == "jsonl" and isinstance(rows, list) else [json.dumps(rows)]
            text = "\n".join(lines)
        path = tmp_path / f"rows.{kind}"
        path.write_bytes(flipped(rng, text.encode(errors="replace")))
        refused += only_documented(seed, partial(load_examples, DataSource(str(path))))
    assert cases / 10 < refused < cases


@contextmanager
def mutating(upstream: str, rng: random.Random) -> Iterator[str]:
    """A server that passes its first questions on to another one, and gives those answers with something changed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body go out together: apart, each answer would wait for an acknowledgement.
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if len(answers) < 4:
                asked = client.post(upstream + self.path, content=body, headers={"Content-Type": "application/json"})
                answers.append(asked.json())
            content = flipped(rng, json.dumps(odd(rng, rng.choice(answers))).encode())
            self.send_response(rng.choice((200, 200, 200, 200, 200, 200, 400, 404, 500)))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Nothing is printed."""

    answers: list[Any] = []
    with httpx2.Client() as client:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@numbered(400)
async def test_replies(monkeypatch: pytest.MonkeyPatch, cases: int) -> None:
    labels, refused = Verbalizer({"True": [" True"], "False": [" False"]}), 0
    names = ("vllm", "openai-chat", "sglang", "gemini", "anthropic", "fireworks", "llamacpp")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("GEMINI_API_KEY", "sk-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    monkeypatch.setenv("FIREWORKS_API_KEY", "sk-test")
    settings = ClientSettings(attempts=1, retry_seconds=0)
    for name in names:
        hosted, rng = HOSTED[name], random.Random(name)
        options = dict(hosted.options) | ({"samples": 2} if name == "anthropic" else {})
        with serve(dialect=hosted.dialect) as running, mutating(running.root, rng) as root:
            spec = f"{hosted.provider}:{running.model}@{root if hosted.rooted else f'{root}/v1'}"
            async with open_model(spec, settings=settings, options=options) as model:
                for case in range(cases // len(names)):
                    prompt = Prompt("", (), f"{case}>{rng.randrange(99)} is", labels)
                    said = None
                    try:
                        [answer] = await model.label_distributions([prompt])
                        assert sum(map(exp, answer.logprobs)) == pytest.approx(1.0)
                    except IcmError as error:
                        said = str(error)
                    assert said is None or readable(said), f"{name} {case}: {said!r}"
                    refused += said is not None
    assert cases / 4 < refused < cases


@numbered(100)
def test_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cases: int
) -> None:
    """Verbs with odd values; nothing is written but below the working folder."""
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (work / "config.toml").write_text(tomli_w.dumps(CONFIG))
    verbs = ("plan", "audit", "evaluate", "export", "queue", "report", "init", "resume", "compare", "cache", "run")
    flags = ("--out", "--gold", "--to", "--json", "--most", "--seed", "--data", "--model", "--labels", "--split", "-x")
    values = ("rows.jsonl", "nothing", "", "-1", "1e9", "é", "a\0b", "work/../x", "csv", "pocket:", "True,False", "{}")
    for seed in range(cases):
        rng = random.Random(f"arguments {seed}")
        first = rng.choice(verbs)
        # What would be searched does not exist.
        given = ["nothing.toml" if first in ("run", "compare") else rng.choice(("config.toml", "rows.jsonl", *values))]
        for _ in range(rng.randrange(4)):
            given += [rng.choice(flags), *([rng.choice(values)] if rng.random() < 0.8 else [])]
        try:
            code: object = main([first, *given])
        except SystemExit as stopped:
            code = stopped.code
        except Exception as error:
            raise AssertionError(f"SEED {seed}: {[first, *given]}: {type(error).__name__}: {error}") from error
        said = capsys.readouterr()
        assert code in (0, 2, 3, None), (seed, first, given, code)
        assert "Traceback" not in said.err, (seed, first, given)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "work"}
