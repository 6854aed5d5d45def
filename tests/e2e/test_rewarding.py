"""A run of preferences as a reward model, from the command line and in Python: prefer, best, rewardbench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icm_api import open_reward_model
from icm_api.cli.main import main
from icm_api.errors import ConfigError, RunError
from icm_api.reward import Comparison, Preference, RewardModel
from icm_api.runs import FinishedRun
from icm_api.testing import serve
from tests.finished import MadeUp, finished_run
from tests.hosted import HOSTED, KEY_VARIABLES
from tests.unit.test_reward_benchmark import ROWS

CHAT = HOSTED["openai-chat"]
Printed = pytest.CaptureFixture[str]
QUESTIONS = [{"id": f"n{at}", "prompt": f"{at}>{at + 3}"} for at in range(2)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six comparisons, as a user would make it."""
    folder = tmp_path_factory.mktemp("rewarding")
    rows = [{"prompt": f"Q{at}", "chosen": f"{at + 20}>{at}", "rejected": f"{at}>{at + 30}"} for at in range(6)]
    lines(folder / "pairs.jsonl", rows)
    assert (
        main(
            [
                "init",
                "alpaca",
                "--data",
                str(folder / "pairs.jsonl"),
                "--model",
                "pocket",
                "--out",
                str(folder / "c.toml"),
            ]
        )
        == 0
    )
    text = (folder / "c.toml").read_text()
    quick = 'seed = 0\nengine = "bootstrap"\nrestarts = 1\nrounds = 1\n'
    text = text.replace("[search]\nseed = 0\n", f"[search]\n{quick}")
    text += (
        f'\n[diagnostics]\nenabled = false\n\n[cache]\nfolder = "{folder / "cache"}"\n\n[core]\ndemonstrations = 2\n'
    )
    (folder / "c.toml").write_text(text)
    assert main(["run", str(folder / "c.toml"), "--out", str(folder / "run")]) == 0
    return folder


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def numbers(folder: Path) -> Path:
    """A run of pairs of numbers, of which the larger one is better."""
    lines(
        folder / "numbers.jsonl", [{"a": f"{10 + at * 7 % 89}", "b": f"{10 + (at * 31 + 5) % 89}"} for at in range(12)]
    )
    (folder / "n.toml").write_text(f"""
[data]
format = "preferences"
path = "numbers.jsonl"

[prompt]
template = "{{first}}>{{second}}"
separator = "\\n"
labels = ["A", "B"]
forms = {{ A = [" True"], B = [" False"] }}

[model]
provider = "pocket"

[[constraints]]
kind = "asymmetric"
label = "A"
total = true

[search]
engine = "bootstrap"
restarts = 1

[diagnostics]
enabled = false

[cache]
folder = "{folder}/cache"
""")
    assert main(["run", str(folder / "n.toml"), "--out", str(folder / "numbers-run")]) == 0
    return folder / "numbers-run"


async def test_one_line_opens_it_and_the_run_stays_whole(folder: Path) -> None:
    async with open_reward_model(folder / "run") as reward:
        told = await reward.prefer("Q9", "29>9", "9>39")
        with pytest.raises(RunError, match="in use"):
            async with open_reward_model(folder / "run"):
                pass
    assert isinstance(told, Preference)
    assert 0 < told.probability < 1
    assert FinishedRun.open(folder / "run").data_unchanged
    async with open_reward_model(folder / "run") as again:
        assert await again.prefer("Q9", "29>9", "9>39") == told
        assert isinstance(again, RewardModel)
        assert len(again.frozen.demonstrations) == 2
    async with open_reward_model(folder / "run", demonstrations=4) as other:
        assert isinstance(other, RewardModel)
        assert len(other.frozen.demonstrations) == 4
        # The same model and calibration anew: nothing of the run changes.
        assert (await other.prefer("Q9", "29>9", "29>9")).probability == 0.5


def test_prefer_writes_a_row_a_comparison_and_tells_the_biases(folder: Path, capsys: Printed) -> None:
    more = lines(
        folder / "more.jsonl",
        [
            {"id": "x", "prompt": "Q20", "output_1": "40>20", "output_2": "20>50 long"},
            {"id": "y", "prompt": "Q21", "output_1": "same", "output_2": "same"},
            {"id": "z", "prompt": "Q22", "output_1": "word " * 5000, "output_2": "22>52"},
        ],
    )
    assert main(["prefer", str(folder / "run"), str(more), "--out", str(folder / "told.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "reply in first place preferred" in said
    assert "1 comparisons got no answer" in said
    x, y, z = read(folder / "told.jsonl")
    assert sum(x["probabilities"].values()) == pytest.approx(1)
    assert x["probabilities"][x["better"]] > 0.5
    assert (y["better"], y["probabilities"]["output_1"]) == ("tie", 0.5)
    assert "context window" in z["refused"]
    assert main(["prefer", str(folder / "run"), str(folder / "pairs.jsonl"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"] == len(found["compared"]) == 6
    assert 0 <= found["chosen_preferred"]["value"] <= 1
    assert main(["prefer", str(folder / "run"), str(folder / "pairs.jsonl")]) == 0
    assert "chosen reply preferred" in capsys.readouterr().out


async def test_labels_of_a_run_judge_what_the_run_never_saw(numbers: Path) -> None:
    """In the embedded model's world the "replies" are numbers, and the larger one is better."""
    async with open_reward_model(numbers) as reward:
        asked = [(f"{at * 37 % 90 + 10}", f"{at * 53 % 90 + 10}") for at in range(30)]
        told = await reward.prefer_all(Comparison("", *pair) for pair in asked)
        right = [
            (each.probability > 0.5) == (int(one) > int(other))
            for (one, other), each in zip(asked, told, strict=True)
            if isinstance(each, Preference) and one != other
        ]
        assert sum(right) / len(right) > 0.9
        texts = ["31", "88", "12", "64", "97", "45"]
        ranking = await reward.rank("", texts)
    assert [texts[at] for at in ranking.order] == sorted(texts, reverse=True)
    with pytest.raises(ConfigError, match="shows nothing above the replies"):
        async with open_reward_model(numbers) as reward:
            await reward.prefer("Which is larger?", "1", "2")


def test_a_trained_reward_model_takes_the_place_of_the_run(
    folder: Path, numbers: Path, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train --reward`, and its spec with prefer, rewardbench and best; no model is asked, nothing is trained twice."""
    assert main(["train", str(numbers), "--reward", "--with", "pocket", "--json"]) == 0
    spec = json.loads(capsys.readouterr().out)["model"]["spec"]
    assert main(["train", str(numbers), "--reward", "--with", "pocket"]) == 0
    out, err = capsys.readouterr()
    assert f"model: {spec}" in out
    assert f"icm-api rewardbench {spec} FILE" in out
    assert err == ""
    pairs = lines(tmp_path / "pairs.jsonl", [{"chosen": f"{70 + at}", "rejected": f"{20 + at}"} for at in range(20)])
    assert main(["prefer", spec, str(pairs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen_preferred"]["value"] > 0.9
    rows = [{"id": f"n{at}", "chosen": [f"{80 + at}"], "rejected": [f"{at}1" for at in (1, 2, 3)]} for at in range(3)]
    assert main(["rewardbench", spec, str(lines(tmp_path / "bench.jsonl", rows)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overall"]["value"] == 1.0
    assert main(["prefer", spec, str(pairs), "--judge", "pocket"]) == 2
    assert "asks no other model" in capsys.readouterr().err
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")
    with serve(dialect="openai") as server:
        flags = ["--model", CHAT.spec(server), "--out", str(tmp_path / "best.jsonl"), "--cache", str(tmp_path / "c")]
        assert main(["best", spec, str(lines(tmp_path / "q.jsonl", QUESTIONS)), *flags, "--max-tokens", "3"]) == 0
    assert [len(row["scores"]) for row in read(tmp_path / "best.jsonl")] == [4, 4]


def test_another_model_may_judge_on_the_runs_budget(folder: Path, capsys: Printed) -> None:
    run = str(folder / "run")
    assert main(["prefer", run, str(folder / "pairs.jsonl"), "--judge-option", "a=1"]) == 2
    assert "name it with --judge" in capsys.readouterr().err
    assert (
        main(["prefer", run, str(folder / "pairs.jsonl"), "--judge", "pocket", "--demonstrations", "1", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["pairs"] == 6
    assert main(["prefer", run, str(folder / "pairs.jsonl"), "--judge", "nobody:x"]) == 2
    said = capsys.readouterr().err
    assert "unknown provider 'nobody'" in said
    assert "config.toml" not in said  # which names another model


def test_what_is_wrong_with_every_row_is_an_error_and_no_file_of_the_user_is_replaced(
    folder: Path, capsys: Printed
) -> None:
    more = lines(folder / "empty.jsonl", [{"prompt": "Q", "a": "x", "b": " "}])
    before = more.read_bytes()
    assert main(["prefer", str(folder / "run"), str(more)]) == 2
    assert "a reply is empty" in capsys.readouterr().err
    assert main(["prefer", str(folder / "run"), str(more), "--out", str(more)]) == 2
    assert "is the file of the replies" in capsys.readouterr().err
    assert more.read_bytes() == before


def test_rewardbench_scores_rows_in_its_format(folder: Path, capsys: Printed) -> None:
    rows = lines(folder / "bench.jsonl", list(ROWS))
    assert main(["rewardbench", str(folder / "run"), str(rows), "--demonstrations", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: each["rows"] for name, each in found["subsets"].items()} == {"Factuality": 2, "Focus": 1, "Ties": 2}
    assert found["overall"]["low"] <= found["overall"]["value"] <= found["overall"]["high"]
    assert main(["rewardbench", str(folder / "run"), str(rows), "--demonstrations", "1", "--limit", "2"]) == 0
    assert "Factuality" in capsys.readouterr().out


def test_best_picks_a_reply_and_writes_pairs_for_training(
    folder: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")
    questions = lines(folder / "questions.jsonl", QUESTIONS)
    with serve(dialect="openai") as server:
        flags = ["--model", CHAT.spec(server), "--out", str(folder / "best.jsonl"), "--cache", str(folder / "written")]
        flags += ["--samples", "3", "--max-tokens", "3", "--temperature", "2", "--to", "trl-reward"]
        priced = ["--estimate", "--prices", "1,2", "--json"]
        assert main(["best", str(folder / "run"), str(questions), *flags, *priced]) == 0
        most = json.loads(capsys.readouterr().out)
        assert (most["written"]["requests"], most["written"]["completion_tokens"]) == (6, 18)
        assert most["written"]["money"] == pytest.approx((most["written"]["prompt_tokens"] + 2 * 18) / 1e6)
        assert most["judged"]["requests"] == 12
        assert main(["best", str(folder / "run"), str(questions), *flags, "--estimate"]) == 0
        assert "at most 6 requests" in capsys.readouterr().out
        assert not server.log.requests
        assert main(["best", str(folder / "run"), str(questions), *flags]) == 0
        sent = sum(server.log.requests.values())
        assert "best of 3 replies" in capsys.readouterr().out
        assert main(["best", str(folder / "run"), str(questions), *flags, "--force", "--json"]) == 0
        assert sum(server.log.requests.values()) == sent
    summary = json.loads(capsys.readouterr().out)
    rows = read(folder / "best.jsonl")
    assert [row["id"] for row in rows] == ["n0", "n1"]
    assert all(row["best"] == row["replies"][row["scores"].index(max(row["scores"]))] for row in rows)
    pairs = read(folder / "best-trl-reward" / "train.jsonl")
    assert len(pairs) == sum(summary["pairs"]["files"].values()) == sum(len(set(row["replies"])) > 1 for row in rows)
    assert all(pair["margin"] >= 0 for pair in pairs)


def test_a_run_that_compares_nothing_is_no_reward_model(folder: Path, tmp_path: Path, capsys: Printed) -> None:
    run = finished_run(tmp_path, MadeUp(["1+1=2", "1+1=3"]))
    assert main(["prefer", str(run), str(folder / "pairs.jsonl")]) == 2
    assert "which of two replies is better" in capsys.readouterr().err


def test_a_prompt_is_given_where_the_run_shows_one_and_nowhere_else(
    folder: Path, numbers: Path, tmp_path: Path, capsys: Printed
) -> None:
    """`prefer` and `rewardbench` agree on it, and each says what to do."""
    bare = [{"id": f"n{at}", "chosen": [f"{80 + at}"], "rejected": [f"{20 + at}"]} for at in range(2)]
    asked = [{**row, "prompt": "Which?"} for row in bare]
    for verb, flat in (("rewardbench", False), ("prefer", True)):
        rows, more = (
            [{**row, "chosen": row["chosen"][0], "rejected": row["rejected"][0]} if flat else row for row in some]
            for some in (bare, asked)
        )
        without, with_prompt = lines(tmp_path / f"{verb}.jsonl", rows), lines(tmp_path / f"{verb}-more.jsonl", more)
        assert main([verb, str(numbers), str(without)]) == 0
        assert main([verb, str(folder / "run"), str(with_prompt), "--demonstrations", "1"]) == 0
        capsys.readouterr()
        assert main([verb, str(numbers), str(with_prompt)]) == 2
        assert "leave the prompt empty, or make a run whose template shows {prompt}" in capsys.readouterr().err
        assert main([verb, str(folder / "run"), str(without), "--demonstrations", "1"]) == 2
        assert "'prompt' is " in capsys.readouterr().err
    rows = [{"id": "x", "prompt": "Which?", "rejected": ["1"]}]
    assert main(["rewardbench", str(folder / "run"), str(lines(tmp_path / "bare.jsonl", rows))]) == 2
    assert "'chosen' is missing; the line has the keys ['id', 'prompt', 'rejected']" in capsys.readouterr().err


def test_best_pays_for_no_reply_that_the_run_cannot_judge(
    folder: Path, numbers: Path, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")
    questions = lines(tmp_path / "questions.jsonl", QUESTIONS)
    (tmp_path / "best-trl-dpo").mkdir()
    (tmp_path / "best-trl-dpo" / "of-the-user.txt").touch()
    nothing = finished_run(tmp_path / "made", MadeUp(["1+1=2", "1+1=3"]))
    with serve(dialect="openai") as server:
        flags = ["--model", CHAT.spec(server), "--out", str(tmp_path / "best.jsonl"), "--cache", str(tmp_path / "c")]
        for run, said in ((numbers, "shows nothing beside"), (nothing, "of two replies"), (tmp_path, "not the folder")):
            assert main(["best", str(run), str(questions), *flags]) == 2
            assert said in capsys.readouterr().err
        assert main(["best", str(folder / "run"), str(questions), *flags, "--to", "trl-dpo"]) == 2
        assert "nothing was written" in capsys.readouterr().err
        assert not server.log.requests
