"""Conditioning by fine-tuning: no example is asked of a model that learned its label, and a kill costs no training."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from math import log
from pathlib import Path

import pytest

from icm_api.cli.main import main
from icm_api.config import load_config
from icm_api.errors import ConfigError, NotConfirmedError
from icm_api.model import open_model
from icm_api.prompts import PromptBuilder
from icm_api.runs import FinishedRun
from icm_api.training import Estimate, Teacher, TunedFolds, label_by_folds
from icm_api.types import (
    Answers,
    Dataset,
    Example,
    LabelDistribution,
    Labeling,
    Prompt,
    PromptTemplate,
    Usage,
    Verbalizer,
)
from tests.worlds import write_world

QUICK = "folds = 2\nrounds = 1\n"
EPOCHS = {"epochs": 20}


def world(folder: Path, search: str = QUICK) -> Path:
    return write_world(folder, "sums", 12, search)


def answers(config: Path) -> list[Path]:
    return sorted((config.parent / "run" / "rounds" / "folds").glob("*/answers.json"))


class School:
    """Learns that a text has the label of most that it was shown, and keeps what it was shown and asked."""

    def __init__(self) -> None:
        self.lessons: list[tuple[set[str], list[str]]] = []

    async def __call__(
        self, rest: Sequence[Example], labeling: Labeling, asked: Sequence[Prompt]
    ) -> Answers[LabelDistribution]:
        share = (1 + sum(labeling[each.id] == "True" for each in rest)) / (2 + len(rest))
        self.lessons.append(({each.id for each in rest}, [prompt.query for prompt in asked]))
        read = LabelDistribution(("True", "False"), (log(share), log(1 - share)), 1.0, "exact")
        return Answers((read,) * len(asked), {prompt.text: Usage(1, 5) for prompt in asked})


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("folds", [2, 3, 7])
async def test_every_example_is_asked_of_the_model_that_did_not_learn_it(folds: int, here: bool) -> None:
    examples = [Example(f"e{at}", {"text": f"text {at}"}, group=f"g{at // 2}") for at in range(14)]
    dataset, school = Dataset(examples), School()
    labeling = Labeling({each.id: ("True", "False")[at % 3 == 0] for at, each in enumerate(examples[:-2])})
    prompts = PromptBuilder(PromptTemplate("{text}"), Verbalizer.plain(("True", "False")), len, 100)
    estimator = TunedFolds(school, folds, here)
    found = await estimator.estimate(labeling, dataset, prompts, None)  # type: ignore[arg-type]
    assert list(found.logprobs) == list(labeling)
    assert found.method == "tuned"
    assert len(found.costs) == estimator.requests(len(labeling), 1) == len(labeling)
    asked = [query for _, queries in school.lessons for query in queries]
    assert sorted(asked) == sorted(f"text {at}" for at in range(12))
    assert len(school.lessons) <= folds
    for learned, queries in school.lessons:
        own = {f"e{query.removeprefix('text ')}" for query in queries}
        # All labels outside the fold are learned, and a group is never in two folds.
        assert learned == labeling.keys() - own
        assert {dataset.get(key).group for key in own}.isdisjoint(dataset.get(key).group for key in learned)
        share = (1 + sum(labeling[key] == "True" for key in learned)) / (2 + len(learned))
        for key in own:
            assert found.logprobs[key] == pytest.approx(log(share if labeling[key] == "True" else 1 - share))


async def test_of_no_label_and_of_one_there_is_nothing_to_learn() -> None:
    dataset, school = Dataset([Example("e", {"text": "text"})]), School()
    prompts = PromptBuilder(PromptTemplate("{text}"), Verbalizer.plain(("True", "False")), len, 100)
    empty = await TunedFolds(school).estimate(Labeling(), dataset, prompts, None)  # type: ignore[arg-type]
    assert (dict(empty.logprobs), school.lessons) == ({}, [])
    async with open_model("pocket") as model:
        alone = await TunedFolds(school).estimate(Labeling({"e": "True"}), dataset, prompts, model)
        [plain] = await model.label_distributions([prompts.prompt(dataset.get("e"), ())])
    assert (alone.logprobs["e"], school.lessons) == (plain.logprob("True"), [])


def test_the_command_labels_all_and_repeated_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = world(tmp_path)
    command = ["iterate", str(config), "--with", "pocket", "--option", "epochs=20", "--by-folds"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "labelled 12 examples" in out
    # The price of all of them is said once, before the first.
    assert err.count("to train pocket on the labels of the other folds") == 1
    assert "of at most 12 jobs together" in err
    trained = answers(config)
    assert 4 <= len(trained) <= 12
    assert err.count("is asked: pocket:") == len(trained)
    run = FinishedRun.open(config.parent / "run")
    assert run.result.about["method"] == "tuned"
    assert run.diagnosis is None
    # Weights that have answered are gone; the data and the record of each job are there.
    for each in trained:
        assert not list(each.parent.glob("icm-*/model"))
        assert (each.parent / "jobs.jsonl").is_file()
    labels = (run.folder / "labels.jsonl").read_bytes()
    before = [each.stat().st_mtime_ns for each in trained]
    assert main(command) == 0
    assert "is asked" not in capsys.readouterr().err
    assert [each.stat().st_mtime_ns for each in answers(config)] == before
    assert (run.folder / "labels.jsonl").read_bytes() == labels
    assert main(["resume", str(run.folder)]) == 2
    trained[0].write_text("{}")
    assert main(command) != 0
    assert "answers.json: damaged" in capsys.readouterr().err


async def test_a_cut_goes_on_to_the_same_labels(tmp_path: Path) -> None:
    whole, cut = load_config(world(tmp_path / "whole")), load_config(world(tmp_path / "cut"))
    wanted = await label_by_folds(whole, Teacher("pocket", EPOCHS))

    class CutError(BaseException):
        """As kill -9 ends a process."""

    def stop(number: int, spec: str) -> None:
        if number == 3:
            raise CutError

    with pytest.raises(CutError):
        await label_by_folds(cut, Teacher("pocket", EPOCHS, on_round=stop))
    done = {path: path.stat().st_mtime_ns for path in answers(tmp_path / "cut" / "config.toml")}
    assert len(done) == 2
    found = await label_by_folds(cut, Teacher("pocket", EPOCHS))
    assert [(row.id, row.label, row.probability) for row in found.examples] == [
        (row.id, row.label, row.probability) for row in wanted.examples
    ]
    assert found.usage == wanted.usage
    assert done.items() <= {p: p.stat().st_mtime_ns for p in answers(tmp_path / "cut" / "config.toml")}.items()
    with pytest.raises(ConfigError, match="epochs"):
        await label_by_folds(cut, Teacher("pocket", {"epochs": 30}))


async def test_who_says_no_to_the_price_trains_nothing(tmp_path: Path) -> None:
    config, told = world(tmp_path), list[Estimate]()

    def no(estimate: Estimate) -> None:
        told.append(estimate)
        raise NotConfirmedError("no")

    with pytest.raises(NotConfirmedError):
        await label_by_folds(load_config(config), Teacher("pocket", EPOCHS, confirm=no))
    assert answers(config) == []
    # Two folds, and at most six scores; groups are whole, so that the first fold leaves eight of twelve examples.
    assert (told[0].rows, told[0].money) == (12 * 8, 0.0)
    assert told[0].notes == ("of at most 12 jobs together, each on about 8 rows",)


def test_batches_and_another_run_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, flags = world(tmp_path), ["--with", "pocket", "--by-folds"]
    with pytest.raises(ConfigError, match="leave out the table"):
        asyncio.run(label_by_folds(load_config(config, {"batches": {"size": 8}}), Teacher("pocket")))
    assert main(["run", str(config)]) == 0
    assert main(["iterate", str(config), *flags]) == 2
    assert "choose another folder" in capsys.readouterr().err


@pytest.mark.slow
async def test_tuned_folds_find_what_the_model_knows(tmp_path: Path) -> None:
    """As measured in the embedded world, with no demonstration shown."""
    config = write_world(tmp_path, "sums", 48, "folds = 4\n")
    found = await label_by_folds(load_config(config), Teacher("pocket"))
    gold = {row["id"]: row["gold"] for row in map(json.loads, (tmp_path / "gold.jsonl").read_text().splitlines())}
    right = sum(gold[row.id] == row.label for row in found.examples) / len(gold)
    print(f"{right:.0%} right")
    assert right >= 0.8
