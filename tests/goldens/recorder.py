"""Calls the command line in this process and keeps what it wrote and printed, less what only time and place decide.

Three sections: `data` (must stay the same to the byte), `texts` (for people: numbers stay, words may change) and
`messages` (of errors and warnings; their exit codes are in `data`).
"""

from __future__ import annotations

import io
import json
import logging
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from icm_api.cli.main import main

ROOT = Path(__file__).parents[2]
TEXTS = {".html", ".md", ".txt"}
NEVER = {"sessions.jsonl", "spending.jsonl", "chat-spending.jsonl", ".lock"}
"""Files of a run that hold times, what came when, or nothing."""

# What time and place decide, and what stands there instead.
_PASSING = (
    (r'("(?:seconds|time|bytes|note_seconds)": )[\d.e-]+', r"\1N"),
    (r'("seconds": \{"value": )[\d.e-]+', r"\1N"),
    (r"(seconds an answer +)[\d.]+", r"\1N"),
    (r"\b[\d.]+ (s|ms|seconds)\b", r"N \1"),
    (r"\b[\d.,]+ MB\b", "N MB"),
    (r"\b\d+(?::\d\d)+\b", "N:NN"),
)


class Recorder:
    """Keeps artefacts in one folder, and works in another.

    Args:
        folder: where the three sections go; new or empty.
        work: where configurations and runs are written.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder, self.work, self._codes = folder, work, dict[str, int]()

    def call(self, name: str, *argv: object, told: bool = True) -> int:
        """Run a verb; keep its exit code, and what it prints on either stream (`told`: on standard error too)."""
        out, err = io.StringIO(), io.StringIO()
        logging.getLogger().handlers.clear()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main([str(each) for each in argv])
            except SystemExit as left:
                code = left.code if isinstance(left.code, int) else 1
        if name in self._codes:
            raise ValueError(f"two calls are named {name}")
        self._codes[name] = code
        if out.getvalue():
            section, suffix = ("data", "json") if "--json" in argv else ("texts", "txt")
            self.write(section, f"{name}.{suffix}", out.getvalue())
        if err.getvalue() and told:
            self.write("messages", f"{name}.txt", err.getvalue())
        return code

    def keep(self, name: str, path: Path, skip: frozenset[str] = frozenset()) -> None:
        """Keep a file, or all files of a folder."""
        files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
        for file in files:
            if file.name in NEVER | skip:
                continue
            kept = name if file == path else f"{name}/{file.relative_to(path).as_posix()}"
            try:
                self.write("texts" if file.suffix in TEXTS else "data", kept, file.read_bytes().decode())
            except UnicodeDecodeError:
                self._put("data", kept, file.read_bytes())

    def keep_cache_keys(self, name: str, cache: Path) -> None:
        """Keep the keys of a cache, in order."""
        with closing(sqlite3.connect(cache / "cache.db")) as database:
            keys = sorted(key for (key,) in database.execute("SELECT key FROM Cache"))
        self.write("data", f"{name}.txt", "".join(f"{key}\n" for key in keys))

    def write(self, section: str, name: str, text: str) -> None:
        """Keep a text, less what time and place decide."""
        for place, words in ((self.work, "<WORK>"), (ROOT, "<ROOT>")):
            text = text.replace(str(place), words)
        text = re.sub(rf"{datetime.now(UTC).date()}(T[\d:.]+(Z|\+\d\d:\d\d)?)?", "<DATE>", text)
        text = text.replace(f"icm-api {version('icm-api')}", "icm-api <VERSION>")
        for pattern, words in _PASSING:
            text = re.sub(pattern, words, text)
        self._put(section, name, text.encode())

    def finish(self) -> None:
        """Write the exit codes, and the manifest: section -> artefact -> SHA-256."""
        for first in dict.fromkeys(name.split("/")[0] for name in self._codes):
            codes = {name: code for name, code in self._codes.items() if name.startswith(f"{first}/")}
            self._put("data", f"{first}/exit_codes.json", (json.dumps(codes, indent=1) + "\n").encode())
        manifest: dict[str, Mapping[str, Any]] = {}
        for section in ("data", "texts", "messages"):
            files = sorted(each for each in (self._folder / section).rglob("*") if each.is_file())
            manifest[section] = {
                each.relative_to(self._folder / section).as_posix(): sha256(each.read_bytes()).hexdigest()
                for each in files
            }
        (self._folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")

    def _put(self, section: str, name: str, content: bytes) -> None:
        path = self._folder / section / name
        if path.exists():
            raise ValueError(f"two artefacts are named {section}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
