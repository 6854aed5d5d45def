"""`icm-api probe CONFIG` asks with the user's own words and rows, by both routes; a window too short is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.testing import Server, serve
from tests.hosted import write_config

Printed = pytest.CaptureFixture[str]


def config_at(folder: Path, server: Server, provider: str = "openai-compatible", **options: Any) -> str:
    return str(write_config(folder, f"{provider}:{server.model}@{server.url}", {"context_window": 1000, **options}))


def test_it_asks_with_the_prompt_the_labels_and_the_first_rows(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm", record=100) as server:
        config = config_at(tmp_path, server)
        first = json.loads((tmp_path / "claims.jsonl").read_text().splitlines()[0])["text"]
        assert main(["probe", config, "--json"]) == 0
        bodies = [request.body["messages"] for request in server.requests if "messages" in request.body]
    found = json.loads(capsys.readouterr().out)["findings"]
    assert any(messages[-1]["content"] == first for messages in bodies)
    assert found["route"]["value"] == "chat/completions"
    assert found["rows"]["value"] > 0.9
    assert found["rows"]["note"].startswith("at least, of 3 with no demonstration: ")
    assert found["window"]["value"] > 0
    assert found["other_route"]["value"] > 0.9
    assert found["other_route"]["note"] == "completions"


def test_its_findings_are_lines_and_nothing_is_written(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm") as server:
        config = config_at(tmp_path, server, "vllm")
        before = sorted(tmp_path.iterdir())
        assert main(["probe", config]) == 0
    said = capsys.readouterr().out
    assert "  route               completions" in said
    assert "  the other route     coverage" in said
    assert "  first rows          coverage" in said
    assert "  context window      " in said
    assert sorted(tmp_path.iterdir()) == before


def test_a_route_that_is_not_there_is_told_with_the_option_that_mends_it(tmp_path: Path, capsys: Printed) -> None:
    # Its chat takes no max_tokens.
    with serve(dialect="openai") as server:
        assert main(["probe", config_at(tmp_path, server)]) == 2
    assert 'completions does answer: set api = "completions" under [model.options]' in capsys.readouterr().err


@pytest.mark.slow
def test_a_window_below_what_is_reckoned_with_is_said_by_probe_and_run(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm") as server:
        config = config_at(tmp_path, server, "vllm", context_window=100_000)
        assert main(["probe", config]) == 0
        said = capsys.readouterr().out
        assert "warning: the server says that its context window is" in said
        assert "set context_window = " in said
        assert main(["run", config, "--json"]) == 0
        # Its few short claims fit.
        assert "context window" not in capsys.readouterr().err
        rows = [json.loads(line) for line in (tmp_path / "claims.jsonl").read_text().splitlines()]
        many = ({**row, "id": f"{row['id']}-{n}", "group": f"{row['group']}-{n}"} for row in rows for n in range(60))
        (tmp_path / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
        Path(config).write_text(Path(config).read_text() + "\n[budget]\nrequests = 3\n")
        main(["run", config, "--out", str(tmp_path / "long"), "--json"])
        assert "warning: the server says that its context window is" in capsys.readouterr().err


def test_mistakes_are_one_line(tmp_path: Path, capsys: Printed) -> None:
    for arguments in (["probe", str(tmp_path / "none.toml")], ["probe", "nonsense"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
