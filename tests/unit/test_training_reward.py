"""A scoring head on the embedded model: what it learns of pairs, against the loss written out, and how it is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from safetensors.numpy import load_file

from icm_api import open_reward_model
from icm_api.cli.main import main
from icm_api.errors import ConfigError, PromptError, ProviderError
from icm_api.export import LabelledData
from icm_api.pocket.model import WEIGHTS, PocketModel
from icm_api.reward import BestOf, Comparison, Preference, Refused, ScoredReward, open_trained, rank_written
from icm_api.reward.pocket_head import HEAD, HEAD_FILE, features
from icm_api.reward.scored import Scoring
from icm_api.training import follow, open_trainer, start, training_data
from icm_api.training.rewarded import Rewarding
from icm_api.types import Usage
from tests.finished import MadeUp, finished_run
from tests.labelled import preferred

Pairs = list[tuple[str, str, str]]


def smaller_is_better(count: int, seed: int) -> Pairs:
    """A prompt such as "45>", and two numbers to follow it; in the embedded model's world small ones make it true."""
    rng = Random(seed)
    drawn = [(rng.randrange(20, 90), sorted(rng.sample(range(10, 100), 2))) for _ in range(count)]
    return [(f"{prompt}>", f"{low}", f"{high}") for prompt, (low, high) in drawn]


async def trained(data: LabelledData, place: Path, **options: object) -> str:
    trainer = open_trainer("pocket", options, place=place, method="reward")
    job = await start(trainer, lambda: training_data(data, trainer, place), place)
    return trainer.result(await follow(trainer, place, job)).spec


async def test_what_it_learned_it_scores_of_replies_that_it_never_saw(tmp_path: Path) -> None:
    spec = await trained(preferred(smaller_is_better(48, 1)), tmp_path)
    held_out = smaller_is_better(60, 2)
    async with open_reward_model(spec) as reward:
        assert isinstance(reward, ScoredReward)
        told = await reward.prefer_all(Comparison(*each) for each in held_out)
        right = [each.probability > 0.5 for each in told if isinstance(each, Preference)]
        assert sum(right) / len(right) > 0.85
        scores = [await reward.score("50>", text) for text in ("15", "60", "95")]
        ranking = await reward.rank("50>", ["60", "95", "15", "60"])
        assert [ranking.scores[0] - ranking.scores[1], ranking.scores[0] - ranking.scores[2]] == pytest.approx(
            [scores[1] - scores[2], scores[1] - scores[0]]
        )
        assert ranking.scores[0] == ranking.scores[3]
        one = await reward.prefer("50>", "15", "95")
        assert one.probability == pytest.approx(1 / (1 + np.exp(scores[2] - scores[0])))
        assert (await reward.prefer("50>", "95", "15")).probability == pytest.approx(1 - one.probability)
        assert (await reward.prefer("50>", "15", "15")).probability == 0.5
        share = await reward.score("50>", "15", against=["60", "95"])
        assert share == pytest.approx(
            np.mean([(await reward.prefer("50>", "15", x)).probability for x in ("60", "95")])
        )
        [best] = await rank_written(["1"], ["50>"], [["95", "15", "60"]], reward)
        assert isinstance(best, BestOf)
        assert best.best == ["95", "15", "60"][int(np.argmax([scores[2], scores[0], scores[1]]))]
        assert reward.usage.requests > 0


@pytest.mark.parametrize("margin", [True, False])
async def test_its_weights_are_where_the_loss_is_smallest(margin: bool, tmp_path: Path) -> None:
    """The loss written out again, with the margin that the export wrote; its slope by central differences is 0."""
    pairs, penalty = smaller_is_better(16, 3), 0.05
    spec = await trained(preferred(pairs, 0.8), tmp_path, penalty=penalty, margin=margin)
    model = PocketModel.load()
    both = [features(model, [(each[0], each[side]) for each in pairs]) for side in (1, 2)]
    spread = np.vstack(both).std(axis=0) + 1e-9
    asked = np.log(0.8 / 0.2) if margin else 0.0
    weights = load_file(Path(spec.partition(":")[2]) / HEAD_FILE)[HEAD] * spread

    def loss(at: np.ndarray) -> float:
        gained = (both[0] - both[1]) / spread @ at
        return float(np.mean(np.log1p(np.exp(asked - gained))) + penalty / 2 * at @ at)

    steps = np.eye(len(weights))[:: len(weights) // 8] * 1e-4
    slopes = [(loss(weights + step) - loss(weights - step)) / 2e-4 for step in steps]
    assert np.abs(slopes).max() < 1e-4
    assert loss(weights) < loss(weights * 0.9)
    assert loss(weights) < loss(weights * 1.1)


async def test_one_that_is_empty_or_too_long_costs_the_others_nothing(tmp_path: Path) -> None:
    reward = open_trained(await trained(preferred(smaller_is_better(12, 4)), tmp_path))
    empty, long, good = await reward.scores([("50>", " "), ("50>", "9" * 3000), ("50>", "15")])
    assert isinstance(empty, Refused)
    assert isinstance(long, Refused)
    assert "context window" in str(long.error)
    assert isinstance(good, float)
    with pytest.raises(PromptError, match="empty"):
        await reward.score("50>", "")
    assert isinstance((await reward.rank_all([("50>", ["15", "9" * 3000])]))[0], Refused)
    with pytest.raises(ConfigError, match="at least one"):
        await reward.rank("50>", [])
    with pytest.raises(ConfigError, match="one text"):
        await reward.score({"prompt": "50>", "more": "x"}, "15")


class ByLength:
    """A head that likes long replies."""

    identity, window = "made/up", 100

    def length(self, prompt: str, reply: str) -> int:
        return len(prompt) + len(reply)

    def scores(self, asked: Sequence[tuple[str, str]]) -> Sequence[float]:
        return [float(len(reply)) for _, reply in asked]


async def test_copies_of_a_reward_model_count_together() -> None:
    reward = ScoredReward(Scoring(ByLength()))
    listening = replace(reward, heard=list[int]().append)
    assert (await listening.prefer("?", "long", "no")).probability > 0.5
    assert await reward.score("?", "no") == 2.0
    # One that is refused is not scored, and one that is asked twice at once is scored once.
    await reward.scores([("?", "yes"), ("?", "yes"), ("?", "")])
    assert reward.usage == listening.usage == Usage(4, 5 + 3 + 3 + 4)


async def test_what_is_no_trained_reward_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match=r"no trained reward head.*--reward"):
        open_trained(f"pocket:{WEIGHTS}")
    with pytest.raises(ConfigError, match="takes no options"):
        open_trained(f"pocket:{tmp_path}", {"device": "cpu"})
    with pytest.raises(ConfigError, match="is shown nothing"):
        async with open_reward_model(f"pocket:{tmp_path}", demonstrations=3):
            pass


async def test_replies_are_rewarded_beside_those_to_the_same_prompt(tmp_path: Path) -> None:
    """As a trainer calls it that has replies written: texts or messages, blank ones and ones that do not fit."""
    spec = await trained(preferred(smaller_is_better(24, 5)), tmp_path)
    long, asked = "9" * 3000, [*["50>"] * 3, *["70>"] * 2, *["80>"] * 2, "90>"]
    replies = ["15", "", "95", "20", "20", long, "20", " "]

    def rewarded(messages: bool) -> list[float | None]:
        prompts = [[{"role": "user", "content": text}] if messages else text for text in asked]
        said = [[{"role": "assistant", "content": text}] if messages else text for text in replies]
        with Rewarding(spec) as reward:
            return reward(prompts=prompts, completions=said, completion_ids=[])

    found = await asyncio.to_thread(rewarded, False)
    reward = open_trained(spec)
    scores = [await reward.score("50>", text) for text in ("15", "95")]
    assert found[0] is not None
    assert found[2] is not None
    assert found[0] - found[2] == pytest.approx(scores[0] - scores[1])
    assert found[1] == min(found[0], found[2]) - 1
    assert found[3:] == [0.0, 0.0, None, None, None]
    assert await asyncio.to_thread(rewarded, True) == found


@pytest.mark.parametrize(
    ("spec", "told"),
    [("openai:m", "trains no reward model; these do: huggingface, pocket"), ("pocket", "of two replies")],
)
def test_who_trains_no_reward_model_and_on_what(
    spec: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path, MadeUp(["a", "b"]))
    assert main(["train", str(run), "--reward", "--with", spec]) == 2
    assert told in capsys.readouterr().err
    assert main(["train", str(run), "--grpo", "--with", spec]) == 2
    assert "does not train by a reward; these do: huggingface" in capsys.readouterr().err
    assert main(["train", str(run), "--rewarded-by", "pocket:x", "--with", spec]) == 2
    assert "--grpo" in capsys.readouterr().err
