"""Best of n: a model writes several replies to each prompt, a reward model picks; the best against the worst trains.

The writer is any model that writes text, the reward model any that ranks. What was written and compared comes from the
caches of the two, so that the same call again sends nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from icm_api.config import ClientSettings
from icm_api.data import Row, read_rows
from icm_api.data.own_text import without_thoughts
from icm_api.data.pairs import FIRST, SECOND, Pair, both_orders
from icm_api.errors import DataError, IcmError
from icm_api.export import LabelledData
from icm_api.model import LanguageModel
from icm_api.model.reading.reading import Sampling
from icm_api.model.writing import write_each
from icm_api.result import LabelledExample, Result
from icm_api.reward.comparing import Preference, Ranking, Ranks, Refused
from icm_api.types import Dataset, PromptTemplate, Usage, Verbalizer

_SHOWN = PromptTemplate("{prompt}\n\nReply A: {first}\n\nReply B: {second}\n\nThe better reply is")
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class BestOf:
    """Replies to one prompt, ranked.

    Attributes:
        id: of the prompt.
        prompt: its text.
        replies: in the order in which they were written.
        ranking: of the replies.
    """

    id: str
    prompt: str
    replies: tuple[str, ...]
    ranking: Ranking

    @property
    def best(self) -> str:
        """The best reply."""
        return self.replies[self.ranking.best]

    @property
    def ends(self) -> tuple[str, str, Preference] | None:
        """The best reply, the worst, and what was said of the two; None if no reply is better than another."""
        order, scores = self.ranking.order, self.ranking.scores
        if scores[order[0]] <= scores[order[-1]]:
            return None
        return self.replies[order[0]], self.replies[order[-1]], self.ranking.between(order[0], order[-1])


async def best_of(
    prompts: Sequence[str],
    model: LanguageModel,
    reward: Ranks,
    *,
    samples: int = 4,
    max_tokens: int = 512,
    temperature: float = 1.0,
) -> tuple[BestOf | Refused, ...]:
    """Have a model write replies to each prompt, and rank them.

    Args:
        prompts: that are replied to.
        model: that writes.
        reward: ranks the replies, such as `open_reward_model` gives.
        samples: replies to each prompt.
        max_tokens: the most tokens of a reply.
        temperature: 0 for the likeliest tokens, 1 for the model's own probabilities.

    Returns:
        One for each prompt, in order; `Refused` for a prompt without a reply, or whose replies cannot be compared.

    Raises:
        CapabilityError: the model writes no text.
        ProviderError: an endpoint cannot be used.
        BudgetError: the next request could exceed a budget.

    Example:
        ``found = await best_of(prompts, writer, reward, samples=8); texts = [each.best for each in found]``
    """
    sampling = Sampling(max_tokens, temperature, samples)
    written, failure = await write_each(model, prompts, sampling, workers=ClientSettings().max_concurrency)
    if failure is not None:
        raise failure
    ids = [str(at) for at in range(1, len(prompts) + 1)]
    return await rank_written(ids, prompts, [[*map(without_thoughts, some or ())] for some in written], reward)


async def rank_written(
    ids: Sequence[str], prompts: Sequence[str], written: Sequence[Sequence[str]], reward: Ranks
) -> tuple[BestOf | Refused, ...]:
    """Rank replies that are there already; blank ones are left out.

    Args:
        ids: of the prompts.
        prompts: their texts.
        written: replies to each prompt.
        reward: ranks them.

    Raises:
        ProviderError: the endpoint cannot be used.
        BudgetError: the next request could exceed the budget.
    """
    usable = [tuple(text.strip() for text in some if text.strip()) for some in written]
    asked = [at for at, replies in enumerate(usable) if replies]
    found = await reward.rank_all([(prompts[at], usable[at]) for at in asked])
    rankings = dict(zip(asked, found, strict=True))
    none: IcmError = DataError("the model wrote no reply")
    return tuple(
        BestOf(ids[at], prompts[at], usable[at], ranking) if isinstance(ranking, Ranking) else ranking
        for at, ranking in ((at, rankings.get(at, Refused(none))) for at in range(len(ids)))
    )


def best_line(key: str, each: BestOf | Refused) -> str:
    """A line of JSON about the replies to one prompt, as `icm-api best` writes it and `read_best` reads it.

    Args:
        key: id of the prompt.
        each: its ranked replies, or why there are none.
    """
    if isinstance(each, Refused):
        return json.dumps({"id": key, "refused": str(each.error)}, ensure_ascii=False) + "\n"
    scores = [round(score, 4) for score in each.ranking.scores]
    values = {"id": key, "prompt": each.prompt, "best": each.best, "replies": each.replies, "scores": scores}
    return json.dumps(values, ensure_ascii=False) + "\n"


def read_best(path: str | Path) -> tuple[BestOf, ...]:
    """The ranked replies that `icm-api best` wrote; prompts that were refused are left out.

    Args:
        path: of the file.

    Raises:
        DataError: the file cannot be read, or a line is none of it: which, and why.
    """
    found = []
    for row in read_rows(str(path)):
        if "refused" in row.values:
            continue
        replies, scores = _listed(row, "replies", str), _listed(row, "scores", int | float)
        if not replies or len(replies) != len(scores):
            told = "it has no replies with a score each, under 'replies' and 'scores', as `icm-api best` writes them"
            raise row.error(told)
        found.append(BestOf(row.id, row.text("prompt"), tuple(replies), Ranking(tuple(map(float, scores)))))
    if not found:
        raise DataError(f"{path}: there are no ranked replies")
    return tuple(found)


def _listed(row: Row, key: str, kind: Any) -> list[Any]:
    """A list of values of one kind; empty if it is none."""
    value = row.values.get(key)
    return value if isinstance(value, list) and all(isinstance(each, kind) for each in value) else []


def preference_data(found: Sequence[BestOf | Refused]) -> LabelledData:
    """The best reply to each prompt against the worst, as `export_labels` takes it: "trl-dpo", "trl-reward" and others.

    The margin of "trl-reward" is the log-odds of the reward model. Prompts whose replies are all alike are left out.

    Args:
        found: ranked replies; ids of prompts are unique.

    Returns:
        Two examples a prompt, one in each order. It is no result of a search: U(D) and its parts are NaN.

    Raises:
        DataError: no prompt has replies of which one is better.
    """
    examples, lines = [], []
    for each in found:
        ends = each.ends if isinstance(each, BestOf) else None
        if ends is None or not isinstance(each, BestOf):
            continue
        best, worst, told = ends
        for example in both_orders(Pair(each.id, each.id, {"prompt": each.prompt}, (best, worst))):
            first = example.fields["first"] == best
            p = told.shown_first if first else told.shown_second
            label, other = (FIRST, SECOND) if first else (SECOND, FIRST)
            probabilities = {FIRST: 0.0, SECOND: 0.0, label: round(p, _DIGITS), other: round(1 - p, _DIGITS)}
            examples.append(example)
            lines.append(LabelledExample(example.id, label, probabilities[label], None, each.id, probabilities))
    if not examples:
        raise DataError("no prompt has two replies of which one is better: sample more, or at a higher temperature")
    result = Result(tuple(lines), nan, nan, nan, Usage(), 0, {"method": "best of n"})
    return LabelledData(Dataset(examples), result, _SHOWN, Verbalizer.plain((FIRST, SECOND)), replies=True)
