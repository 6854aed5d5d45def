"""The benchmark of assistants: its judge and its limits in closed form, and that the recipes work on the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import assistant


def test_the_judge_counts_equals_half_and_takes_limits_by_prompt() -> None:
    assert [assistant.worth(text) for text in ("12", "95", "x", "123", "")] == [-12, -95, -100, -100, -100]
    prompts = len(assistant.HELD_OUT)
    better, worse = [["10", "20"]] * prompts, [["30", "20"]] * prompts
    # Half the replies win, half are equal.
    assert assistant.wins([better], [worse]).value == pytest.approx(0.75)
    mixed = [["10", "10"] if at % 2 else ["90", "90"] for at in range(prompts)]
    found = assistant.wins([mixed], [[["50", "50"]] * prompts])
    assert found.value == pytest.approx((prompts // 2) / prompts)
    assert found.low is not None
    assert found.high is not None
    # Two replies to a prompt are no two prompts.
    assert found.high - found.low > 0.3


@pytest.mark.slow
async def test_both_recipes_on_the_truth_beat_a_plain_reply(tmp_path: Path) -> None:
    outcomes, plain = await assistant.measured(tmp_path, range(1), ("golden",))
    [golden] = outcomes["golden"]
    assert golden.labels == 1.0
    # The mean over five seeds is .79.
    assert golden.reward > 0.7
    for replies in (golden.best, golden.tuned):
        won = assistant.wins([replies], plain)
        assert won.low is not None
        assert won.low > 0.5
