"""Decision endpoints as data: who answers closed questions with probabilities, in which wire, with which limits.

It does: one entry a host.
It does not: hold code for any host, or prices. Nothing here was asked with a key: `icm-api probe` says what holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Wire: TypeAlias = Literal["openai", "systemone"]

_MANY_TOKENS = 262_144


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """One host of decision models, or one kind of server.

    Attributes:
        name: what a spec calls it.
        base_url: with its version; empty if the user has to give it.
        wire: "openai", a list of questions about an `input`, or "systemone", a map of questions about a `state`.
        path: below the base URL.
        key_variable: environment variable that holds the key.
        key_required: False for servers that may want none.
        questions: most questions of one request.
        options: most options of a question, which are the labels.
        clamp: the smallest probability that it reports for what is smaller still; 0 if it is not known to clamp.
        context_window: tokens that input and questions may have together.
        notes: what else to know.
        checked: when that was true, year and month.
    """

    name: str
    base_url: str
    wire: Wire
    path: str
    key_variable: str
    key_required: bool = True
    questions: int = 64
    options: int = 255
    clamp: float = 0.0
    context_window: int = 8192
    notes: str = ""
    checked: str = "2026-11"


_ALL = (
    DecisionEntry(
        "openai-decisions",
        "https://api.openai.com/v1",
        "openai",
        "decisions",
        "OPENAI_API_KEY",
        questions=400,
        context_window=_MANY_TOKENS,
        notes="gpt-6-luna alone. Whether the input is billed once for all questions is unverified.",
    ),
    DecisionEntry(
        "sglang-decisions",
        "http://127.0.0.1:30000/v1",
        "openai",
        "decisions",
        "SGLANG_API_KEY",
        key_required=False,
        options=26,
        notes="Any chat model; says how much probability the labels had (label_mass). Unverified.",
    ),
    DecisionEntry(
        "vllm-decisions",
        "http://127.0.0.1:8000/v1",
        "openai",
        "decisions",
        "VLLM_API_KEY",
        key_required=False,
        questions=200,
        notes="vLLM 0.33 and later, for the architectures that it names (Qwen3, Gemma 4; not Llama). Unverified.",
    ),
    DecisionEntry(
        "typesafe",
        "https://api.typesafe.ai/v1",
        "systemone",
        "systemone",
        "TYPESAFE_API_KEY",
        questions=400,
        notes="Jev, e.g. jev-latest. Unverified.",
    ),
    DecisionEntry(
        "perplexity",
        "https://api.perplexity.ai/v1",
        "systemone",
        "decisions",
        "PERPLEXITY_API_KEY",
        questions=128,
        context_window=_MANY_TOKENS,
        notes="pplx-decider-v1.2 and its flash. Answers to the same question differ in the second decimal. Unverified.",
    ),
    DecisionEntry(
        "fireworks-decisions",
        "https://api.fireworks.ai/inference/v1",
        "systemone",
        "systemone",
        "FIREWORKS_API_KEY",
        options=208,
        notes="rune. The path is unverified, as all else.",
    ),
    DecisionEntry(
        "openrouter-decisions",
        "https://openrouter.ai/api/alpha",
        "systemone",
        "decisions",
        "OPENROUTER_API_KEY",
        clamp=0.01,
        notes="Decision models of several hosts, gemini-decision-1 among them, which clamps. An alpha: unverified.",
    ),
    DecisionEntry(
        "systemone",
        "",
        "systemone",
        "systemone",
        "SYSTEMONE_API_KEY",
        key_required=False,
        notes="Any other server of System One's wire: llama.cpp, Ollama and transformers serve have it. Unverified.",
    ),
)

DECISION_ENTRIES: Mapping[str, DecisionEntry] = MappingProxyType({entry.name: entry for entry in _ALL})
"""The hosts by name."""


@dataclass(frozen=True, slots=True)
class DecisionHost:
    """One decision model at a host.

    Attributes:
        entry: with the user's options in place of its own.
        model: its name there.
        identity: the entry's name, the host and its path, and the model's name.
        extra: part of every body.
        blot: removes the key from a message.
    """

    entry: DecisionEntry
    model: str
    identity: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    blot: Callable[[str], str] = field(default=str, compare=False, repr=False)
