"""Best of n: what is picked, what becomes a pair for training, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import log
from pathlib import Path

import pytest

from icm_api.errors import DataError, RequestError
from icm_api.export import FormatName, export_labels
from icm_api.model import open_model
from icm_api.reward import BestOf, Preference, Ranking, Refused, best_of, preference_data, rank_written
from icm_api.testing import serve
from tests.hosted import HOSTED, KEY_VARIABLES


class Longest:
    """`Ranks` by length; refuses a prompt."""

    async def rank_all(self, questions: Sequence[tuple[object, Sequence[str]]]) -> Sequence[Ranking | Refused]:
        refused = Refused(RequestError("a filter", kind="refused"))
        return [
            refused if prompt == "forbidden" else Ranking(tuple(map(float, map(len, replies))))
            for prompt, replies in questions
        ]


async def test_replies_are_ranked_and_blank_ones_left_out() -> None:
    prompts = ["q", "forbidden", "silent", "same"]
    written = [["a", " ", "ccc", "bb "], ["x"], ["", " \n"], ["z", "z"]]
    found = await rank_written(["1", "2", "3", "4"], prompts, written, Longest())
    first, forbidden, silent, same = found
    assert isinstance(first, BestOf)
    assert (first.replies, first.best) == (("a", "ccc", "bb"), "ccc")
    assert first.ends is not None
    assert first.ends[:2] == ("ccc", "a")
    assert isinstance(forbidden, Refused)
    assert isinstance(silent, Refused)
    assert "no reply" in str(silent.error)
    assert isinstance(same, BestOf)
    assert same.ends is None
    assert preference_data(found).dataset.ids == ("1-1", "1-2")


@pytest.mark.parametrize("dialect", ["openai-chat", "gemini"])
async def test_any_provider_writes_and_a_second_call_sends_nothing(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "of-the-test")
    hosted = HOSTED[dialect]
    sent = []
    with serve(dialect=hosted.dialect) as server:
        for _ in range(2):
            async with open_model(hosted.spec(server), cache=tmp_path, options=dict(hosted.options)) as model:
                found = await best_of(["7>3", "2>9"], model, Longest(), samples=2, max_tokens=2)
            sent.append(sum(server.log.requests.values()))
    assert sent[0] == sent[1] > 0
    assert all(isinstance(each, BestOf) and each.best == max(each.replies, key=len) for each in found)


def exported(to: FormatName, folder: Path, *found: BestOf) -> list[dict[str, object]]:
    export_labels(preference_data(found), to, folder / to)
    return [json.loads(line) for line in (folder / to / "train.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_best_against_the_worst_is_exported_with_the_margin_of_the_reward_model(tmp_path: Path) -> None:
    met = {(0, 1): Preference(0.2, 0.4), (1, 2): Preference(0.6, 0.6)}
    found = BestOf("q7", "Say hello.", ("Go away.", "Hello!", "Hm."), Ranking((-1.0, 0.7, 0.3), met))
    asked = [{"role": "user", "content": "Say hello."}]
    better, worse = ([{"role": "assistant", "content": text}] for text in ("Hello!", "Go away."))
    assert exported("trl-dpo", tmp_path, found) == [{"prompt": asked, "chosen": better, "rejected": worse}]
    [row] = exported("trl-reward", tmp_path, found)
    assert (row["chosen"], row["rejected"]) == (asked + better, asked + worse)
    # In one order the best reply got 0.8, in the other 0.6.
    assert row["margin"] == pytest.approx((log(0.8 / 0.2) + log(0.6 / 0.4)) / 2, abs=1e-3)
    [row] = exported("openai-dpo", tmp_path, found)
    assert row["preferred_output"] == better


def test_two_that_did_not_meet_have_the_margin_of_their_scores(tmp_path: Path) -> None:
    found = BestOf("1", "q", ("a", "b"), Ranking((0.4, -0.8)))
    [row] = exported("trl-reward", tmp_path, found)
    assert row["margin"] == pytest.approx(1.2, abs=1e-3)


def test_replies_that_are_all_alike_train_nothing() -> None:
    with pytest.raises(DataError, match="sample more"):
        preference_data([BestOf("1", "q", ("a", "a"), Ranking((0.0, 0.0)))])
