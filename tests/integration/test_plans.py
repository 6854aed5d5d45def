"""Plans held against the runs that they are of: engines, tasks and seeds; what is kept of both; the question before."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import median

import pytest

from icm_api.cli.main import main
from icm_api.config import load_config
from icm_api.errors import IcmError
from icm_api.runs import FinishedRun, compare_plans, plan, run_config
from icm_api.search import ENGINES
from icm_api.testing import Faults, serve
from tests.benchmarks.plans import row
from tests.hosted import write_config
from tests.worlds import write_world

Printed = pytest.CaptureFixture[str]
PRICES = "\n[prices]\ninput = 1000.0\noutput = 3000.0\n"


def lines(capsys: Printed) -> str:
    return " ".join(capsys.readouterr().out.split())


QUICK = ("rounds", "bootstrap")


@pytest.mark.parametrize(
    "engine", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ENGINES]
)
async def test_at_most_is_never_exceeded_and_what_was_planned_is_kept(tmp_path: Path, engine: str) -> None:
    config = load_config(write_world(tmp_path, "sums", size=8, search=f'engine = "{engine}"'))
    planned = await plan(config)
    result = await run_config(config)
    assert planned.likely.requests <= planned.requests
    assert result.usage.requests <= planned.requests
    assert result.usage.prompt_tokens <= planned.prompt_tokens
    assert result.about["planned"] == {
        "estimator": planned.estimator,
        "requests": planned.likely.questions,
        "prompt_tokens": planned.likely.prompt_tokens,
        "most_requests": planned.requests,
        "most_prompt_tokens": planned.prompt_tokens,
    }


SIX = [
    ("rounds", "comparisons"),
    ("rounds", "facts"),
    ("bootstrap", "comparisons"),
    ("bootstrap", "facts"),
    ("folds", "comparisons"),
    ("folds", "facts"),
]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["comparisons", "sums", "facts"])
@pytest.mark.parametrize(
    "search",
    [
        'preset = "paper"\nseed = 1',
        'preset = "reference"\nseed = 2',
        'engine = "anneal"\nseed = 3\nsteps = 5',
        'engine = "rounds"\nsteps = 2',
        'engine = "gibbs"\nseed = 4\nrestarts = 1',
        'engine = "folds"\nseed = 5\nfolds = 3',
        'engine = "bootstrap"\nseed = 6\nstart = "random"',
    ],
)
async def test_no_setting_exceeds_the_bound(tmp_path: Path, task: str, search: str) -> None:
    config = load_config(write_world(tmp_path, task, size=12, search=search))
    planned, result = await plan(config), await run_config(config)
    assert result.usage.requests <= planned.requests
    assert result.usage.prompt_tokens <= planned.prompt_tokens


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "task"), SIX)
async def test_likely_is_what_runs_on_several_data_sets_take(engine: str, task: str) -> None:
    rows = [await row(task, engine, 24, seed) for seed in range(200, 215)]
    assert median(each.taken / each.likely for each in rows) == pytest.approx(1, abs=0.25)
    assert median(each.tokens for each in rows) == pytest.approx(1, abs=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "seed"), [("rounds", 0), ("bootstrap", 1), ("folds", 2)])
async def test_minutes_and_tokens_of_a_hosted_model(
    tmp_path: Path, engine: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    slow = Faults(("slow",), times=None, delay=0.5)
    with serve(dialect="openai", faults=slow) as server:
        path = write_world(tmp_path, "facts", size=16, search=f'engine = "{engine}"\nseed = {seed}')
        spec = f'"openai:{server.model}@{server.url}"\noptions = {{ api = "completions", top_logprobs = 20 }}'
        path.write_text(path.read_text().replace('"pocket"', spec) + "\n[client]\nmax_concurrency = 8\n")
        config = load_config(path)
        planned = await plan(config, probe=True)
        assert sum(server.log.requests.values()) == 1
        await run_config(config)
    sent = json.loads((tmp_path / "run" / "sessions.jsonl").read_text())
    assert planned.likely.minutes == pytest.approx(sent["seconds"] / 60, rel=0.5)
    assert planned.likely.prompt_tokens == pytest.approx(sent["sent"]["prompt_tokens"], rel=0.25)
    assert sent["sent"]["requests"] <= planned.requests
    assert sent["sent"]["prompt_tokens"] <= planned.prompt_tokens


def test_without_a_probe_nothing_is_sent_and_no_speed_is_made_up(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm") as server:
        config = write_config(tmp_path, f"vllm:{server.model}@{server.url}")
        assert main(["plan", str(config)]) == 0
        told = lines(capsys)
        assert not server.log.requests
        assert "minutes: not known" in told
        assert "tokens are estimated from the length of the texts, and each label is taken for one token: " in told
        assert main(["plan", str(config), "--latency", "0.001"]) == 0
        assert ", under 0.1 minutes" in lines(capsys)
        assert main(["plan", str(config), "--latency", "2", "--json"]) == 0
        stated = json.loads(capsys.readouterr().out)
        assert stated["likely"]["minutes"] > 0
        assert stated["minutes"] > stated["likely"]["minutes"]
        assert main(["plan", str(config), "--probe"]) == 0
        assert "measured by one question" in lines(capsys)
        assert server.log.requests["/v1/completions"] == 1
        assert main(["run", str(config), "--json"]) == 0
        sent = sum(server.log.requests.values()) - 4
    assert sent <= stated["requests"]


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("host", ["openai-decisions", "systemone"])
async def test_demonstrations_that_a_decision_endpoint_counts_once_are_planned_once(
    tmp_path: Path, host: str, probe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with serve(dialect="openai") as server:
        path = write_world(tmp_path, size=24)
        path.write_text(
            path.read_text()
            .replace('"pocket"', f'"{host}:{server.model}@{server.url}"')
            .replace("[prompt]", '[prompt]\ntemplate = "by the rules of sums, {text}"')
        )
        config = load_config(path)
        planned = await plan(config, probe=probe)
        result = await run_config(config)
    sent = json.loads((tmp_path / "run" / "sessions.jsonl").read_text())["sent"]
    longer = result.usage.requests / planned.likely.questions
    assert planned.likely.requests * longer == pytest.approx(sent["requests"], rel=0.3)
    if probe:
        assert planned.likely.prompt_tokens * longer == pytest.approx(sent["prompt_tokens"], rel=0.3)
    assert planned.likely.cached_tokens == 0
    assert sent["prompt_tokens"] <= planned.prompt_tokens


async def test_at_most_has_room_for_what_a_decision_endpoint_asks_besides_short_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    with serve(dialect="openai") as server:
        path = write_world(tmp_path, size=4, search='engine = "bootstrap"\nrestarts = 1\nrounds = 2')
        spec = f'"openai-decisions:{server.model}@{server.url}"\noptions = {{ questions = 1 }}'
        path.write_text(path.read_text().replace('"pocket"', spec) + "\n[diagnostics]\nenabled = false\n")
        config = load_config(path)
        planned = await plan(config)
        await run_config(config)
    sent = json.loads((tmp_path / "run" / "sessions.jsonl").read_text())["sent"]
    assert sent["requests"] <= planned.requests
    assert sent["prompt_tokens"] / sent["requests"] <= planned.prompt_tokens / planned.requests


async def test_prompt_logprobs_that_prove_wrong_are_in_the_bound_and_correct_no_later_plan(tmp_path: Path) -> None:
    with serve(dialect="vllm", faults=Faults(("echo-scaled",), times=None)) as server:
        path = write_world(tmp_path / "one", size=8, search="restarts = 1")
        spec = f'"vllm:{server.model}@{server.url}"'
        path.write_text(
            path.read_text().replace('"pocket"', spec).replace('folder = "run"', f'folder = "{tmp_path}/a"')
        )
        config = load_config(path)
        planned = await plan(config)
        result = await run_config(config)
        later = await plan(config.changed(run=config.run.changed(folder=tmp_path / "b")))
        cheaper = await plan(config.changed(search=config.search.changed(estimator="joint")))
    assert (planned.estimator, result.about["method"]) == ("joint", "leave_one_out")
    assert any("leave_one_out takes the place of joint: likely " in note for note in planned.notes)
    assert result.usage.requests <= planned.requests
    assert result.usage.prompt_tokens <= planned.prompt_tokens
    assert planned.requests > cheaper.requests
    assert not any("takes the place" in note for note in cheaper.notes)
    assert later.likely == planned.likely


async def test_labels_of_several_tokens_take_no_more_requests_inside_a_prompt(tmp_path: Path) -> None:
    planned = {}
    with serve(dialect="vllm") as server:
        for forms in ('{ True = [" True"], False = [" False"] }', '{ True = [" True True"], False = [" False True"] }'):
            path = write_world(tmp_path, size=16, search="exact = 1")
            text = path.read_text().replace('"pocket"', f'"vllm:{server.model}@{server.url}"')
            path.write_text(
                text.replace("[prompt]", f"[prompt]\nforms = {forms}") + "\n[diagnostics]\nenabled = false\n"
            )
            planned[forms] = (await plan(load_config(path), probe=True)).likely
    one, several = planned.values()
    # Zero-shot and the check of the endpoint are asked by next tokens, in three requests each.
    assert one.questions < several.questions <= one.questions + 2 * (16 + 5) + 16
    assert several.prompt_tokens < 2 * one.prompt_tokens


def test_likely_stands_before_at_most_and_a_table_has_a_row_for_each_engine(tmp_path: Path, capsys: Printed) -> None:
    config = write_world(tmp_path, size=8)
    config.write_text(config.read_text() + PRICES)
    assert main(["plan", str(config)]) == 0
    told = lines(capsys)
    assert told.index("likely: ") < told.index("at most: ")
    assert "USD" in told
    assert main(["plan", str(config), "--compare"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert list(dict.fromkeys(name for row in table if (name := row.split()[0]) in ENGINES)) == list(ENGINES)
    assert main(["plan", str(config), "--compare", "--json"]) == 0
    rows = {row["engine"]: row for row in json.loads(capsys.readouterr().out) if row["estimator"] == "leave_one_out"}
    assert rows["bootstrap"]["requests"] < rows["anneal"]["requests"]
    assert rows["bootstrap"]["likely"]["money"] < rows["rounds"]["likely"]["money"] < rows["rounds"]["money"]


async def test_finished_runs_beside_it_correct_a_plan(tmp_path: Path) -> None:
    def config(name: str, engine: str = "bootstrap") -> Path:
        path = write_world(tmp_path / "worlds" / name, "facts", size=8, search=f'engine = "{engine}"')
        path.write_text(path.read_text().replace('folder = "run"', f'folder = "{tmp_path / "runs" / name}"'))
        return path

    before_all = await plan(load_config(config("one")))
    first = await run_config(load_config(config("one")))
    before, after = await plan(load_config(config("far", "folds"))), await plan(load_config(config("two")))
    assert not any("corrected" in note for note in before.notes)
    assert any("corrected by 1 finished run of this engine" in note for note in after.notes)
    assert after.likely.requests == pytest.approx(first.usage.requests, rel=0.02)
    assert after.likely.prompt_tokens == pytest.approx(first.usage.prompt_tokens, rel=0.02)
    assert after.likely.minutes is not None
    # However much more they took than was planned, what is likely is within the bound.
    summary = tmp_path / "runs" / "one" / "summary.json"
    kept = summary.read_text()
    summary.write_text(kept.replace(f'"requests": {first.usage.requests}', f'"requests": {50 * first.usage.requests}'))
    beyond = await plan(load_config(config("two")))
    assert beyond.likely.requests == beyond.requests == before_all.requests
    assert beyond.likely.prompt_tokens <= beyond.prompt_tokens
    summary.write_text(kept)
    # The bound stays, and what a summary keeps is not corrected, so that errors cannot add up.
    second = await run_config(load_config(config("two")))
    assert second.about["planned"] == first.about["planned"]
    # What cannot be read is no run.
    for name in ("summary.json", "inputs.json"):
        (tmp_path / "runs" / "one" / name).write_text("[1, 2")
    (tmp_path / "runs" / "two" / "summary.json").write_text('{"search": {"engine": "bootstrap"}, "planned": 7}')
    assert not any("corrected" in note for note in (await plan(load_config(config("three")))).notes)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 4), ("n\n", 4), ("", 4)])
def test_a_dear_run_is_asked_about_on_a_terminal(
    tmp_path: Path, answer: str, code: int, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_world(tmp_path, size=4, search='engine = "bootstrap"\nrestarts = 1')
    config.write_text(config.read_text() + PRICES + "\n[budget]\nask_above = 0.01\n")

    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return answer

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["run", str(config), "--json"]) == code
    told = " ".join(capsys.readouterr().err.split())
    assert "more than budget.ask_above, 0.01. Go on? [y/N]" in told
    assert (tmp_path / "run").exists() == (code == 0)


def test_off_a_terminal_a_dear_run_stops_unless_told_yes(tmp_path: Path, capsys: Printed) -> None:
    config = write_world(tmp_path, size=4, search='engine = "bootstrap"\nrestarts = 1')
    plain = config.read_text() + PRICES
    config.write_text(plain + "\n[budget]\nask_above = 0.01\n")
    assert main(["run", str(config), "--json"]) == 4
    assert "no terminal to ask on: nothing was sent; --yes runs it" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
    assert main(["run", str(config), "--yes"]) == 0
    assert "planned: likely" in lines(capsys)
    config.write_text(plain + "\n[budget]\nask_above = 1e9\n")
    assert main(["run", str(config), "--out", str(tmp_path / "again"), "--json"]) == 0


def test_a_question_needs_prices(tmp_path: Path) -> None:
    config = write_world(tmp_path, size=4)
    config.write_text(config.read_text() + "\n[budget]\nask_above = 1.0\n")
    with pytest.raises(IcmError, match=r"budget\.ask_above needs the model's prices"):
        load_config(config)


@pytest.mark.parametrize(
    ("spec", "tier", "share"),
    [
        ("openai:gpt", "flex", 0.5),
        ("litellm:own", "flex", 1.0),
        ("openai:gpt", "batch", 0.5),
        ("together:own", "batch", 0.5),
        ("anthropic:claude", "batch", 0.5),
    ],
)
def test_a_cheaper_tier_is_half_the_price_where_the_host_sells_it_so(
    tmp_path: Path, spec: str, tier: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("OPENAI_API_KEY", "TOGETHER_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(variable, "k")
    options = '\n[model.options]\napi = "chat"\n' if spec.startswith("together") else ""
    path = write_world(tmp_path, size=4)
    path.write_text(path.read_text().replace('"pocket"\n', f'"{spec}"\n{options}') + PRICES)
    whole = load_config(path)
    cheap = whole.changed(client=whole.client.changed(tier=tier))
    one, other = (asyncio.run(plan(each)) for each in (whole, cheap))
    assert one.money is not None
    assert other.money == pytest.approx(share * one.money)
    told = [note for note in other.notes if "by batch jobs, about" in note and "half" in note]
    assert len(told) == (tier == "batch")
    assert ("for some models" in "".join(told)) == spec.startswith("together")


@pytest.mark.parametrize(("date", "warned"), [("2020-01-02", True), ("2999-01-01", False), (None, False)])
def test_old_prices_are_warned_of(tmp_path: Path, date: str | None, warned: bool, capsys: Printed) -> None:
    config = write_world(tmp_path, size=4)
    config.write_text(config.read_text() + PRICES + (f"date = {date}\n" if date else ""))
    assert main(["plan", str(config)]) == 0
    assert ("the prices were looked up" in lines(capsys)) == warned


async def test_longer_prompts_are_planned_at_their_tier(tmp_path: Path) -> None:
    path = write_world(tmp_path, size=8, search='estimator = "leave_one_out"')
    plain = path.read_text() + PRICES
    path.write_text(plain)
    one = await plan(load_config(path))
    path.write_text(plain + f"\n[[prices.tier]]\nabove = {one.longest_prompt - 1}\ninput = 2000.0\noutput = 6000.0\n")
    dear = await plan(load_config(path))
    assert one.money is not None
    assert one.likely.money is not None
    assert dear.money == pytest.approx(2 * one.money)
    assert dear.likely.money is not None
    # Few of the likely prompts are about as long as all examples together.
    assert one.likely.money <= dear.likely.money < 1.2 * one.likely.money


async def test_a_witness_is_planned_whole_whatever_judging_may_take(tmp_path: Path) -> None:
    path = write_world(tmp_path, size=8)
    one = await plan(load_config(path))
    path.write_text(path.read_text() + '\n[diagnostics]\nwitness = "pocket"\n')
    other = await plan(load_config(path))
    assert other.likely.requests > one.likely.requests
    assert other.requests == one.requests + 8


async def test_every_estimator_has_a_row(tmp_path: Path) -> None:
    found = await compare_plans(load_config(write_world(tmp_path, size=8)))
    assert len({(row.engine, row.estimator) for row in found}) == len(found) >= len(ENGINES)


async def test_prompts_that_travel_in_lists_are_planned_as_the_requests_that_a_server_counts(tmp_path: Path) -> None:
    with serve(dialect="vllm") as server:
        path = write_world(tmp_path, size=16, search='engine = "bootstrap"\nrestarts = 1')
        spec = f'provider = "vllm:{server.model}@{server.url}"'
        path.write_text(path.read_text().replace('provider = "pocket"', spec) + "\n[diagnostics]\nenabled = false\n")
        config = load_config(path)
        planned = await plan(config)
        result = await run_config(config)
        asked = {way: server.log.requests[f"/{way}"] for way in ("v1/completions", "tokenize")}
    assert result.about["planned"]["requests"] == planned.likely.questions
    assert asked["v1/completions"] * 5 < result.usage.requests - asked["tokenize"]
    # Texts that end alike are cut into tokens once, which is not known beforehand.
    assert planned.likely.requests / 2 <= sum(asked.values()) <= planned.likely.requests
    sent = FinishedRun.open(tmp_path / "run").sent
    assert sent is not None
    assert sent.usage.requests == sum(asked.values())


async def test_an_example_that_is_set_aside_as_too_long_outweighs_no_plan(tmp_path: Path) -> None:
    path = write_world(tmp_path, "facts", size=12)
    sound = await plan(load_config(path))
    with (tmp_path / "claims.jsonl").open("a") as file:
        file.write(json.dumps({"id": "long", "text": "1>2 " * 2000, "group": None, "answer": None}) + "\n")
    config = load_config(path)
    planned, result = await plan(config), await run_config(config)
    assert planned.too_long == ("long",)
    assert planned.examples == 13
    assert (planned.likely, planned.requests) == (sound.likely, sound.requests)
    assert result.about["planned"]["prompt_tokens"] == sound.likely.prompt_tokens
    assert result.usage.prompt_tokens < 2 * sound.likely.prompt_tokens


@pytest.mark.parametrize("task", ["sums", "comparisons"])
async def test_a_core_whose_groups_are_all_shown_is_not_asked_about_again(tmp_path: Path, task: str) -> None:
    path = write_world(tmp_path, task, size=80)
    path.write_text(path.read_text() + "\n[core]\nsize = 24\n")
    config = load_config(path)
    planned = await plan(config)
    await run_config(config)
    sent = FinishedRun.open(tmp_path / "run").sent
    assert sent is not None
    assert planned.likely.requests == pytest.approx(sent.usage.requests, rel=0.25)
    assert planned.likely.prompt_tokens == pytest.approx(sent.usage.prompt_tokens, rel=0.25)
    assert sent.usage.requests <= planned.requests
    assert sent.usage.prompt_tokens <= planned.prompt_tokens
