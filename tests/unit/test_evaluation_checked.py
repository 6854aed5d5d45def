"""Labels drawn at random and checked by a person: each is drawn equally often, and few bad labelings pass."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from math import comb, fsum, log
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.config import load_config
from icm_api.errors import DataError, RunError
from icm_api.evaluation import Check, check_of, draw_sample
from icm_api.evaluation.checked import FEWEST_ANSWERS
from icm_api.result import LabelledExample
from icm_api.runs import FinishedRun, check_labels, draw_labels, run_config
from tests.finished import DIAGNOSIS, MadeUp, finished_run

TWO = ("True", "False")
SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=12)


def homes(sizes: list[int]) -> dict[str, int]:
    return {f"{at}-{member}": at for at, size in enumerate(sizes) for member in range(size)}


@given(SIZES, st.integers(1, 30), st.integers(0, 1000))
def test_components_are_spread_over_as_evenly_as_their_sizes_let(sizes: list[int], count: int, seed: int) -> None:
    found = draw_sample(homes(sizes), count, Random(seed))
    assert len(set(found)) == len(found) == min(count, sum(sizes))
    taken = Counter(int(key.split("-")[0]) for key in found)
    for at, size in enumerate(sizes):
        expected = size * len(found) / sum(sizes)
        assert expected - 1 < taken[at] < expected + 1


def test_every_label_is_drawn_equally_often_whatever_the_size_of_its_component() -> None:
    place, draws = homes([1, 1, 2, 5, 3]), 4000
    drawn = Counter(key for seed in range(draws) for key in draw_sample(place, 4, Random(seed)))
    for key in place:
        # Five standard deviations.
        assert drawn[key] == pytest.approx(draws * 4 / 12, abs=5 * (draws * 4 / 12 * 8 / 12) ** 0.5)


def test_the_order_says_nothing_of_where_an_example_was() -> None:
    firsts = Counter(draw_sample(homes([1] * 8), 8, Random(seed))[0] for seed in range(400))
    assert len(firsts) == 8
    assert max(firsts.values()) < 100


def test_labels_of_which_59_percent_are_right_pass_in_under_5_percent_however_often_a_person_draws_more() -> None:
    """Exact, over three samples of 20 with a look after each; a passed look ends it."""
    p, passed, open_ = 0.59, 0.0, {0: 1.0}
    for look in (1, 2, 3):
        after: dict[int, float] = {}
        for right, weight in open_.items():
            for k in range(21):
                after[right + k] = after.get(right + k, 0.0) + weight * comb(20, k) * p**k * (1 - p) ** (20 - k)
        ended = {right: Check(right, 20 * look, 20 * look, 1000).passed for right in after}
        passed += sum(weight for right, weight in after.items() if ended[right])
        open_ = {right: weight for right, weight in after.items() if not ended[right]}
        assert 0.03 < passed < 0.05


def test_what_is_not_answered_counts_as_wrong_and_a_label_drawn_twice_counts_once() -> None:
    found = {str(at): TWO[at % 2] for at in range(40)}
    sample = list(found)[:FEWEST_ANSWERS]
    right = {key: found[key] for key in sample}
    some = check_of(found, [sample], dict(list(right.items())[:15]), TWO)
    assert some is not None
    assert (some.right, some.answered, some.drawn, some.answer) == (15, 15, 20, "check not complete")
    assert "5 not answered, which count as wrong until they are" in some.says()
    whole = check_of(found, [sample, sample], right, TWO)
    assert whole is not None
    assert (whole.right, whole.drawn, whole.answer) == (20, 20, "checked")
    assert check_of(found, [sample], {}, TWO) is None
    assert check_of(found, [sample, ["39"]], right, TWO) == check_of(found, [sample], right, TWO)


def test_too_few_answers_are_no_check_unless_there_are_no_more_labels() -> None:
    assert Check(10, 10, 10, 40).answer == "check too small"
    assert Check(16, 20, 20, 40).answer == "checked"
    assert Check(15, 20, 20, 40).answer == "check failed"
    census = Check(8, 10, 10, 10)
    assert (census.answer, census.at_least) == ("checked", 0.8)
    assert "all there are" in census.says()


def test_ordinal_labels_are_told_by_how_far_they_are_off() -> None:
    found = dict(zip("abcd", ["1", "2", "3", "10"], strict=True))
    answers = dict(zip("abcd", ["1", "3", "10", "1"], strict=True))
    check = check_of(found, ["abcd"], answers, ["10", "1", "2", "3"])
    assert check is not None
    assert check.distance == pytest.approx((0 + 1 + 1 + 3) / 4)


def answered(run: FinishedRun, path: Path, ids: tuple[str, ...], wrong: int = 0) -> Path:
    """A file of answers, as many wrong as is said."""
    found = run.result.labeling
    labels = [found[key] if at >= wrong else TWO[found[key] == "True"] for at, key in enumerate(ids)]
    rows = ({"id": key, "label": label} for key, label in zip(ids, labels, strict=True))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(tmp_path: Path) -> FinishedRun:
    return FinishedRun.open(finished_run(tmp_path / "made", MadeUp([f"text {at}" for at in range(60)])))


def test_a_check_is_kept_in_the_run_and_more_of_them_are_counted_together(run: FinishedRun, tmp_path: Path) -> None:
    first = draw_labels(run, 20)
    assert draw_labels(run, 20) == first
    pairs = {row.id: row.group for row in run.result.examples}
    assert len({pairs[key] for key in first.ids}) == 20
    assert check_labels(run, answered(run, tmp_path / "a.jsonl", first.ids, wrong=3)).right == 17
    assert FinishedRun.open(run.folder).result.about["check"]["answer"] == "checked"
    assert check_labels(run, answered(run, tmp_path / "a.jsonl", first.ids, wrong=3)).drawn == 20
    second = draw_labels(run, 20, seed=1)
    assert not set(first.ids) & set(second.ids)
    both = check_labels(run, answered(run, tmp_path / "b.jsonl", second.ids, wrong=10))
    assert (both.right, both.drawn, both.samples, both.answer) == (27, 40, 2, "check failed")
    drawn = {*first.ids, *second.ids}
    sure = [row.confidence for row in run.result.examples if row.id in drawn]
    assert both.confidence == pytest.approx(sum(sure) / 40)


def test_probabilities_are_fitted_to_the_answers_of_a_check(tmp_path: Path) -> None:
    made = MadeUp([f"text {at}" for at in range(60)], diagnosis=DIAGNOSIS)
    run = FinishedRun.open(finished_run(tmp_path / "made", made))
    sample = draw_labels(run, 20)
    check_labels(run, answered(run, tmp_path / "few.jsonl", sample.ids[:9], wrong=4))
    assert FinishedRun.open(run.folder).result.about["calibration"] == run.result.about["calibration"]
    check = check_labels(run, answered(run, tmp_path / "all.jsonl", sample.ids, wrong=4))
    after = FinishedRun.open(run.folder).result
    assert after.about["calibration"]["source"] == "given labels"
    assert after.about["calibration"]["evidence"] == 20

    answers = load_answers(tmp_path / "all.jsonl")

    def fit(rows: Sequence[LabelledExample]) -> float:
        return fsum(log(row.calibrated[answers[row.id]]) for row in rows if row.id in answers)

    # The answers are more probable than before, and what no person answered is scaled alike.
    assert fit(after.examples) > fit(run.result.examples) + 1e-6
    others = [(old, new) for old, new in zip(run.result.examples, after.examples, strict=True) if old.id not in answers]
    assert all(old.calibrated != new.calibrated for old, new in others)
    assert after.labeling == run.result.labeling
    # A check says how sure the run was before anybody answered.
    again = check_labels(FinishedRun.open(run.folder), tmp_path / "all.jsonl")
    assert again.confidence == check.confidence
    assert FinishedRun.open(run.folder).result.examples == after.examples


def load_answers(path: Path) -> dict[str, str]:
    return {row["id"]: row["label"] for row in map(json.loads, path.read_text().splitlines())}


def test_answers_that_are_no_evidence_are_refused_by_id(run: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no sample was drawn"):
        check_labels(run, answered(run, tmp_path / "a.jsonl", ("example-0",)))
    ids = draw_labels(run, 20).ids
    other = next(row.id for row in run.result.examples if row.id not in ids)
    with pytest.raises(DataError, match=f"'{other}': not among the labels drawn at random"):
        check_labels(run, answered(run, tmp_path / "a.jsonl", (*ids, other)))
    assert "check" not in FinishedRun.open(run.folder).result.about
    check_labels(run, answered(run, tmp_path / "a.jsonl", ids))
    with pytest.raises(DataError, match=f"'{ids[0]}': answered otherwise"):
        check_labels(run, answered(run, tmp_path / "a.jsonl", ids, wrong=1))


def test_a_check_that_was_changed_is_noticed_and_one_of_other_labels_counts_for_nothing(
    run: FinishedRun, tmp_path: Path
) -> None:
    check_labels(run, answered(run, tmp_path / "a.jsonl", draw_labels(run, 20).ids, wrong=9))
    path = run.folder / "checks.json"
    before = path.read_text()
    path.write_text(before.replace('"True"', '"False"'))
    with pytest.raises(RunError, match=r"checks\.json: damaged: it is not what was written"):
        FinishedRun.open(run.folder)
    path.write_text(before)
    labels = run.folder / "labels.jsonl"
    labels.write_text(labels.read_text().replace('"coverage": 1.0', '"coverage": 0.9'))
    again = FinishedRun.open(run.folder)
    assert "check" not in again.result.about
    with pytest.raises(RunError, match="found anew since"):
        draw_labels(again, 20)


def test_a_sample_of_preferences_is_spread_over_prompts_whichever_comparisons_are_related(tmp_path: Path) -> None:
    """Three comparisons a prompt, each asked in both orders: by comparisons alone, some prompt would be drawn twice."""
    rows = [
        {"prompt": f"{at}+{at}=", "chosen": str(2 * at), "rejected": str(2 * at + off)}
        for at in range(1, 9)
        for off in (1, 2, 3)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "config.toml").write_text(
        '[data]\npath = "pairs.jsonl"\nformat = "preferences"\n[model]\nprovider = "pocket"\n'
        '[prompt]\ntemplate = "{prompt}{first} {second}"\n[[constraints]]\nkind = "asymmetric"\nlabel = "True"\n'
        'total = true\n[search]\nrestarts = 1\nrounds = 1\n[diagnostics]\nenabled = false\n[run]\nfolder = "run"\n'
    )
    asyncio.run(run_config(load_config(tmp_path / "config.toml")))
    found = FinishedRun.open(tmp_path / "run")
    for seed in range(3):
        drawn = draw_labels(found, 8, seed).ids
        assert len({found.dataset.get(key).fields["prompt"] for key in drawn}) == 8
    related = {found.relations.component(key) for key in found.dataset.ids}
    assert len(related) == 24
