"""The hosted providers against the loopback server: which dialect each needs, and runs configured for them.

It does: name every way to ask a hosted model, and write a run's configuration for one.
It does not: patch a transport; what is sent here goes through the official SDKs and real sockets.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx2

from icm_api.model.catalog import ENTRIES
from icm_api.model.decision_hosts import DECISION_ENTRIES
from icm_api.model.open import Opened, open_endpoint
from icm_api.testing import Server
from tests.worlds import write_world

KEY_VARIABLES = (
    *(entry.key_variable for entry in ENTRIES.values()),
    *(entry.key_variable for entry in DECISION_ENTRIES.values()),
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
)

# A claim with its answer: as a system message it reads to the embedded model as one more demonstration, so that a
# conversation and a text are the same to it.
INSTRUCTION = "27>82 False"
SEPARATOR = "\n"


@dataclass(frozen=True, slots=True)
class Hosted:
    """One way to ask the server.

    Attributes:
        provider: the name in a spec.
        dialect: of the server.
        options: of the provider.
        route: a path that its questions go to.
        rooted: its address has no /v1.
        normalised: its server divides by the labels' sum, so that their coverage is unknown.
        spread: how far probabilities may be from the model's own: 0 for rounding alone, else so many standard errors.
    """

    provider: str
    dialect: str
    route: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rooted: bool = False
    normalised: bool = False
    spread: float = 0.0

    def spec(self, server: Server) -> str:
        """The model of this server."""
        return f"{self.provider}:{server.model}@{server.root if self.rooted else server.url}"

    def open(self, server: Server) -> Opened:
        """An endpoint at this server, and its readers."""
        return open_endpoint(self.spec(server), self.options)


_CHAT, _TEXT = "/v1/chat/completions", "/v1/completions"
_GEMINI, _CLAUDE = "/v1beta/models/", "/v1/messages"

HOSTED: Mapping[str, Hosted] = {
    "openai-chat": Hosted("openai", "openai", _CHAT, {"api": "chat"}),
    "openai-completions": Hosted("openai", "openai", _TEXT, {"api": "completions", "top_logprobs": 20}),
    "vllm": Hosted("vllm", "vllm", _TEXT),
    "vllm-chat": Hosted("vllm", "vllm", _CHAT, {"api": "chat"}),
    "sglang": Hosted("sglang", "sglang", "/generate"),
    "sglang-chat": Hosted("sglang", "sglang", _CHAT, {"api": "chat"}),
    "llamacpp": Hosted("llamacpp", "llama.cpp", _CHAT),
    "llamacpp-completions": Hosted("llamacpp", "llama.cpp", _TEXT, {"api": "completions"}),
    "fireworks": Hosted("fireworks", "fireworks", _TEXT),
    "decisions-openai": Hosted("openai-decisions", "openai", "/v1/decisions", normalised=True),
    "decisions-systemone": Hosted("systemone", "openai", "/v1/systemone", normalised=True),
    "gemini": Hosted("gemini", "openai", _GEMINI, rooted=True),
    "anthropic": Hosted("anthropic", "openai", _CLAUDE, {"samples": 40, "max_tokens": 1}, rooted=True, spread=4.5),
}
"""Every way that the library knows to ask a hosted model, by name."""


def write_config(
    folder: Path, spec: str, options: Mapping[str, Any] | None = None, *, search: str = "steps = 12", extra: str = ""
) -> Path:
    """A small world in a folder, and a configuration that asks a model for its labels."""
    config = write_world(folder, size=8, search=search)
    given = "".join(f"{name} = {json.dumps(value)}\n" for name, value in (options or {}).items())
    text = config.read_text()
    text = text.replace("[prompt]\n", f'[prompt]\ninstruction = "{INSTRUCTION}"\n')
    text = text.replace('provider = "pocket"\n', f'provider = "{spec}"\n\n[model.options]\n{given}')
    config.write_text(text + extra)
    return config


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """All requests that this process sends over HTTP in the meantime, by path."""
    sent, send = Counter[str](), httpx2.AsyncClient.send

    async def counting(self: httpx2.AsyncClient, request: httpx2.Request, **options: Any) -> httpx2.Response:
        sent[request.url.path] += 1
        return await send(self, request, **options)

    with patch.object(httpx2.AsyncClient, "send", counting):
        yield sent


def labels_of(run: Path) -> dict[str, str]:
    """The label of every example of a finished run."""
    rows = map(json.loads, (run / "labels.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["id"]: row["label"] for row in rows}


def bytes_of(run: Path) -> dict[str, bytes]:
    """The files of a finished run that must be the same for the same questions."""
    return {name: (run / name).read_bytes() for name in ("labels.jsonl", "trace.jsonl", "summary.json")}
