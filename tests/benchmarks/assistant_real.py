"""A better assistant on a real model: the same recipes on labels of three kinds, judged by a model of another family.

`python -m tests.benchmarks assistant real --help`. What `rewards real` kept in the same `--work FOLDER` is not trained
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TypeAlias

from icm_api.model import open_model
from tests.benchmarks.assistant import shown, won
from tests.benchmarks.rewards import real_options, working_in
from tests.real.assistants import HELD_OUT, Judge, Writer, mean_scores, taught
from tests.real.models import folder_of
from tests.real.reviews import FOUND, GOLDEN, HUMAN, Reviews, rewards

Worth: TypeAlias = Sequence[Sequence[Sequence[float]]]
"""Of replies: per seed and prompt."""
KINDS = (GOLDEN, FOUND, HUMAN)
BEST, DPO, GRPO = "best of 4", "trained (DPO)", "trained (GRPO)"
JUDGE = "gemma3-270m"
"""What the judge is; no label and no reply of it is learned from."""


@dataclass(frozen=True)
class Made:
    """What one seed gave.

    Attributes:
        plain: replies to each held-out prompt.
        replies: the same by kind of labels and recipe.
        scores: mean score of the replies to each held-out prompt by the reward model of the labels found: of the plain
            ones, and of those of the model that GRPO trained; empty if it was not.
    """

    plain: Sequence[Sequence[str]]
    replies: Mapping[tuple[str, str], Sequence[Sequence[str]]]
    scores: tuple[Sequence[float], ...] = ()


async def made(spec: str, seed: int, place: Path, *, grpo: bool = True, kinds: Sequence[str] = KINDS) -> Made:
    """Reward models, and replies by each recipe.

    Args:
        spec: of the model that labels, writes and learns.
        seed: of all that is drawn.
        place: a folder; what was answered and trained there before is not paid for again.
        grpo: train by the reward model of the labels found while the model writes, too.
        kinds: of labels.
    """
    writer = Writer(await taught(spec, place / "taught"), place / f"assistant-{seed}", seed)
    reward = {
        kind: told
        for kind, (_, told) in (await rewards(Reviews.of(seed), spec, place / f"rewards-{seed}", kinds)).items()
    }
    replies = {}
    for kind in kinds:
        replies[kind, BEST] = await writer.best(reward[kind])
        replies[kind, DPO] = await writer.preferring(reward[kind], kind.split()[0])
    plain = await writer.plain()
    if not grpo:
        return Made(plain, replies)
    replies[FOUND, GRPO] = reinforced = await writer.reinforced(reward[FOUND], "found")
    scores = [await mean_scores(reward[FOUND], some) for some in (plain, reinforced)]
    return Made(plain, replies, tuple(scores))


async def judged(seeds: Sequence[Made], cache: Path) -> tuple[Worth, dict[tuple[str, str], Worth]]:
    """What plain replies and those of each recipe are worth, per seed and held-out prompt.

    Args:
        seeds: one or more.
        cache: a folder for the judge's answers.
    """
    async with open_model(f"huggingface:{folder_of(JUDGE)}", cache=cache) as model:
        judge = Judge(model)
        plain: Worth = [await judge(each.plain, HELD_OUT) for each in seeds]
        worth: dict[tuple[str, str], Worth] = {
            name: [await judge(each.replies[name], HELD_OUT) for each in seeds] for name in seeds[0].replies
        }
    return plain, worth


def report(argv: list[str]) -> Iterator[str]:
    """The figures, a line each.

    Args:
        argv: what follows `assistant real`.
    """
    parser = real_options("assistant")
    parser.add_argument("--grpo", action="store_true", help="GRPO too, by the reward model of the labels found")
    given = parser.parse_args(argv)
    folder, seeds = given.folder or folder_of(given.model), []
    with working_in(given.work) as place:
        for seed in range(given.seeds):
            seeds.append(asyncio.run(made(f"huggingface:{folder}", seed, place, grpo=given.grpo)))
            yield f"{folder.name}, seed {seed}: done"
        plain, worth = asyncio.run(judged(seeds, place / "judge"))
    yield f"{folder.name}: {len(HELD_OUT)} held-out prompts, seeds 0 to {given.seeds - 1}; called good by {JUDGE}"
    yield f"  plain: {fmean(value for seed in plain for some in seed for value in some):.2f}"
    for (kind, recipe), values in worth.items():
        good = fmean(value for seed in values for some in seed for value in some)
        yield f"  {recipe}, {kind}: {good:.2f}, wins against a plain reply {shown(won(values, plain))}"
    for recipe in (BEST, DPO):
        for other in (HUMAN, GOLDEN):
            yield f"  {recipe}, {FOUND} against {other}: {shown(won(worth[FOUND, recipe], worth[other, recipe]))}"
    for seed, each in enumerate(seeds):
        if each.scores:
            yield f"  GRPO, seed {seed}: mean score {' -> '.join(map(_with_error, each.scores))}"


def _with_error(means: Sequence[float]) -> str:
    mean, error = fmean(means), stdev(means) / len(means) ** 0.5
    return f"{mean:.2f} (standard error {error:.2f})"
