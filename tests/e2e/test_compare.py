"""`icm-api compare` as a user meets it: against counting by hand, gold shuffled, killed midway, cut by a budget."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import fmean

import pytest

from icm_api.cli.main import main
from icm_api.compare.measuring import doubling
from icm_api.compare.summing import moments
from icm_api.config import load_config
from icm_api.model import open_model
from icm_api.result import Result
from icm_api.runs import FinishedRun, build_task, load_dataset
from icm_api.testing import Faults, serve
from icm_api.types import Prompt
from tests.worlds import write_world

Printed = pytest.CaptureFixture[str]
SEARCHES = ("bootstrap", "bootstrap-equal", "icm", "icm-unconstrained")


def write_config(folder: Path, extra: str = "", *, task: str = "comparisons", size: int = 24) -> Path:
    """A small world, half of it held out, with prices."""
    config = write_world(folder, task, size, search="steps = 40")
    config.write_text(
        config.read_text() + "\n[prices]\ninput = 1.0\noutput = 4.0\n\n[compare]\nheld_out = 0.5\nseeds = 2\n" + extra
    )
    return config


def compare(config: Path, *more: str) -> None:
    """The command, in this process; it must succeed."""
    assert main(["compare", str(config), "--gold", str(config.parent / "gold.jsonl"), *more]) == 0


def table(folder: Path) -> Mapping[tuple[str, str, str], float]:
    """The means, by row, part and metric."""
    rows = csv.DictReader((folder / "table.csv").read_text().splitlines())
    return {(row["row"], row["part"], row["metric"]): float(row["mean"]) for row in rows if row["mean"]}


def gold_of(config: Path) -> dict[str, str]:
    rows = map(json.loads, (config.parent / "gold.jsonl").read_text().splitlines())
    return {row["id"]: row["gold"] for row in rows}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a finished comparison."""
    config = write_config(tmp_path_factory.mktemp("world"))
    compare(config, "--json")
    return config


@pytest.fixture(scope="module")
def said(done: Path) -> tuple[str, str]:
    """What the command prints, and says meanwhile, once all is measured."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        compare(done)
    return out.getvalue(), err.getvalue()


def place(config: Path) -> Path:
    return config.parent / "run-compare"


def searched(config: Path, seed: int) -> list[str]:
    rows = map(json.loads, (place(config) / "seeds" / str(seed) / "searched.jsonl").read_text().splitlines())
    return [row["icm_id"] for row in rows]


@pytest.mark.parametrize("method", SEARCHES)
def test_agreement_of_searched_labels_is_what_counting_gives(done: Path, method: str) -> None:
    gold = gold_of(done)
    by_hand = []
    for seed in (0, 1):
        labels = Result.load(place(done) / "runs" / f"{method}-{seed}").labeling
        assert sorted(labels) == sorted(searched(done, seed))
        by_hand.append(fmean(labels[key] == gold[key] for key in labels))
    assert table(place(done))[method, "labels", "accuracy"] == pytest.approx(fmean(by_hand), abs=1e-6)


async def test_held_out_accuracy_is_what_asking_by_hand_gives(done: Path) -> None:
    gold, config = gold_of(done), load_config(done)
    task, dataset = build_task(config), load_dataset(config)
    found: dict[str, list[float]] = {"zero-shot": [], "icm": [], "golden": []}
    async with open_model("pocket") as llm:
        for seed in (0, 1):
            inside = searched(done, seed)
            labels = Result.load(place(done) / "runs" / f"icm-{seed}").labeling
            for name, shown in (("zero-shot", {}), ("icm", labels), ("golden", gold)):
                lines = [f"{dataset.get(key).fields['text']} {shown[key]}\n" for key in inside if key in shown]
                out = [example for example in dataset if example.id not in inside]
                prompts = [Prompt("".join(lines), (), one.fields["text"], task.verbalizer, "") for one in out]
                answers = await llm.label_distributions(prompts)
                right = [answer.best == gold[one.id] for answer, one in zip(answers, out, strict=True)]
                found[name].append(fmean(right))
    means = table(place(done))
    for name, values in found.items():
        assert means[name, "held_out", "accuracy"] == pytest.approx(fmean(values), abs=1e-6)
    gap = fmean(found["golden"]) - fmean(found["zero-shot"])
    assert gap > 0
    share = (fmean(found["icm"]) - fmean(found["zero-shot"])) / gap
    told = means.get(("icm", "held_out", "gap_recovered"))
    # Withheld if golden labels are not clearly ahead.
    assert told is None or told == pytest.approx(share, abs=1e-6)


def test_cost_is_what_the_run_folders_say(done: Path) -> None:
    means = table(place(done))
    for method in SEARCHES:
        runs = [json.loads((place(done) / "runs" / f"{method}-{at}" / "summary.json").read_text()) for at in (0, 1)]
        requests, tokens, out = (
            fmean(run["usage"][key] for run in runs) for key in ("requests", "prompt_tokens", "completion_tokens")
        )
        assert means[method, "labels", "requests"] == pytest.approx(requests)
        assert means[method, "labels", "prompt_tokens"] == pytest.approx(tokens)
        assert means[method, "labels", "money"] == pytest.approx((tokens + 4 * out) / 1e6, abs=1e-6)


def test_bootstrap_at_equal_cost_asks_as_much_as_icm_and_at_most_one_round_more(done: Path) -> None:
    for seed in (0, 1):
        size = len(searched(done, seed))
        icm, equal = (Result.load(place(done) / "runs" / f"{name}-{seed}").usage for name in ("icm", "bootstrap-equal"))
        assert icm.requests <= equal.requests <= icm.requests + 2 * size


def test_the_trace_replayed_ends_at_the_labels_handed_out(done: Path) -> None:
    for method in SEARCHES:
        folder = place(done) / "runs" / f"{method}-0"
        passed = list(moments(FinishedRun.open(folder).trace(), len(searched(done, 0))))
        assert passed[-1].best == Result.load(folder).labeling
        # What is handed out is scored by leave-one-out too, if the search went by another estimator.
        result = Result.load(folder)
        exact = len(result.examples) if "estimated" in result.about else 0
        assert passed[-1].requests == result.usage.requests - exact


def test_icm_on_all_examples_is_what_the_plain_run_finds(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, 'test = "claims.jsonl"\ntest_gold = "gold.jsonl"\nmethods = ["icm"]\ncurve = false\n'
    )
    compare(config, "--json")
    # Judging comes after a search, and a comparison leaves it out.
    config.write_text(config.read_text() + "\n[diagnostics]\nenabled = false\n")
    assert main(["run", str(config), "--json"]) == 0
    ours, plain = Result.load(place(config) / "runs" / "icm-0"), Result.load(tmp_path / "run")
    assert ours.labeling == plain.labeling
    assert ours.usage == plain.usage
    assert (place(config) / "runs" / "icm-0" / "trace.jsonl").read_bytes() == (
        tmp_path / "run" / "trace.jsonl"
    ).read_bytes()


def test_the_table_on_the_terminal(said: tuple[str, str]) -> None:
    out, err = said
    lines = out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("written to")) <= 100
    for words in ("zero-shot, base model", "ICM", "golden labels", "requests", "money", "gap", "AUROC", "ECE"):
        assert words in out
    assert "zero-shot, chat model: not asked: name a chat model with --chat" in out
    assert "2 seeds, 8 searches: at most " in err
    assert "seed 1: searching, bootstrap-equal" in err
    assert "seed 1: measuring, golden" in err


def test_verdicts_and_money_are_said_now_and_for_the_whole(done: Path, said: tuple[str, str]) -> None:
    lines = said[0].splitlines()
    for name in SEARCHES:
        [line] = [line for line in lines if line.startswith(f"{name}-0: ")]
        summary = json.loads((place(done) / "runs" / f"{name}-0" / "summary.json").read_text())
        counts = [f"{label} {count}" for label, count in summary["label_counts"].items()]
        assert line == f"{name}-0: " + ", ".join([summary.get("diagnosis", {}).get("verdict", "not judged"), *counts])
    [sent] = [line for line in lines if line.startswith("sent now: ")]
    assert sent.startswith("sent now: 0 requests, 0.0000 USD; for the whole comparison: ")
    assert not sent.endswith(" 0 requests, 0.0000 USD")


def test_the_plan_is_an_upper_bound(done: Path, said: tuple[str, str]) -> None:
    promised = int(said[1].split("at most ")[1].split(" requests")[0].replace(",", ""))
    means = table(place(done))
    rows = sum(2 * value for (_, _, metric), value in means.items() if metric == "requests")
    held_out = 24 - len(searched(done, 0))
    curve = 2 * held_out * len(doubling(len(searched(done, 0))))
    assert rows + curve <= promised


def test_files_for_machines(done: Path) -> None:
    found = json.loads((place(done) / "comparison.json").read_text())
    assert [row["method"] for row in found["rows"] if "held_out" not in row] == ["chat"]
    assert found["notes"][0] == "zero-shot, chat model: not asked: name a chat model with --chat"
    icm = next(row for row in found["rows"] if row["method"] == "icm")
    assert icm["held_out"]["accuracy"]["mean"] == pytest.approx(fmean(icm["held_out"]["accuracy"]["seeds"]))
    iterations = (place(done) / "iterations.csv").read_text().splitlines()
    assert iterations[0] == "seed,step,restart,requests,current,best"
    for name in ("bars", "iterations", "demonstrations"):
        assert (place(done) / f"{name}.svg").is_file()
        assert (place(done) / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    last = (place(done) / "demonstrations.csv").read_text().splitlines()[-1].split(",")
    assert float(last[1]) == pytest.approx(table(place(done))["icm", "held_out", "accuracy"], abs=1e-6)


def files_of(runs: Path) -> dict[str, bytes]:
    """All of the run folders but the notes of what each process sent, and how long it took."""
    return {
        str(path.relative_to(runs)): path.read_bytes()
        for path in sorted(runs.rglob("*"))
        if path.is_file() and path.name not in ("sessions.jsonl", "spending.jsonl", "seal.json", ".lock")
    }


@pytest.mark.parametrize("change", ["shuffled", pytest.param("inverted", marks=pytest.mark.slow)])
def test_gold_shuffled_the_searches_are_the_same_bytes(done: Path, tmp_path: Path, change: str) -> None:
    before, runs = files_of(place(done) / "runs"), place(done) / "runs"
    labels = list(gold_of(done).values())
    other = labels[1::2] + labels[::2] if change == "shuffled" else [str(label != "True") for label in labels]
    assert other != labels
    gold = tmp_path / "gold.jsonl"
    pairs = zip(gold_of(done), other, strict=True)
    gold.write_text("".join(json.dumps({"id": key, "gold": label}) + "\n" for key, label in pairs))
    runs.rename(tmp_path / "runs")
    try:
        assert main(["compare", str(done), "--gold", str(gold), "--json"]) == 0
        assert files_of(runs) == before
    finally:
        compare(done, "--json")
    assert len(before) == 8 * 5


def test_another_configuration_in_the_same_folder_is_refused(done: Path, capsys: Printed) -> None:
    changed = done.with_name("changed.toml")
    changed.write_text(done.read_text().replace("steps = 40", "steps = 41"))
    gold, out = str(done.parent / "gold.jsonl"), str(place(done))
    assert main(["compare", str(changed), "--gold", gold, "--out", out]) == 2
    assert "another [search]" in capsys.readouterr().err
    changed.write_text(done.read_text().replace("held_out = 0.5", "held_out = 0.3"))
    assert main(["compare", str(changed), "--gold", gold, "--out", out]) == 2
    assert "holds other examples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("thresold = 0.9\n", ["compare.thresold", "compare.threshold"]),
        ('methods = ["bootstrap-equal"]\n', ["icm"]),
        ("held_out = 1.5\n", ["held_out"]),
        ("", ["nowhere.jsonl", "gold"]),
        ("\n[cache]\nenabled = false\n", ["cache"]),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, capsys: Printed, extra: str, words: list[str]) -> None:
    config = write_config(tmp_path)
    text = config.read_text().replace("held_out = 0.5\n", "") if "held_out" in extra else config.read_text()
    text = text.replace('[cache]\nfolder = "cache"\n', "") if "cache" in extra else text
    config.write_text(text + extra)
    gold = tmp_path / ("gold.jsonl" if extra else "nowhere.jsonl")
    assert main(["compare", str(config), "--gold", str(gold)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_pseudo_labels_where_none_is_sure_enough_are_zero_shot_and_say_so(tmp_path: Path, capsys: Printed) -> None:
    config = write_config(tmp_path, 'methods = ["zero-shot", "pseudo-labels"]\nthreshold = 1.0\n')
    compare(config)
    assert "none in 2 of 2 seeds, zero-shot there" in capsys.readouterr().out
    means = table(place(config))
    for part in ("labels", "held_out"):
        for metric in ("accuracy", "auroc", "calibration_error"):
            assert means["pseudo-labels", part, metric] == means["zero-shot", part, metric]


def test_without_constraints_there_is_no_ablation(tmp_path: Path, capsys: Printed) -> None:
    config = write_config(tmp_path, 'methods = ["icm", "icm-unconstrained"]\ncurve = false\n')
    text = config.read_text()
    start = text.index("[[constraints]]")
    config.write_text(text[:start] + text[text.index("[search]") :])
    compare(config)
    assert "not run: the configuration has no constraints" in capsys.readouterr().out
    assert not list(place(config).glob("runs/icm-unconstrained-*"))


def test_without_matplotlib_the_table_still_comes(done: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    compare(done)
    out, err = capsys.readouterr()
    assert "golden labels" in out
    assert "no figures: " in err
    assert "icm-api[report]" in err


# Hosted models


def apart(folder: Path, url: str, keep: str, extra: str = "") -> Path:
    """Searched and held-out examples in files of their own, those whose texts have `keep` in them left out if any."""
    config = hosted(folder, url, 'test = "test.jsonl"\ntest_gold = "test_gold.jsonl"\n' + extra)
    config.write_text(config.read_text().replace("held_out = 0.5\n", "").replace("seeds = 2", "seeds = 1"))
    rows = [json.loads(line) for line in (folder / "claims.jsonl").read_text().splitlines()]
    golden = gold_of(config)
    for data, gold, part in (("claims", "gold", rows), ("test", "test_gold", rows[4:] + rows[:2])):
        kept = [row for row in part if not keep or keep not in row["text"]]
        (folder / f"{data}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
        lines = (json.dumps({"id": row["id"], "gold": golden[row["id"]]}) + "\n" for row in part)
        (folder / f"{gold}.jsonl").write_text("".join(lines))
    return config


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        ("refusal", ["zero-shot-calibrated", "golden"]),
        *(
            pytest.param(kind, ["zero-shot", "random", "bootstrap-equal", "icm", "golden"], marks=pytest.mark.slow)
            for kind in ("filter", "refusal")
        ),
    ],
)
def test_a_refused_example_is_left_out_of_every_row_as_if_it_had_never_been_there(
    tmp_path: Path, capsys: Printed, kind: str, methods: list[str]
) -> None:
    bad, said = "comparisons-0004", "21>37"
    extra = f"methods = {methods}\nbaselines = ['two-32']\n"
    with serve(dialect="vllm", faults=Faults((kind,), times=None, said=said)) as server:
        one = apart(tmp_path / "refused", server.url, "", extra)
        compare(one)
        out, err = capsys.readouterr()
        two = apart(tmp_path / "never", server.url, said, extra)
        compare(two)
    assert (place(one) / "table.csv").read_bytes() == (place(two) / "table.csv").read_bytes()
    found = json.loads((place(one) / "comparison.json").read_text())
    assert list(found["set_aside"]) == [bad, f"test: {bad}"]
    assert f"set aside, and left out of every row: {bad!r} (" in out
    assert f"example 'test: {bad}' is set aside: " in err


def test_more_refused_examples_than_are_tolerated_end_a_comparison(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm", faults=Faults(("filter",), times=None, said="held: ")) as server:
        config = apart(tmp_path, server.url, "", 'methods = ["zero-shot"]\n')
        rows = (tmp_path / "test.jsonl").read_text().replace('"text": "', '"text": "held: ')
        (tmp_path / "test.jsonl").write_text(rows)
        config.write_text(config.read_text().replace("[run]\n", "[run]\ntolerate = 2\n"))
        assert main(command(config)[3:]) == 2
    err = capsys.readouterr().err
    assert "run.tolerate allows 2 to be set aside" in err
    assert "'test: comparisons-" in err


def hosted(folder: Path, url: str, extra: str = "") -> Path:
    """A small comparison on the loopback server, one question at a time."""
    config = write_config(folder, extra, size=12)
    text = config.read_text().replace('provider = "pocket"', f'provider = "vllm:pocket@{url}"\noptions.prompt_list = 1')
    config.write_text(text + "\n[client]\nconcurrency = 1\nmax_concurrency = 1\n")
    return config


def command(config: Path) -> list[str]:
    gold = str(config.parent / "gold.jsonl")
    return [sys.executable, "-m", "icm_api.cli.main", "compare", str(config), "--gold", gold, "--json"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int]:
    """The table of an unbroken comparison on the server, and how many requests it took."""
    with serve(dialect="vllm") as server:
        config = hosted(tmp_path_factory.mktemp("unbroken"), server.url)
        compare(config, "--json")
        return (place(config) / "table.csv").read_bytes(), server.log.total


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.45, 0.9])
def test_killed_midway_the_same_command_goes_on_and_pays_nothing_twice(
    tmp_path: Path, unbroken: tuple[bytes, int], share: float
) -> None:
    calm, total = unbroken
    with serve(dialect="vllm", record=100_000) as server:
        config = hosted(tmp_path, server.url)
        process = subprocess.Popen(command(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while server.log.total < share * total:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
        assert not (place(config) / "table.csv").exists()
        compare(config, "--json")
        bodies = [json.dumps([request.path, request.body], sort_keys=True) for request in server.requests]
    assert (place(config) / "table.csv").read_bytes() == calm
    # The one question under way at the kill was never answered to anybody.
    assert len(set(bodies)) == total
    assert len(bodies) <= total + 1


@pytest.mark.slow  # That nothing is sent is in what `said` has, too.
def test_a_finished_comparison_asks_nothing_again(tmp_path: Path) -> None:
    with serve(dialect="vllm") as server:
        config = hosted(tmp_path, server.url, 'methods = ["zero-shot", "icm", "golden"]\n')
        compare(config, "--json")
        asked, before = server.log.total, (place(config) / "table.csv").read_bytes()
        compare(config, "--json")
        assert server.log.total == asked
    assert (place(config) / "table.csv").read_bytes() == before


def test_the_chat_row_asks_the_chat_model(tmp_path: Path, capsys: Printed) -> None:
    with serve(dialect="vllm", record=1000) as server:
        config = write_config(tmp_path, 'methods = ["zero-shot", "chat"]\n')
        # The embedded model reads a conversation as its text; with an instruction both prompts are the same to it.
        config.write_text(config.read_text().replace("[prompt]\n", '[prompt]\ninstruction = "27>82 False"\n'))
        compare(config, "--chat", f"vllm:pocket@{server.url}", "--chat-option", "api=chat")
        paths = {request.path for request in server.requests}
    assert paths == {"/v1/chat/completions", "/tokenize"}
    out = capsys.readouterr().out
    assert "chat model: vllm" in out
    assert "its price is not known" in out
    means = table(place(config))
    assert means["chat", "held_out", "accuracy"] == pytest.approx(means["zero-shot", "held_out", "accuracy"])
    assert ("chat", "labels", "money") not in means


@pytest.mark.slow
def test_one_budget_holds_over_all_of_a_comparison(tmp_path: Path, unbroken: tuple[bytes, int]) -> None:
    calm, total = unbroken
    with serve(dialect="vllm") as server:
        config = hosted(tmp_path, server.url, "\n[budget]\nrequests = 150\n")
        gold = str(tmp_path / "gold.jsonl")
        assert main(["compare", str(config), "--gold", gold, "--json"]) == 3
        assert server.log.total <= 150 < total
        config.write_text(config.read_text().replace("requests = 150", f"requests = {total}"))
        compare(config, "--json")
        assert server.log.total == total
    assert (place(config) / "table.csv").read_bytes() == calm


@pytest.mark.slow
def test_one_budget_holds_over_kills_of_a_comparison(tmp_path: Path, unbroken: tuple[bytes, int]) -> None:
    calm, total = unbroken
    with serve(dialect="vllm") as server:
        config = hosted(tmp_path, server.url, "\n[budget]\nrequests = 150\n")
        for kill_at in (50, 110):
            process = subprocess.Popen(command(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while server.log.total < kill_at:
                assert process.poll() is None
                time.sleep(0.002)
            process.kill()
            process.wait(60)
        assert main(["compare", str(config), "--gold", str(tmp_path / "gold.jsonl"), "--json"]) == 3
        # At each kill the one question under way may be counted without having arrived.
        assert 148 <= server.log.total <= 150 < total
        # What was under way at a kill is asked again.
        config.write_text(config.read_text().replace("requests = 150", f"requests = {total + 2}"))
        compare(config, "--json")
        assert total <= server.log.total <= total + 2
    assert (place(config) / "table.csv").read_bytes() == calm


def test_a_comparison_that_another_process_works_on_is_refused(done: Path, capsys: Printed) -> None:
    from filelock import FileLock

    with FileLock(place(done) / ".lock"):
        assert main(["compare", str(done), "--gold", str(done.parent / "gold.jsonl")]) == 2
    assert "in use" in capsys.readouterr().err


def test_baselines_of_the_field_are_rows_if_they_are_named(tmp_path: Path, capsys: Printed) -> None:
    config = write_config(tmp_path, 'methods = ["zero-shot"]\ncurve = false\nthreshold = 0.6\n', size=16)
    compare(config, "--baselines", "epfl,semi, two-32", "--seeds", "1")
    out, err = capsys.readouterr()
    means = table(place(config))
    size, held_out = 8, 8
    assert [means[name, "labels", "requests"] for name in ("zero-shot", "epfl", "semi", "two-32")] == pytest.approx(
        [size, 41 * size, 2 * size, 2 * size], rel=0.1
    )
    for name in ("epfl", "semi", "two-32"):
        # What draws by chance agree on is asked once; a plan is a bound.
        assert means[name, "labels", "requests"] <= {"epfl": 41, "semi": 2, "two-32": 2}[name] * size
        assert means[name, "labels", "money"] == pytest.approx(means[name, "labels", "prompt_tokens"] / 1e6, rel=0.5)
        assert means[name, "held_out", "requests"] == held_out
        assert 0 <= means[name, "held_out", "accuracy"] <= 1
    assert "joint inference, 16 shots, 5 votes" in out
    bound = int(re.search(r"at most ([\d,]+) requests", err)[1].replace(",", ""))  # type: ignore[index]
    assert bound == size * (1 + 41 + 2 + 2) + 4 * held_out


@pytest.mark.parametrize("names", ["epfl,epfl", "iterpsd"])
def test_a_baseline_that_is_none_is_one_line(tmp_path: Path, capsys: Printed, names: str) -> None:
    config = write_config(tmp_path)
    assert main(["compare", str(config), "--gold", str(tmp_path / "gold.jsonl"), "--baselines", names]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "baselines" in err
