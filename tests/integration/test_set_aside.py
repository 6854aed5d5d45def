"""Examples that a model refuses: set aside with a reason, left out of everything, asked about again by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.config import DiagnosticsSettings, SearchSettings, load_config
from icm_api.errors import ConfigError, LogprobsUnavailableError, PromptError, ProviderError, RequestError, Unanswered
from icm_api.runs import Watch, run
from icm_api.runs.aside import allowed
from icm_api.testing import Faults, Server, serve
from icm_api.types import Answers, Dataset, Example, LabelDistribution, Labeling, Prompt, PromptTemplate, Task
from tests.bayes import BayesModel, pairs
from tests.hosted import HOSTED, KEY_VARIABLES, bytes_of, labels_of, write_config

CHAT = HOSTED["openai-chat"]
BAD, SAID = "comparisons-0002", "21>37"
ROUNDS, ANNEAL = "steps = 6", 'engine = "anneal"\nsteps = 12'
Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "k")


def refusing(kind: str = "filter", said: str = SAID) -> Faults:
    """A server that refuses whatever has a text in it, be it asked about or shown."""
    return Faults((kind,), times=None, said=said)


def config_at(
    folder: Path, server: Server, search: str = ROUNDS, tolerate: str = "", judge: str = "enabled = false"
) -> Path:
    extra = f"{tolerate}\n\n[client]\nattempts = 2\n\n[diagnostics]\n{judge}\n"
    return write_config(folder, CHAT.spec(server), CHAT.options, search=search, extra=extra)


def without_the_bad(folder: Path, server: Server, search: str = ROUNDS) -> dict[str, bytes]:
    """What a run writes whose data never had the example."""
    config = config_at(folder, server, search)
    rows = (folder / "claims.jsonl").read_text().splitlines(keepends=True)
    (folder / "claims.jsonl").write_text("".join(row for row in rows if BAD not in row))
    assert main(["run", str(config)]) == 0
    return bytes_of(folder / "run")


@pytest.mark.parametrize(
    ("kind", "search"), [("filter", ROUNDS), ("refusal", ANNEAL), ("null-logprobs", ROUNDS), ("400", ANNEAL)]
)
def test_one_refused_example_is_left_out_as_if_it_had_never_been_there(
    kind: str, search: str, tmp_path: Path, capsys: Printed
) -> None:
    with serve(faults=refusing(kind)) as server:
        config = config_at(tmp_path / "refused", server, search)
        assert main(["run", str(config)]) == 0
        out, err = capsys.readouterr()
        found = bytes_of(tmp_path / "refused" / "run")
        wanted = without_the_bad(tmp_path / "never", server, search)
    assert found["labels.jsonl"] == wanted["labels.jsonl"]
    assert found["trace.jsonl"] == wanted["trace.jsonl"]
    summary = json.loads(found["summary.json"])
    assert list(summary.pop("set_aside")) == [BAD]
    other = json.loads(wanted["summary.json"])
    # Made before anything was asked, so with the refused example.
    assert summary.pop("planned") != other.pop("planned")
    assert summary == other
    (row,) = map(json.loads, (tmp_path / "refused" / "run" / "set_aside.jsonl").read_text().splitlines())
    assert row["id"] == BAD
    assert "openai/" in row["reason"]
    assert f"example '{BAD}' is set aside: " in err
    assert "set aside, as they are too long or the model refused them: 1 example" in out


@pytest.mark.parametrize("kind", ["500", "truncated-json"])
@pytest.mark.parametrize("tolerate", ["", "tolerate = 0"])
def test_a_text_on_which_a_sound_server_fails_every_time_is_set_aside(
    kind: str, tolerate: str, tmp_path: Path, capsys: Printed
) -> None:
    folder = tmp_path / "one"
    with serve(faults=refusing(kind)) as server:
        code = main(["run", str(config_at(folder, server, tolerate=tolerate))])
    said = capsys.readouterr().err
    if tolerate:
        assert code == 3
        assert f"example '{BAD}': " in said
    else:
        assert code == 0
        assert f"example '{BAD}' is set aside: " in said
        assert BAD not in labels_of(folder / "run")


def test_it_is_asked_about_again_by_name_and_taken_back_when_answered(tmp_path: Path) -> None:
    run_folder = tmp_path / "one" / "run"
    with serve(faults=refusing(), record=10_000) as server:
        port = int(server.root.rpartition(":")[2])
        assert main(["run", str(config_at(tmp_path / "one", server))]) == 0
        before, asked = bytes_of(run_folder), len(server.requests)
        assert main(["resume", str(run_folder)]) == 0
        assert bytes_of(run_folder) == before
        again = server.requests[asked:]
        assert [SAID in json.dumps(request.body) for request in again] == [True]
    with serve(port=port) as server:
        assert main(["resume", str(run_folder)]) == 0
        sound = config_at(tmp_path / "two", server)
        assert main(["run", str(sound)]) == 0
    assert bytes_of(run_folder) == bytes_of(tmp_path / "two" / "run")
    assert not (run_folder / "set_aside.jsonl").exists()
    assert BAD in labels_of(run_folder)


@pytest.mark.parametrize("left", [["set_aside.jsonl"], []])
def test_killed_while_it_sets_aside_a_run_goes_on_to_the_same_bytes(left: Sequence[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with serve(faults=refusing()) as server:
        assert main(["run", str(config_at(tmp_path, server))]) == 0
        wanted = bytes_of(folder)
        for name in {"labels.jsonl", "summary.json", "set_aside.jsonl"} - {*left}:
            (folder / name).unlink()
        (folder / "trace.jsonl").write_bytes(b"")
        assert main(["resume", str(folder)]) == 0
        assert bytes_of(folder) == wanted


def test_whoever_reads_the_run_leaves_the_example_out(tmp_path: Path, capsys: Printed) -> None:
    folder = str(tmp_path / "run")
    with serve(faults=refusing()) as server:
        assert main(["run", str(config_at(tmp_path, server))]) == 0
    assert main(["export", folder, "--to", "csv", "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["evaluate", folder, "--gold", str(tmp_path / "gold.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["compared"] == 7
    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "comparisons-0004" in written
    assert BAD not in written


@pytest.mark.slow
def test_the_queue_and_the_report_leave_it_out_too(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    with serve(faults=refusing()) as server:
        assert main(["run", str(config_at(tmp_path, server, judge="enabled = true"))]) == 0
    assert main(["queue", folder, "--out", str(tmp_path / "queue.csv")]) == 0
    assert main(["report", folder]) == 0
    page = tmp_path / "run" / "report" / "report.html"
    assert f"1 example too long or refused by the model: {BAD}" in page.read_text()
    assert "comparisons-0004" in (tmp_path / "queue.csv").read_text()
    assert BAD not in (tmp_path / "queue.csv").read_text()


@pytest.mark.parametrize("tolerate", ["tolerate = 0", "tolerate = 0.0"])
def test_what_is_not_tolerated_ends_the_run_by_name_and_leaves_no_folder(
    tolerate: str, tmp_path: Path, capsys: Printed
) -> None:
    with serve(faults=refusing()) as server:
        config = config_at(tmp_path, server, tolerate=tolerate)
        assert main(["run", str(config)]) == 2
    err = capsys.readouterr().err
    assert f"example '{BAD}': openai/" in err
    assert "run.tolerate allows none" in err
    assert not (tmp_path / "run").exists()


def test_more_than_a_share_end_the_run_with_their_names(tmp_path: Path, capsys: Printed) -> None:
    with serve(faults=refusing(said="16>2")) as server:
        assert main(["run", str(config_at(tmp_path, server))]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "'comparisons-0000'" in last
    assert "'comparisons-0005'" in last
    assert "allows 1 to be set aside" in last
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", ["5.0", "-1", "nan", "true", '"few"'])
def test_a_count_and_a_share_are_told_apart(
    given: str, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (allowed(5, 8), allowed(0.5, 7), allowed(1, 100), allowed(1.0, 100)) == (5, 4, 1, 100)
    config = tmp_path / "config.toml"
    config.write_text(f'[data]\npath = "x.jsonl"\n[run]\ntolerate = {given}\n')
    assert main(["run", str(config)]) == ConfigError.exit_code
    assert "run.tolerate: write a count such as 5, or a share" in capsys.readouterr().err
    config.write_text('[data]\npath = "x.jsonl"\n')
    for text, value in (("5", 5), ("0.1", 0.1), ("1.0", 1.0)):
        monkeypatch.setenv("ICM_RUN__TOLERATE", text)
        found = load_config(config).run.tolerate
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("kind", ["401", "404", "insufficient-quota"])
def test_what_is_refused_before_its_first_step_leaves_no_folder(kind: str, tmp_path: Path) -> None:
    with serve(faults=Faults((kind,), times=None)) as server:
        config = config_at(tmp_path / "deep", server)
        config.write_text(config.read_text().replace('folder = "run"', 'folder = "of/runs/one"'))
        assert main(["run", str(config)]) == 2
    # Money can be added, and the run resumed.
    assert (tmp_path / "deep" / "of").exists() == (kind == "insufficient-quota")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir() if path.is_file()) == [
        "claims.jsonl",
        "config.toml",
        "gold.jsonl",
    ]


LONG = "10>2" * 200


def with_a_long_one(config: Path) -> Path:
    """The same with the bad example's text longer than the window."""
    data = config.parent / "claims.jsonl"
    data.write_text(data.read_text().replace(SAID, LONG))
    config.write_text(config.read_text().replace('api = "chat"\n', 'api = "chat"\ncontext_window = 300\n'))
    return config


@pytest.mark.parametrize("search", [ROUNDS, pytest.param(ANNEAL, marks=pytest.mark.slow)])
def test_a_text_longer_than_the_window_is_left_out_and_never_sent(search: str, tmp_path: Path, capsys: Printed) -> None:
    run_folder = tmp_path / "long" / "run"
    with serve(record=10_000) as server:
        config = with_a_long_one(config_at(tmp_path / "long", server, search))
        assert main(["plan", str(config)]) == 0
        assert f"so set aside up to run.tolerate: 1 example: {BAD}" in capsys.readouterr().out
        assert main(["run", str(config)]) == 0
        assert f"example '{BAD}' is set aside: alone needs " in capsys.readouterr().err
        found = bytes_of(run_folder)
        wanted = without_the_bad(tmp_path / "never", server, search)
        assert main(["resume", str(run_folder)]) == 0
        assert bytes_of(run_folder) == found
        assert not any(LONG in json.dumps(request.body) for request in server.requests)
    assert found["labels.jsonl"] == wanted["labels.jsonl"]
    assert found["trace.jsonl"] == wanted["trace.jsonl"]
    assert "shorten its text" in json.loads(found["summary.json"])["set_aside"][BAD]


def test_more_long_texts_than_tolerated_end_the_run_before_anything_is_sent(tmp_path: Path, capsys: Printed) -> None:
    with serve(record=10_000) as server:
        config = with_a_long_one(config_at(tmp_path, server, tolerate="tolerate = 0"))
        assert main(["run", str(config)]) == 2
        assert not server.requests
    err = capsys.readouterr().err
    assert f"example '{BAD}': alone needs " in err
    assert "run.tolerate allows none" in err
    assert not (tmp_path / "run").exists()


class Choosy(BayesModel):
    """Refuses prompts by a rule."""

    refuses: Callable[[Prompt], bool] = staticmethod(lambda prompt: False)
    kind = "refused"

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        bad = [prompt for prompt in prompts if self.refuses(prompt)]
        if bad:
            error = RequestError("bayes: refused", kind="refused" if self.kind == "refused" else "bad_request")
            error.unanswered = tuple(
                Unanswered(prompt.query, tuple(turn.text for turn in prompt.turns), "refused", self.kind == "refused")
                for prompt in bad
            )
            raise error
        return await super().label_distributions(prompts)


TASK = Task(PromptTemplate(separator="\n"))
QUICK = SearchSettings(engine="bootstrap", seed=1)
NO_JUDGE = DiagnosticsSettings(enabled=False)


async def test_a_text_that_is_refused_only_after_others_is_set_aside_too() -> None:
    dataset, truth = pairs(8)
    model, odd = Choosy(truth), dataset[3]
    model.refuses = lambda prompt: bool(prompt.turns) and prompt.query == odd.fields["text"]
    told: list[str] = []
    found = await run(dataset, TASK, model, search=QUICK, diagnostics=NO_JUDGE, watch=Watch(on_warning=told.append))
    assert found.about["set_aside"] == {odd.id: "refused"}
    assert odd.id not in found.labeling
    assert len(found.labeling) == len(dataset) - 1
    assert any(odd.id in line for line in told)


async def test_demonstrations_too_long_for_a_server_are_no_fault_of_an_example() -> None:
    dataset, truth = pairs(8)
    model = Choosy(truth)
    model.kind, model.refuses = "bad_request", lambda prompt: len(prompt.turns) > 3
    with pytest.raises(ProviderError, match="bayes: refused"):
        await run(dataset, TASK, model, search=QUICK, diagnostics=NO_JUDGE, tolerate=1.0)


async def test_long_texts_are_set_aside_in_memory_too_and_a_person_s_label_of_one_with_it() -> None:
    dataset, truth = pairs(8)
    long = {key: Example(key, {"text": f"{key} {'x' * 300}"}) for key in (dataset[2].id, dataset[5].id)}
    mixed = Dataset(long.get(example.id, example) for example in dataset)
    model = BayesModel(truth, window=200)
    given = Labeling({dataset[2].id: "True", dataset[3].id: "False"})
    found = await run(mixed, TASK, model, search=QUICK, diagnostics=NO_JUDGE, fixed=given, tolerate=2)
    assert list(found.about["set_aside"]) == sorted(long)
    assert found.labeling[dataset[3].id] == "False"
    assert not long.keys() & found.labeling.keys()
    with pytest.raises(PromptError, match="allows 1 to be set aside"):
        await run(mixed, TASK, model, search=QUICK, diagnostics=NO_JUDGE, tolerate=1)


async def test_a_refusal_while_judging_costs_no_label() -> None:
    dataset, truth = pairs(8)
    model, told = Choosy(truth), list[str]()
    watch = Watch(on_warning=told.append, on_judging=lambda: setattr(model, "refuses", lambda prompt: True))
    found = await run(dataset, TASK, model, search=QUICK, watch=watch)
    assert len(found.labeling) == len(dataset)
    assert "diagnosis" not in found.about
    assert any("not judged" in line for line in told)


class Silent(BayesModel):
    """Says nothing of some texts."""

    of: frozenset[str] = frozenset()

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        answers = await super().label_distributions(prompts)
        evenly = (log(0.5), log(0.5))
        found = [
            replace(read, logprobs=evenly, coverage=0.0) if prompt.query in self.of else read
            for prompt, read in zip(prompts, answers, strict=True)
        ]
        return Answers(tuple(found), answers.costs)


async def test_what_the_model_says_nothing_of_is_unknown_and_ends_nothing() -> None:
    dataset, truth = pairs(8)
    model, told = Silent(truth), list[str]()
    model.of = frozenset({dataset[2].fields["text"]})
    watch = Watch(on_warning=told.append)
    found = await run(dataset, TASK, model, search=QUICK, diagnostics=NO_JUDGE, watch=watch)
    assert len(found.labeling) == len(dataset)
    assert [row.id for row in found.examples if row.coverage == 0] == [dataset[2].id]
    assert any(
        line.startswith("1 label that the model said nothing of") and repr(dataset[2].id) in line for line in told
    )
    model.of = frozenset(example.fields["text"] for example in dataset)
    with pytest.raises(LogprobsUnavailableError, match="no form of any label in any of"):
        await run(dataset, TASK, model, search=QUICK, diagnostics=NO_JUDGE)
