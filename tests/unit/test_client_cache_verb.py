"""`icm-api cache`: what each action prints and does, and its exit codes."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.model.client.cache import ResponseCache
from icm_api.model.request import Response
from icm_api.types import Usage

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three entries: two of one model, of which one is ten days old, and one of another."""
    cache = ResponseCache(tmp_path / "cache")
    cache.put_many({"new": Response({"n": 1}, Usage(1, 10, 1))}, "openai/m")
    cache.put_many({"other": Response({"n": 3}, Usage(1, 1000, 1))}, "vllm/x")
    with monkeypatch.context() as then:
        then.setattr("icm_api.model.client.entries.time", lambda: 1_000_000.0)
        cache.put_many({"old": Response({"n": 2}, Usage(1, 100, 1, 50))}, "openai/m")
    cache.close()
    return tmp_path / "cache"


def keys(folder: Path) -> set[str]:
    cache = ResponseCache(folder)
    found = {entry.key for entry in cache.entries()}
    cache.close()
    return found


def test_stats_counts_per_model(folder: Path, capsys: Printed) -> None:
    assert main(["cache", "stats", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] > 0
    openai, vllm = found["models"]
    assert (openai["model"], openai["entries"], openai["prompt_tokens"], openai["cached_tokens"]) == (
        "openai/m",
        2,
        110,
        50,
    )
    assert openai["oldest"] == "1970-01-12"
    assert (vllm["model"], vllm["entries"]) == ("vllm/x", 1)
    assert main(["cache", "stats", str(folder)]) == 0
    assert "3 entries" in capsys.readouterr().out


def test_verify_passes_what_is_whole_and_names_what_is_damaged_until_repaired(folder: Path, capsys: Printed) -> None:
    assert main(["cache", "verify", str(folder)]) == 0
    assert "all 3 entries" in capsys.readouterr().out
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        connection.execute("UPDATE Cache SET value = CAST(value || 'x' AS BLOB) WHERE key = 'old'")
    connection.close()
    assert main(["cache", "verify", str(folder)]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "1 of 3 entries" in err
    assert "cache repair" in err
    assert main(["cache", "repair", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": ["old"]}
    assert main(["cache", "verify", str(folder)]) == 0
    assert keys(folder) == {"new", "other"}


@pytest.mark.parametrize("place", ["absolute", "relative"])
@pytest.mark.parametrize("damaged", [False, True])
def test_no_verb_reads_or_deletes_a_file_that_a_row_names(
    folder: Path, tmp_path: Path, capsys: Printed, place: str, damaged: bool
) -> None:
    victim = tmp_path / "folder" / "victim"
    victim.parent.mkdir()
    victim.write_bytes(b"not the cache's")
    name = str(victim) if place == "absolute" else "../folder/victim"
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        connection.execute("UPDATE Cache SET filename = ? WHERE key = 'old'", (name,))
        if damaged:
            connection.execute("UPDATE Cache SET mode = 2, value = NULL WHERE key = 'old'")
    connection.close()
    for verb in (["stats"], ["verify"], ["repair"], ["prune", "--older-than", "0"], ["export"]):
        assert main(["cache", verb[0], str(folder), *verb[1:]]) == 3
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "move it away" in err
        assert victim.read_bytes() == b"not the cache's"


@pytest.mark.parametrize(
    ("flags", "left"),
    [
        (["--older-than", "10"], {"new", "other"}),
        (["--model", "openai/m"], {"other"}),
        (["--model", "vllm/x", "--older-than", "10"], {"new", "old", "other"}),
        (["--model", "openai"], {"new", "old", "other"}),
    ],
)
def test_prune_deletes_what_it_is_told_and_nothing_else(folder: Path, flags: list[str], left: set[str]) -> None:
    assert main(["cache", "prune", str(folder), *flags]) == 0
    assert keys(folder) == left


def test_prune_without_a_word_of_what_deletes_nothing(folder: Path, capsys: Printed) -> None:
    assert main(["cache", "prune", str(folder)]) == 2
    assert "--older-than" in capsys.readouterr().err
    assert len(keys(folder)) == 3


@pytest.mark.parametrize("to_file", [True, False])
def test_export_writes_every_entry_as_a_line(folder: Path, tmp_path: Path, capsys: Printed, to_file: bool) -> None:
    flags = ["--to", str(tmp_path / "all.jsonl")] if to_file else []
    assert main(["cache", "export", str(folder), *flags]) == 0
    text = (tmp_path / "all.jsonl").read_text() if to_file else capsys.readouterr().out
    rows = {row["key"]: row for row in map(json.loads, text.splitlines())}
    assert set(rows) == {"new", "old", "other"}
    assert (rows["old"]["model"], rows["old"]["time"], rows["old"]["body"]) == ("openai/m", 1_000_000, {"n": 2})


@pytest.mark.parametrize("action", ["stats", "verify", "repair", "export"])
def test_no_cache_is_one_line_and_exit_code_2(tmp_path: Path, action: str, capsys: Printed) -> None:
    assert main(["cache", action, str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_of_a_malformed_file_every_row_that_can_be_read_is_kept(tmp_path: Path, capsys: Printed) -> None:
    """Every 97th byte of the pages from the fourth to the middle of the file is changed."""
    folder = tmp_path / "cache"
    cache = ResponseCache(folder)
    whole = {f"key-{at}": Response({"text": "x" * 900, "n": at}, Usage(1, at)) for at in range(200)}
    cache.put_many(whole)
    cache.close()
    file = folder / "cache.db"
    content = bytearray(file.read_bytes())
    for at in range(3 * 4096, len(content) // 2, 97):
        content[at] ^= 0x5A
    file.write_bytes(content)
    assert main(["cache", "verify", str(folder)]) == 3
    assert f"icm-api cache repair {folder}" in capsys.readouterr().err
    assert main(["cache", "repair", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert Path(said["aside"]).read_bytes() == content
    cache = ResponseCache(folder)
    found = cache.get_many(whole)
    cache.close()
    assert len(found) == said["kept"] > 50
    assert all(found[key] == whole[key] for key in found)


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be taken for a page " * 100])
def test_a_cache_file_that_is_something_else_is_moved_aside_and_not_lost(
    content: bytes, folder: Path, capsys: Printed
) -> None:
    (folder / "cache.db").write_bytes(content)
    assert main(["cache", "repair", str(folder)]) == 0
    assert main(["cache", "verify", str(folder)]) == 0
    assert not content or (folder / "cache.db.malformed-1").read_bytes() == content
