"""A reward model of labelled comparisons, against a judge of which everything is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from icm_api.errors import ConfigError, PromptError, ProviderError
from icm_api.reward import Comparison, Preference, Ranking, Refused, RewardModel, biases
from icm_api.types import PromptTemplate, Task, Verbalizer
from tests.judges import JUDGING, PairJudge, labelled_pairs, sigmoid
from tests.rewarding import FOUND, HUMAN, NOISE, RANDOM, World, rewarded


async def rewarding(**judge: object) -> tuple[RewardModel, PairJudge]:
    dataset, result, worth = labelled_pairs(8)
    model = PairJudge({**worth, **judge.pop("worth", {})}, **judge)  # type: ignore[dict-item, arg-type]
    return await RewardModel.of(result, dataset, JUDGING, model), model


@pytest.mark.parametrize("place", [0.0, 1.3, -4.0])
@pytest.mark.parametrize("length", [0.0, 0.2])
async def test_a_preference_is_the_mean_of_both_orders(place: float, length: float) -> None:
    reward, judge = await rewarding(place=place, length=length, worth={"fine": 0.8, "not so": -0.3})
    judge.asked.clear()
    told = await reward.prefer("q", "fine", "not so")
    assert len(judge.asked) == 2
    # What calibration adds to the log-odds of A.
    shift = reward.frozen.shifts[0] - reward.frozen.shifts[1]
    first = sigmoid(judge.log_odds("fine", "not so") + shift)
    second = 1 - sigmoid(judge.log_odds("not so", "fine") + shift)
    assert told.shown_first == pytest.approx(first)
    assert told.shown_second == pytest.approx(second)
    assert told.probability == pytest.approx((first + second) / 2)
    assert told.coverage == 0.97
    turned = await reward.prefer("q", "not so", "fine")
    assert turned.probability == pytest.approx(1 - told.probability)
    assert turned.shown_first == pytest.approx(told.turned.shown_first)


@pytest.mark.parametrize("place", [-6.0, -0.4, 2.0, 9.0])
async def test_place_alone_prefers_nothing(place: float) -> None:
    reward, _ = await rewarding(place=place)
    told = await reward.prefer("q", "this", "that")
    assert told.probability == pytest.approx(0.5, abs=1e-12)


async def test_the_labels_are_what_it_goes_by() -> None:
    """The same judge after labels that are all the other way round says the opposite."""
    dataset, result, worth = labelled_pairs(8)
    other = {"A": "B", "B": "A"}
    turned = replace(
        result,
        examples=tuple(
            replace(row, label=other[row.label], probabilities={other[k]: p for k, p in row.probabilities.items()})
            for row in result.examples
        ),
    )
    said = []
    for each in (result, turned):
        reward = await RewardModel.of(each, dataset, JUDGING, PairJudge(worth))
        said.append((await reward.prefer("q9", "good 3", "bad 5")).probability)
    assert said[0] > 0.8
    assert said[1] == pytest.approx(1 - said[0])


async def test_as_many_demonstrations_of_each_label_and_one_order_of_a_pair() -> None:
    reward, judge = await rewarding()
    await reward.prefer("q", "good 1", "bad 1")
    parts = [each.rpartition("Prompt: ") for each in judge.asked]
    (text,) = {shown for shown, _, query in parts if query.startswith("q\n")}
    assert text.count("Better: A") == text.count("Better: B") == 4
    assert sorted(text.count(f"good {at}") for at in range(8)) == [1] * 8


async def test_equal_replies_are_not_asked_about() -> None:
    reward, judge = await rewarding()
    judge.asked.clear()
    assert (await reward.prefer("q", "same", "same")).probability == 0.5
    assert judge.asked == []


@pytest.mark.slow
async def test_labels_found_make_a_better_reward_model_than_noisy_ones(tmp_path: Path) -> None:
    """As measured in the embedded world; `python -m tests.benchmarks rewards` takes five seeds."""
    found = await rewarded(World.of(0), tmp_path)
    assert found[HUMAN].labels == found[NOISE].labels < found[FOUND].labels
    for which in ("judge", "trained"):
        pairs, best = getattr(found[FOUND], which)
        assert (pairs >= 0.9, best >= 0.9) == (True, True)
        assert pairs >= max(getattr(found[kind], which)[0] for kind in (HUMAN, NOISE, RANDOM))


async def test_a_score_is_the_mean_probability_to_beat_the_others() -> None:
    reward, _ = await rewarding(worth={"x": 2.0, "y": 0.5, "z": -1.0})
    one, other = [(await reward.prefer("q", "x", each)).probability for each in ("y", "z")]
    assert await reward.score("q", "x", ["y", "z"]) == pytest.approx((one + other) / 2)
    with pytest.raises(ConfigError, match="against"):
        await reward.score("q", "x", [])


@pytest.mark.parametrize(("count", "requests"), [(1, 0), (2, 2), (4, 12), (5, 20), (9, 56)])
@pytest.mark.parametrize("sure", [0.4, 6.0])
async def test_a_ranking_is_that_of_what_is_planted(count: int, requests: int, sure: float) -> None:
    worth = {f"reply {at}": sure * ((at * 4) % 9) for at in range(count)}
    reward, judge = await rewarding(worth=worth, place=0.7)
    judge.asked.clear()
    found = await reward.rank("q", list(worth))
    assert len(judge.asked) == requests if count < 5 else len(judge.asked) <= requests
    assert list(found.order) == sorted(range(count), key=lambda at: -worth[f"reply {at}"])
    assert sum(found.scores) == pytest.approx(0, abs=1e-9)


async def test_the_order_given_and_copies_make_no_difference() -> None:
    worth = dict(zip("abcdefg", (0.1, 2, 1, -1, 0.6, 3, -2), strict=True))
    reward, _ = await rewarding(worth=worth)
    one = await reward.rank("q", list("abcdefg"))
    other = await reward.rank("q", list("gfedcbaa"))
    assert [other.scores["gfedcba".index(text)] for text in "abcdefg"] == pytest.approx(one.scores)
    assert other.scores[7] == other.scores[6]
    told = one.between(0, 1)
    assert one.between(1, 0).probability == pytest.approx(1 - told.probability)


async def test_what_is_refused_costs_the_others_nothing() -> None:
    reward, _ = await rewarding(refused="forbidden", worth={"good": 1.0, "bad": -1.0})
    asked = [Comparison("q", "good", "bad"), Comparison("q", "forbidden", "bad"), Comparison("q", "good", " ")]
    good, refused, empty = await reward.prefer_all(asked)
    assert isinstance(good, Preference)
    assert good.probability > 0.7
    assert isinstance(refused, Refused)
    assert isinstance(empty, Refused)
    with pytest.raises(ProviderError, match="a filter"):
        await reward.prefer("q", "forbidden", "bad")
    with pytest.raises(PromptError, match="empty"):
        await reward.prefer("q", "good", " ")
    ranked = await reward.rank_all([("q", ["good", "forbidden"]), ("q", ["bad", "good"])])
    assert isinstance(ranked[0], Refused)
    assert isinstance(ranked[1], Ranking)
    assert ranked[1].best == 1


async def test_answers_are_heard_of_as_they_come() -> None:
    reward, _ = await rewarding()
    heard: list[int] = []
    listening = replace(reward, heard=heard.append)
    await listening.prefer_all([Comparison("q", "good 1", f"bad {at}") for at in range(300)])
    assert heard == [256, 44]


async def test_a_reply_that_does_not_fit_is_named() -> None:
    reward, _ = await rewarding(window=2_000)
    with pytest.raises(PromptError, match="context window"):
        await reward.prefer("q", "x" * 3_000, "y")


async def test_biases_are_those_that_are_planted() -> None:
    texts = ["word " * (1 + at % 5) + str(at) for at in range(40)]
    pairs = [Comparison("q", *pair) for pair in list(combinations(texts, 2))[::13]]
    for place, length in ((0.0, 0.0), (1.1, 0.0), (0.0, 0.08)):
        reward, _ = await rewarding(place=place, length=length)
        # As if nothing were calibrated: calibration would take a bias of place off.
        reward = replace(reward, frozen=replace(reward.frozen, shifts=(0.0, 0.0)))
        told = [each for each in await reward.prefer_all(pairs) if isinstance(each, Preference)]
        found = biases(list(zip(pairs, told, strict=True)))
        assert found.first.value == pytest.approx(sigmoid(place), abs=0.05)
        assert found.longer.value is not None
        assert (found.longer.value > 0.55) == (length > 0)
        assert found.as_json()["pairs"] == len(pairs)
        assert "first place" in found.lines()[0]
        if length:
            assert found.longer.low is not None
            assert found.longer.low > 0.5


async def test_calibration_takes_a_bias_of_place_off() -> None:
    reward, _ = await rewarding(place=3.0)
    assert abs((await reward.prefer("q", "good 1", "bad 2")).place) < 0.49


def test_no_comparisons_have_no_bias() -> None:
    assert biases([]).first.value is None


@pytest.mark.parametrize("prompt", ["q", {"prompt": "q", "more": "not shown"}])
async def test_a_prompt_is_a_text_or_texts_by_name(prompt: object) -> None:
    reward, _ = await rewarding()
    assert (await reward.prefer(prompt, "good 1", "bad 1")).probability > 0.5  # type: ignore[arg-type]


async def test_another_prompt_than_the_template_shows_is_refused() -> None:
    reward, _ = await rewarding()
    with pytest.raises(ConfigError, match="no 'prompt'"):
        await reward.prefer({"question": "q"}, "a", "b")


@pytest.mark.parametrize(
    "task",
    [
        Task(),
        Task(JUDGING.template, Verbalizer.plain(("A", "B", "C"))),
        Task(PromptTemplate("{first} {other}"), Verbalizer.plain(("A", "B"))),
    ],
)
async def test_a_task_that_compares_nothing_is_refused(task: Task) -> None:
    dataset, result, worth = labelled_pairs(2)
    with pytest.raises(ConfigError, match="icm-api init alpaca"):
        await RewardModel.of(result, dataset, task, PairJudge(worth))
