"""Labels known beforehand: fixed ones never move, whatever searches; a warm start begins where it is told to."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from icm_api.config import SearchSettings
from icm_api.consistency import asymmetric, equivalent, mutually_exclusive
from icm_api.data import Gold
from icm_api.errors import ConfigError, RunError
from icm_api.objective import Objective
from icm_api.result import LabelledExample, Result
from icm_api.search import Progress, build_objective, consistency_fix, make_start, search_labels
from icm_api.search.anneal import legal_options
from icm_api.types import Constraint, Dataset, Labeling, PromptTemplate, Task
from tests.bayes import BayesModel, candidates, pairs

PAIRS = (asymmetric("True", total=True),)
CANDIDATES = (mutually_exclusive("True"), equivalent())
SEARCHES = {
    "rounds": SearchSettings(),
    "anneal": SearchSettings(engine="anneal", steps=60),
    "paper": SearchSettings(preset="paper", steps=40),
    "reference": SearchSettings(preset="reference", steps=40),
    "bootstrap": SearchSettings(engine="bootstrap"),
    "folds": SearchSettings(engine="folds", folds=2),
    "gibbs": SearchSettings(engine="gibbs", rounds=4),
}
LABELS = ("True", "False")


def task(constraints: tuple[Constraint, ...] = ()) -> Task:
    return Task(PromptTemplate(separator="\n"), constraints=constraints)


def utility_of(dataset: Dataset, truth: dict[str, bool], constraints: tuple[Constraint, ...]) -> Objective:
    return build_objective(dataset, BayesModel(truth), task(constraints), SearchSettings())


@pytest.mark.parametrize("name", SEARCHES)
@examples(max_examples=30)
@given(
    fixed=st.dictionaries(st.sampled_from(candidates(3, 3)[0].ids), st.sampled_from(LABELS), max_size=9),
    seed=st.integers(0, 99),
)
def test_fixed_labels_are_in_every_labeling_and_never_even_proposed_otherwise(
    name: str, fixed: dict[str, str], seed: int
) -> None:
    """Any labels whatever, clashing ones and a full set included."""
    dataset, truth = candidates(3, 3)
    settings = SEARCHES[name].model_copy(update={"steps": 25})
    if name == "folds" and len(dataset) - len(fixed) == 1:
        settings = settings.model_copy(update={"engine": "gibbs"})
    seen: list[Progress] = []
    result = asyncio.run(
        search_labels(
            dataset,
            BayesModel(truth),
            task=task(CANDIDATES),
            settings=settings,
            seed=seed,
            fixed=Labeling(fixed),
            on_step=seen.append,
        )
    )
    for progress in seen:
        labeling = progress.info.score.labeling
        assert {key: labeling[key] for key in fixed} == fixed
        proposed = dict(zip(progress.info.examples, progress.info.new, strict=True))
        assert {key: fixed[key] for key in fixed if key in proposed} == {
            key: label for key, label in proposed.items() if key in fixed
        }
    assert {row.id: row.label for row in result.examples if row.fixed} == fixed


@pytest.mark.parametrize("name", SEARCHES)
async def test_a_fixed_label_counts_in_u_and_pulls_the_others(name: str) -> None:
    """Three right answers fixed, where the model without them can't be sure of its labeller."""
    dataset, truth = pairs(6)
    fixed = Labeling({key: str(truth[key]) for key in list(truth)[:3]})
    result = await search_labels(
        dataset, BayesModel(truth), task=task(PAIRS), settings=SEARCHES[name], fixed=fixed, seed=1
    )
    score = await utility_of(dataset, truth, PAIRS)(result.labeling)
    if name in ("anneal", "bootstrap", "folds", "gibbs"):
        assert result.utility == score.utility
        assert result.labeling == Labeling({key: str(label) for key, label in truth.items()})
    assert result.labeling["0>1"] == str(truth["0>1"])


@pytest.mark.parametrize("name", SEARCHES)
async def test_no_fixed_labels_is_the_same_search_as_none_given(name: str) -> None:
    dataset, truth = pairs(4)
    plain = await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=SEARCHES[name])
    empty = await search_labels(
        dataset, BayesModel(truth), task=task(PAIRS), settings=SEARCHES[name], fixed=Labeling(), start=Labeling()
    )
    assert plain == empty
    assert not any(row.fixed for row in plain.examples)


@pytest.mark.parametrize("name", SEARCHES)
async def test_everything_fixed_is_scored_once_and_the_search_is_over(name: str) -> None:
    dataset, truth = pairs(3)
    fixed = Labeling({key: str(label) for key, label in truth.items()})
    result = await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=SEARCHES[name], fixed=fixed)
    assert (result.labeling, result.steps) == (fixed, 0)
    assert result.usage.requests == len(dataset)


async def test_random_seed_labels_come_on_top_of_fixed_ones() -> None:
    dataset, truth = pairs(20)
    fixed = Labeling({key: str(truth[key]) for key in list(truth)[:10]})
    for name, count in (("anneal", 8), ("paper", 8)):
        seen: list[Progress] = []
        await search_labels(
            dataset,
            BayesModel(truth),
            task=task(),
            settings=SEARCHES[name].model_copy(update={"steps": 1}),
            fixed=fixed,
            on_step=seen.append,
        )
        assert len(seen[0].info.score.labeling) == 10 + count


async def test_a_repair_changes_the_free_example_even_where_u_would_rather_change_the_fixed_one() -> None:
    dataset, truth = pairs(4)
    utility = utility_of(dataset, truth, PAIRS)
    labels = Labeling({key: str(label) for key, label in truth.items()})
    wrong = next(key for key in truth if not truth[key])
    partner = utility.relations.neighbours(wrong)
    score = await utility(labels.assign({wrong: "True"}))
    [conflict] = score.broken
    options = list(legal_options(utility, score.labeling, conflict, {wrong}))
    assert [dict(option) for option in options] == [dict.fromkeys(partner, "False")]
    assert (await consistency_fix(utility, score, random.Random(0))).labeling == labels
    fixed = await consistency_fix(utility, score, random.Random(0), fixed={wrong})
    assert fixed.labeling[wrong] == "True"


async def test_fixed_labels_that_break_a_relation_are_said_and_kept(caplog: pytest.LogCaptureFixture) -> None:
    dataset, truth = candidates(2, 3)
    fixed = Labeling({"q0=0": "True", "q0=1": "True"})
    with caplog.at_level(logging.WARNING):
        result = await search_labels(dataset, BayesModel(truth), task=task(CANDIDATES), fixed=fixed)
    [message] = [record.getMessage() for record in caplog.records]
    assert "mutually_exclusive" in message
    assert "'q0=0' is 'True', 'q0=1' is 'True'" in message
    assert result.inconsistency >= 1


@pytest.mark.parametrize("name", SEARCHES)
async def test_a_warm_start_begins_at_its_labels_and_ends_no_worse(name: str) -> None:
    dataset, truth = pairs(6)
    settings = SEARCHES[name]
    inverse = Labeling({key: str(not label) for key, label in truth.items()})
    utility = build_objective(dataset, BayesModel(truth), task(PAIRS), settings)
    seen: list[Progress] = []
    result = await search_labels(
        dataset, BayesModel(truth), task=task(PAIRS), settings=settings, start=inverse, on_step=seen.append
    )
    assert seen[0].info.score.labeling == inverse
    assert result.utility >= (await utility(inverse)).utility


@pytest.mark.parametrize("name", SEARCHES)
async def test_what_a_warm_start_leaves_open_grows_and_ids_that_are_gone_are_left_out(name: str) -> None:
    dataset, truth = pairs(6)
    warm = Labeling({key: str(truth[key]) for key in list(truth)[:6]} | {"gone": "True"})
    seen: list[Progress] = []
    result = await search_labels(
        dataset, BayesModel(truth), task=task(PAIRS), settings=SEARCHES[name], start=warm, on_step=seen.append
    )
    first = seen[0].info.score.labeling
    assert {key: first[key] for key in warm if key != "gone"} == {k: warm[k] for k in warm if k != "gone"}
    if SEARCHES[name].engine == "anneal":
        assert len(first) == 6
    assert set(result.labeling) == set(dataset.ids)


async def test_one_engine_refines_anothers_outcome_and_fixed_labels_win_over_it() -> None:
    dataset, truth = pairs(6)
    first = await search_labels(dataset, BayesModel(truth), task=task(PAIRS), settings=SEARCHES["bootstrap"])
    other = {key: "False" if label == "True" else "True" for key, label in first.labeling.items()}
    fixed = Labeling({"0>1": other["0>1"]})
    seen: list[Progress] = []
    await search_labels(
        dataset, BayesModel(truth), task=task(PAIRS), start=first.labeling, fixed=fixed, on_step=seen.append
    )
    assert seen[0].info.score.labeling == first.labeling.assign(fixed)


async def test_a_search_reads_no_run_it_is_given_the_labels(tmp_path: Path) -> None:
    dataset, truth = pairs(4)
    first = await search_labels(dataset, BayesModel(truth), task=task(PAIRS))
    first.save(tmp_path)
    seen: list[Progress] = []
    found = Result.load(tmp_path).labeling
    settings = SearchSettings(engine="gibbs")
    await search_labels(
        dataset, BayesModel(truth), task=task(PAIRS), settings=settings, start=found, on_step=seen.append
    )
    assert seen[0].info.score.labeling == first.labeling
    with pytest.raises(ConfigError, match=r"search\.start names a folder"):
        await search_labels(dataset, BayesModel(truth), settings=SearchSettings(start=tmp_path))


def test_labels_that_do_not_fit_are_refused_by_name() -> None:
    dataset, _ = pairs(2)
    with pytest.raises(ConfigError, match="fixed: id 'x' is not in the data set"):
        make_start(dataset, LABELS, Labeling({"x": "True"}))
    with pytest.raises(ConfigError, match="fixed: label 'Yes' of id '0>1'"):
        make_start(dataset, LABELS, Labeling({"0>1": "Yes"}))
    with pytest.raises(ConfigError, match="start: label 'Yes' of id '0>1'"):
        make_start(dataset, LABELS, None, Labeling({"0>1": "Yes"}))
    with pytest.raises(ConfigError, match="none of an example"):
        make_start(dataset, LABELS, None, Labeling({"x": "True"}))
    with pytest.raises(ConfigError, match="fixed is a Gold"):
        make_start(dataset, LABELS, Gold({"0>1": "True"}))  # type: ignore[arg-type]


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_labels_written_before_there_were_fixed_ones_can_be_read(tmp_path: Path) -> None:
    row = {"id": "a", "label": "True", "probability": 0.9, "coverage": 1.0, "group": None, "probabilities": {"True": 1}}
    usage = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0}
    summary = {"utility": 0, "mutual_predictability": 0, "inconsistency": 0, "usage": usage, "steps": 0}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    write(tmp_path / "labels.jsonl", row)
    assert Result.load(tmp_path).examples == (LabelledExample(**row, fixed=False),)  # type: ignore[arg-type]
    write(tmp_path / "labels.jsonl", {**row, "fixed": "no"})
    with pytest.raises(RunError, match="fixed is 'no'"):
        Result.load(tmp_path)
