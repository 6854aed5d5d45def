"""Data sets that are too large to be searched whole: a core is searched, and the rest is labelled from it."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.cli.running import lines_of_rest
from icm_api.model import spent
from icm_api.runs import FinishedRun
from icm_api.testing import Faults, Server, serve
from tests.hosted import HOSTED, KEY_VARIABLES
from tests.worlds import write_world

QUICK = 'engine = "bootstrap"\nrestarts = 1\nrounds = 1\n'
COMPLETIONS = HOSTED["openai-completions"]
Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "k")


def large_world(folder: Path, task: str = "comparisons", size: int = 60, core: int = 24, extra: str = "") -> Path:
    """A world of which a part alone is searched, shortly, and nothing is judged."""
    config = write_world(folder, task, size, QUICK)
    config.write_text(
        f"{config.read_text()}\n[core]\nsize = {core}\npart = 14\ndemonstrations = 12\n\n"
        f"[diagnostics]\nenabled = false\n{extra}"
    )
    return config


def hosted_world(folder: Path, server: Server, **given: Any) -> Path:
    config = large_world(folder, **given)
    options = "".join(f"{name} = {json.dumps(value)}\n" for name, value in COMPLETIONS.options.items())
    text = config.read_text().replace(
        'provider = "pocket"\n', f'provider = "{COMPLETIONS.spec(server)}"\n\n[model.options]\n{options}'
    )
    config.write_text(text)
    return config


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """All lines of all parts."""
    return [row for path in sorted(folder.glob("[0-9]*.jsonl")) for row in read(path)]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asked(server: Server) -> int:
    """Requests that the server had."""
    return sum(server.log.requests.values())


def written(run: Path) -> dict[str, bytes]:
    """What must be the same for the same questions."""
    names = ["labels.jsonl", "trace.jsonl", "summary.json", "frozen.json"]
    parts = sorted(path.relative_to(run).as_posix() for path in (run / "parts").iterdir())
    batches = sorted(path.relative_to(run).as_posix() for path in (run / "batches").glob("*/*"))
    return {name: (run / name).read_bytes() for name in (*names, *parts, *batches)}


def gold_of(folder: Path) -> dict[str, str]:
    return {row["id"]: row["gold"] for row in read(folder / "gold.jsonl")}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 60 comparisons, 24 of which were searched."""
    folder = tmp_path_factory.mktemp("large")
    assert main(["run", str(large_world(folder)), "--json"]) == 0
    return folder


def test_every_example_has_one_label_and_related_ones_agree(labelled: Path) -> None:
    run = FinishedRun.open(labelled / "run")
    core, rest = {row.id: row.label for row in run.result.examples}, lines_of(labelled / "run" / "parts")
    found = core | {row["id"]: row["label"] for row in rest}
    assert (len(core), len(rest)) == (24, 36)
    assert found.keys() == gold_of(labelled).keys()
    assert run.whole.relations.broken(found) == frozenset()
    assert run.whole.dataset.ids != run.dataset.ids


@pytest.mark.parametrize("held", [4_000, 5])
def test_a_verb_says_once_which_rows_are_left_out(
    held: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_api.runs.core.MOST_WHOLE", held)
    config, run, answers = large_world(tmp_path, size=24, core=12), str(tmp_path / "run"), tmp_path / "answers.csv"
    config.write_text(config.read_text().replace("[data]", '[data]\non_empty = "skip"'))
    with (tmp_path / "claims.jsonl").open("a") as claims:
        claims.write('{"id": "blank", "text": "", "group": "b", "answer": "1", "left": "1", "right": "2"}\n')
    verbs = [
        ["audit", str(config)],
        ["plan", str(config)],
        ["run", str(config), "--json"],
        ["queue", run, "--random", "12", "--out", str(answers)],
        ["check", run, str(answers)],
        ["export", run, "--to", "csv", "--out", str(tmp_path / "csv")],
    ]
    for verb in verbs:
        caplog.clear()
        assert main(verb) == 0, verb
        assert [message for message in caplog.messages if message.startswith("left out")] == [
            f"left out 1 row without a text (data.on_empty); the first: {tmp_path / 'claims.jsonl'}:25: text field "
            "'text' is empty; give it a text, or leave the line out"
        ], verb
        if verb[0] == "queue":
            answers.write_text(answers.read_text().replace(",,", ",True,"))


@pytest.mark.parametrize(("way", "told"), [("none", "not calibrated: "), ("centres", "centres calibration: ")])
def test_what_is_printed_of_the_rest_says_in_words_how_it_was_calibrated(labelled: Path, way: str, told: str) -> None:
    rest = FinishedRun.open(labelled / "run").rest
    assert rest is not None
    [line, *_] = lines_of_rest({**rest, "calibration": way}, labelled)
    assert line.startswith(f"labelled 36 other examples from 12 of its labels, {told}")


def test_the_rest_is_as_right_as_the_core(labelled: Path) -> None:
    gold = gold_of(labelled)
    core = FinishedRun.open(labelled / "run").result.labeling
    rest = {row["id"]: row["label"] for row in lines_of(labelled / "run" / "parts")}
    right = [sum(gold[key] == label for key, label in each.items()) / len(each) for each in (core, rest)]
    assert right[1] >= right[0] - 0.02


def test_demonstrations_are_labels_of_the_core_as_many_of_each(labelled: Path) -> None:
    frozen = json.loads((labelled / "run" / "frozen.json").read_text())
    core = FinishedRun.open(labelled / "run").result.labeling
    shown = dict(frozen["demonstrations"])
    assert shown.items() <= core.items()
    assert Counter(shown.values()) == {"True": 6, "False": 6}


def test_evaluate_export_and_a_random_sample_are_of_all_labels(labelled: Path, tmp_path: Path, capsys: Printed) -> None:
    run = str(labelled / "run")
    assert main(["evaluate", run, "--gold", str(labelled / "gold.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compared"] == 60
    assert main(["export", run, "--to", "csv", "--out", str(tmp_path / "out")]) == 0
    (table,) = (tmp_path / "out").glob("*.csv")
    assert len(table.read_text().splitlines()) == 61
    assert main(["queue", run, "--random", "30", "--out", str(tmp_path / "answers.csv")]) == 0
    drawn = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    core = FinishedRun.open(run).result.labeling
    assert 5 < sum(row["id"] not in core for row in drawn) < 30
    gold = gold_of(labelled)
    answers = [{"id": row["id"], "label": gold[row["id"]]} for row in drawn]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    capsys.readouterr()
    assert main(["check", run, str(tmp_path / "answers.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answered"] == 30


def test_a_plan_counts_the_rest_once(labelled: Path, capsys: Printed) -> None:
    assert main(["plan", str(labelled / "config.toml"), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    run = FinishedRun.open(labelled / "run")
    assert run.sent is not None
    assert planned["examples"] == 60
    assert planned["rest"] == 60 - len(run.result.examples)
    assert main(["plan", str(labelled / "config.toml")]) == 0
    assert f"the other {planned['rest']} are labelled from these, a request each" in capsys.readouterr().out
    assert run.sent.usage.requests <= planned["requests"] <= 36 + 128 + 24 * 10


def test_another_file_is_labelled_from_a_finished_run_with_one_request_an_example(
    tmp_path: Path, capsys: Printed
) -> None:
    with serve(dialect=COMPLETIONS.dialect, instant=True) as server:
        assert main(["run", str(hosted_world(tmp_path, server, core=16, size=20)), "--json"]) == 0
        more = tmp_path / "more.jsonl"
        # Ids of the run's own data, and other texts.
        rows = read(tmp_path / "claims.jsonl")
        more.write_text("".join(json.dumps({**row, "text": row["text"] + "0"}) + "\n" for row in rows))
        before = asked(server)
        for taken, what in ((more, "is a file"), (tmp_path / "run", "is the folder of a run")):
            assert main(["label", str(tmp_path / "run"), str(more), "--out", str(taken)]) == 2
            assert f"{what}, and nothing was written" in capsys.readouterr().err
        assert main(["label", str(tmp_path / "run"), str(more), "--json"]) == 0
        assert asked(server) - before == 20
        assert {row["id"] for row in lines_of(tmp_path / "run" / "more" / "more")} == {row["id"] for row in rows}
        assert main(["label", str(tmp_path / "run"), str(more)]) == 0
        assert asked(server) - before == 20
        more.write_text(more.read_text().replace("0", "1"))
        assert main(["label", str(tmp_path / "run"), str(more)]) == 2


def test_cut_short_by_the_budget_and_resumed_without_a_cache_same_bytes_and_nothing_asked_twice(
    tmp_path: Path,
) -> None:
    with serve(dialect=COMPLETIONS.dialect, instant=True) as server:
        assert main(["run", str(hosted_world(tmp_path / "one", server)), "--json"]) == 0
        once = asked(server)
        config = hosted_world(tmp_path / "two", server, extra=f"\n[budget]\nrequests = {once - 34}\n")
        assert main(["run", str(config), "--no-cache"]) == 3
        run = tmp_path / "two" / "run"
        # Twice: a run that goes on with its parts may be cut short among them too.
        for allowed, more, code in ((once - 34, once - 10, 3), (once - 10, once + 20, 0)):
            assert 0 <= len(lines_of(run / "parts")) < 36
            # As a disk that was full, or a kill in the middle of a write, leaves it.
            with (run / "parts" / "0000.jsonl").open("ab") as part:
                part.write(b'{"id": "torn')
            text = (run / "config.toml").read_text()
            (run / "config.toml").write_text(text.replace(f"requests = {allowed}", f"requests = {more}"))
            assert main(["resume", str(run)]) == code
        # Of the part in flight, a stretch is asked about again.
        assert asked(server) <= 2 * once + 20
        one, two = written(tmp_path / "one" / "run"), written(run)
        assert {name: one[name] for name in one if name != "inputs.json"} == {
            name: two[name] for name in two if name != "inputs.json"
        }


def test_examples_of_the_rest_that_are_refused_or_too_long_are_set_aside(tmp_path: Path) -> None:
    clean = large_world(tmp_path / "clean", core=16, size=20)
    assert main(["run", str(clean), "--json"]) == 0
    victim = lines_of(tmp_path / "clean" / "run" / "parts")[0]["id"]
    rows = read(tmp_path / "clean" / "claims.jsonl")
    said = next(row["text"] for row in rows if row["id"] == victim)
    faults = Faults(("filter",), times=None, said=said)
    with serve(dialect="openai", faults=faults, instant=True) as server:
        config = hosted_world(tmp_path / "bad", server, core=16, size=20, extra="\n[client]\nattempts = 2\n")
        assert main(["run", str(config), "--json"]) == 0
    lines = lines_of(tmp_path / "bad" / "run" / "parts")
    aside = {row["id"] for row in lines if "set_aside" in row}
    assert victim in aside
    assert len(lines) == 4
    assert FinishedRun.open(tmp_path / "bad" / "run").rest["set_aside"] == len(aside)  # type: ignore[index]


def test_labels_of_a_person_stay_in_the_rest_too(tmp_path: Path) -> None:
    config = large_world(tmp_path, core=16, size=24)
    fixed = [{"id": key, "label": "False"} for key, label in gold_of(tmp_path).items() if label == "False"]
    (tmp_path / "fixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in fixed))
    config.write_text(config.read_text().replace("[prompt]", 'fixed = "fixed.jsonl"\n\n[prompt]', 1))
    assert main(["run", str(config), "--json"]) == 0
    run = FinishedRun.open(tmp_path / "run").whole
    given = {row["id"] for row in fixed}
    assert {row.id for row in run.result.examples if row.fixed} == given
    assert all(row.label == "False" for row in run.result.examples if row.id in given)
    assert run.relations.broken(run.result.labeling) == frozenset()


def test_parts_that_were_changed_since_are_noticed(labelled: Path, tmp_path: Path, capsys: Printed) -> None:
    part = labelled / "run" / "parts" / "0000.jsonl"
    before = part.read_bytes()
    try:
        part.write_bytes(before[:-20])
        assert main(["evaluate", str(labelled / "run"), "--gold", str(labelled / "gold.jsonl")]) == 2
        assert "0000.jsonl" in capsys.readouterr().err
    finally:
        part.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("batches", ["", "\n[batches]\nsize = 12\ncount = 3\noverlap = 4\n"])
def test_killed_at_random_moments_same_bytes_and_nothing_paid_twice_but_what_was_under_way(
    batches: str, tmp_path: Path
) -> None:
    """25 kills each of a core and its parts, and of batches and their parts: at random requests, and between them."""
    kills, slots, budget, rng = 0, 8, 600, random.Random(3)
    limits = f"\n[client]\nconcurrency = {slots}\nmax_concurrency = {slots}\n\n[budget]\nrequests = {budget}\n"
    slow = Faults(("slow",), 0.0, latency=(0.005, 0.02))
    with serve(dialect=COMPLETIONS.dialect, instant=True, faults=slow) as server:

        def world(name: str) -> Path:
            return hosted_world(tmp_path / name, server, size=120, extra=batches + limits)

        assert main(["run", str(world("one")), "--json"]) == 0
        expected, once = written(tmp_path / "one" / "run"), asked(server)
        for at in count():
            config, run, before, own = world(str(at)), tmp_path / str(at) / "run", asked(server), 0
            while kills < 25 and killed(config, run, once - asked(server) + before, server, rng):
                kills, own = kills + 1, own + 1
            assert ended(config, run) == 0
            assert written(run) == expected
            assert asked(server) - before <= once + own * slots
            assert asked(server) - before <= spent(run / "spending.jsonl").requests <= budget
            if kills == 25:
                return


def killed(config: Path, run: Path, left: int, server: Server, rng: random.Random) -> bool:
    """Kill a run, begun or resumed, some time after some of so many requests; false if it ended before."""
    before, requests = asked(server), rng.randint(1, max(1, left))
    process = subprocess.Popen(verb_of(config, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and asked(server) - before < requests:
        time.sleep(0.001)
    time.sleep(0.05 * rng.random())
    process.kill()
    return process.wait() == -signal.SIGKILL


def ended(config: Path, run: Path) -> int:
    return subprocess.run(verb_of(config, run), check=False, capture_output=True).returncode


def verb_of(config: Path, run: Path) -> list[str]:
    begun = (run / "inputs.json").exists()
    verb = ["resume", str(run)] if begun else ["run", str(config), "--yes"]
    return [sys.executable, "-m", "icm_api.cli.main", *verb]
