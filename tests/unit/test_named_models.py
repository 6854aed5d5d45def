"""Every model that README, cookbook and docstrings name is known, and is not about to be retired."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from icm_api.model.open import provider_names

ROOT = Path(__file__).parents[2]
CHECKED = date(2026, 11, 25)
"""When the retirements were looked up, in the lists of models of the official SDKs."""
NAMED: dict[str, date | None] = {
    "HuggingFaceTB/SmolLM2-135M": None,
    "HuggingFaceTB/SmolLM2-135M-Instruct": None,
    "Qwen/Qwen3-0.6B": None,
    "Qwen/Qwen3-8B": None,
    "Qwen/Qwen3-8B-Base": None,
    "claude-haiku-5-5": None,
    "gpt-6-luna": None,
    "meta-llama/Llama-3.1-8B": None,
    "meta-llama/Meta-Llama-3.1-8B": None,
    "models/smollm2-135m-instruct": None,
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B": None,
    "pocket": None,
}
"""Models that users are told to use, with the day of their retirement if one is announced."""
MENTIONED = {
    "Llama-3.1-70B": "the paper's",
    "Llama-3.1-8B": "the paper's",
    "llama-405b": "on request, at ACS",
    "llama-8b": "on request, at ACS",
    "gpt-4.1": "when its fine-tuned models end",
    "gpt-4.1-mini": "the rule of an older family",
    "gpt-4o": "when its fine-tuned models end",
    "gpt-5": "gives no logprobs",
    "gpt-6-astra": "gives no logprobs",
    "gpt-6.1-sol": "gives no logprobs",
    "gpt-oss-120b": "gives no logprobs",
    "grok-4.20": "gives no logprobs",
}
"""Models that are spoken of, and which nobody is told to use."""
PLACEHOLDERS = {"MODEL", "REWARD", "NAME", "NAME_OR_DIR", "DIR", "FOLDER", "DEPLOYMENT"}
_SPEC = re.compile(rf"(?<![\w.-])(?:{'|'.join(provider_names())}):([A-Za-z0-9][\w./-]*\w)")
_FAMILY = re.compile(r"(?<![\w./-])(?:gpt-\d|gpt-oss|claude-|gemini-\d|grok-|[Ll]lama-\d)[\w.-]*\w")


def pages() -> Iterator[Path]:
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))
    for folder, kinds in (("cookbook", ("*.md", "*.ipynb")), ("icm_api", ("*.py", "*.md"))):
        for kind in kinds:
            yield from (ROOT / folder).rglob(kind)


def named(text: str) -> set[str]:
    specs = {match[1] for match in _SPEC.finditer(text)}
    return (specs | {match[0] for match in _FAMILY.finditer(_SPEC.sub(" ", text))}) - PLACEHOLDERS


def test_what_is_found_in_a_text() -> None:
    text = 'provider = "together:meta-llama/Meta-Llama-3.1-8B"  # or vllm:MODEL@http://x/v1; the paper: Llama-3.1-70B'
    assert named(text) == {"meta-llama/Meta-Llama-3.1-8B", "Llama-3.1-70B"}


def test_every_model_named_is_in_the_list_and_lasts() -> None:
    found = {path.relative_to(ROOT): named(path.read_text(encoding="utf-8")) for path in pages()}
    unknown = {f"{path}: {name}" for path, names in found.items() for name in names - NAMED.keys() - MENTIONED.keys()}
    assert not unknown, "look up when it is retired, and add it to NAMED or MENTIONED"
    for name, retired in NAMED.items():
        assert retired is None or retired > CHECKED + timedelta(days=180), f"{name} is retired on {retired}"
    assert NAMED.keys() <= set().union(*found.values()), "the list names a model that no page names"
