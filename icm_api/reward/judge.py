"""A judge of replies that has seen a run's labelled comparisons: which of two is better, in both orders.

The comparisons that it is shown, and how its answers are calibrated, are chosen as where a run labels what is outside
its core (`icm_api.runs.frozen`): as many of each label, the surest first. Nothing is trained, and any model will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import fsum

from icm_api.config import CoreSection, SearchSettings
from icm_api.data.pairs import FIRST, SECOND, rank
from icm_api.errors import ConfigError, PromptError, ProviderError
from icm_api.evaluation import scaled
from icm_api.objective import Objective, shifted
from icm_api.prompts import Shown
from icm_api.result import Result
from icm_api.reward.bradley_terry import bradley_terry, first_meetings, next_meetings
from icm_api.reward.comparing import TIE, Asked, Comparison, Preference, Ranking, Refused, answered
from icm_api.runs.frozen import Frozen, freeze
from icm_api.search import build_objective
from icm_api.types import Dataset, Example, LabelDistribution, Model, Prompt, PromptTemplate, Task, Usage

STRETCH = 256
"""Comparisons asked about at once."""
_TEXTS = ("first", "second")


@dataclass(frozen=True, eq=False)
class RewardModel:
    """Says which of two replies is better, by demonstrations that no human labelled.

    Its probabilities are the mean of both orders, so that a model that always takes the first reply says one half. It
    compares; a reply by itself has no score, and `score` needs replies to compare it with.

    Attributes:
        objective: gives the prompts, the model to ask, and what was asked so far (`tally`).
        shown: the demonstrations.
        frozen: how answers are calibrated.
        heard: called with the number of comparisons each time that some are answered.

    Example:
        ``async with icm_api.open_reward_model("runs/helpful") as reward: await reward.prefer(prompt, one, other)``
    """

    objective: Objective
    shown: Shown
    frozen: Frozen
    heard: Callable[[int], object] = lambda answered: None

    @classmethod
    async def of(
        cls, result: Result, dataset: Dataset, task: Task, model: Model, *, seed: int = 0, demonstrations: int = 0
    ) -> RewardModel:
        """A reward model of labels in memory, as `icm_api.search_labels` returns them.

        Args:
            result: the labels.
            dataset: the pairs that they are of, each in both orders, as the format "preferences" has them.
            task: that they were labelled for.
            model: whom to ask; it need not be the one that labelled them.
            seed: of every random draw.
            demonstrations: the most comparisons to show; 0 for as many as a run shows.

        Raises:
            ConfigError: the task does not compare two texts.
            ProviderError: the model gave no usable logprobs.
            BudgetError: the next request could exceed the budget.
        """
        check_comparing(task)
        settings = SearchSettings(seed=seed)
        core = Dataset(dataset.get(row.id) for row in result.examples)
        objective = build_objective(core, model, task, settings)
        frozen = await freeze(result, objective, settings, demonstrations or CoreSection().demonstrations)
        return cls.after(frozen, objective)

    @classmethod
    def after(cls, frozen: Frozen, objective: Objective) -> RewardModel:
        """A reward model with demonstrations that are chosen already.

        Args:
            frozen: the demonstrations, and how answers after them are calibrated.
            objective: over the examples that they are among.
        """
        return cls(objective, objective.prompts.after(frozen.shown(objective.dataset)), frozen)

    @property
    def usage(self) -> Usage:
        """What was asked of the model through this reward model, whether a cache answered or the model."""
        return self.objective.tally.usage

    async def prefer(self, prompt: Asked, one: str, other: str) -> Preference:
        """Which of two replies is better: two requests.

        Args:
            prompt: what both answer.
            one: a reply.
            other: another one.

        Raises:
            ConfigError: the prompt is not what the run's template shows.
            PromptError: the prompt or a reply is empty, or the replies are too long for the context window.
            ProviderError: the model gave no usable logprobs.
            BudgetError: the next request could exceed the budget.
        """
        (found,) = await self.prefer_all([Comparison(prompt, one, other)])
        return answered(found)

    async def prefer_all(self, comparisons: Iterable[Comparison]) -> tuple[Preference | Refused, ...]:
        """Many comparisons at once; one that is refused or too long costs the others nothing.

        Args:
            comparisons: pairs of replies.

        Returns:
            What was said of each, in order.

        Raises:
            ConfigError: a prompt is not what the run's template shows.
            ProviderError: the endpoint cannot be used.
            BudgetError: the next request could exceed the budget.
        """
        waiting, found = iter(comparisons), list[Preference | Refused]()
        while stretch := [*islice(waiting, STRETCH)]:
            found += await self._stretch(stretch)
            self.heard(len(stretch))
        return tuple(found)

    async def score(self, prompt: Asked, reply: str, against: Sequence[str]) -> float:
        """How good a reply is beside others to the same prompt: two requests for each of them.

        A comparison says nothing of one reply alone, so that there is no absolute score. Scores of several replies can
        be compared if they are against the same others.

        Args:
            prompt: what is answered.
            reply: to be scored.
            against: replies to compare it with, such as some of the model that is to get better; at least one.

        Returns:
            The mean probability that it is better than one of the others, in [0, 1].

        Raises:
            ConfigError: there is nothing to compare it with; and as for `prefer`.
            PromptError, ProviderError, BudgetError: as for `prefer`.
        """
        if not against:
            raise ConfigError("score: give replies to compare it with (against=[...]), as a reply alone has no score")
        told = await self.prefer_all(Comparison(prompt, reply, other) for other in against)
        return fsum(answered(each).probability for each in told) / len(told)

    async def rank(self, prompt: Asked, replies: Sequence[str]) -> Ranking:
        """Order replies to one prompt: up to four all meet; of more, each two that follow one another in the end.

        Args:
            prompt: what is answered.
            replies: one or more; equal texts get equal scores.

        Returns:
            Strengths by which the comparisons are most probable, see `bradley_terry`.

        Raises:
            ConfigError: there are no replies; and as for `prefer`.
            PromptError, ProviderError, BudgetError: as for `prefer`.
        """
        (found,) = await self.rank_all([(prompt, replies)])
        return answered(found)

    async def rank_all(self, questions: Sequence[tuple[Asked, Sequence[str]]]) -> tuple[Ranking | Refused, ...]:
        """The replies to many prompts, each ranked by itself; one that is refused costs the others nothing.

        Args:
            questions: prompts, each with its replies.

        Returns:
            A ranking for each, in order.

        Raises:
            ConfigError, ProviderError, BudgetError: as for `prefer_all`.
        """
        boards = [_Board.of(prompt, replies) for prompt, replies in questions]
        while asked := [(at, pair) for at, board in enumerate(boards) for pair in board.due]:
            told = await self.prefer_all(boards[at].comparison(*pair) for at, pair in asked)
            more: dict[int, dict[tuple[int, int], Preference | Refused]] = {}
            for (at, pair), each in zip(asked, told, strict=True):
                more.setdefault(at, {})[pair] = each
            boards = [board.with_more(more.get(at, {})) for at, board in enumerate(boards)]
        return tuple([board.ranking for board in boards])

    async def _stretch(self, comparisons: Sequence[Comparison]) -> list[Preference | Refused]:
        asked: dict[int, tuple[Prompt, Prompt]] = {}
        found: dict[int, Preference | Refused] = {}
        for at, each in enumerate(comparisons):
            if each.one == each.other:
                found[at] = TIE
                continue
            try:
                asked[at] = (self._prompt(each.prompt, each.one, each.other), self._prompt(*_swapped(each)))
            except PromptError as error:
                found[at] = Refused(error)
        while asked:
            try:
                reads = iter(await self.objective.read([prompt for both in asked.values() for prompt in both]))
            except ProviderError as error:
                failed = {each.query for each in error.unanswered} if error.of_one else set()
                guilty = [at for at, both in asked.items() if any(prompt.query in failed for prompt in both)]
                if not guilty:
                    raise
                found |= {at: Refused(error) for at in guilty}
                asked = {at: both for at, both in asked.items() if at not in guilty}
                continue
            found |= {at: self._preference(next(reads), next(reads)) for at in asked}
            break
        return [found[at] for at in range(len(comparisons))]

    def _prompt(self, prompt: Asked, first: str, second: str) -> Prompt:
        if not (first.strip() and second.strip()):
            raise PromptError("a reply is empty: there is nothing to compare")
        shown = prompt_fields(self.objective.prompts.template, prompt)
        return self.shown.prompt(Example("asked", {**shown, "first": first, "second": second}))

    def _preference(self, in_first: LabelDistribution, in_second: LabelDistribution) -> Preference:
        """Of `one`, from the answers with `one` in first and in second place."""
        one, other = (
            scaled(shifted(read, self.frozen.shifts), self.frozen.temperature) for read in (in_first, in_second)
        )
        covered = [read.coverage for read in (in_first, in_second) if read.coverage is not None]
        return Preference(one.probability(FIRST), other.probability(SECOND), min(covered, default=None))


@dataclass(frozen=True, slots=True)
class _Board:
    """Replies to one prompt, each text once in an order that says nothing of the order given, and who met whom."""

    prompt: Asked
    replies: Sequence[str]
    texts: tuple[str, ...]
    met: Mapping[tuple[int, int], Preference] = field(default_factory=dict)
    refused: Refused | None = None

    @classmethod
    def of(cls, prompt: Asked, replies: Sequence[str]) -> _Board:
        if not replies or isinstance(replies, str):
            raise ConfigError("rank: give a list of replies, at least one")
        return cls(prompt, replies, tuple(sorted(set(replies), key=lambda text: rank("ranked replies", text))))

    @property
    def due(self) -> tuple[tuple[int, int], ...]:
        """Who has to meet now; nobody once all who follow one another have."""
        if self.refused is not None:
            return ()
        return next_meetings(self._strengths(), self.met.keys()) if self.met else first_meetings(len(self.texts))

    def comparison(self, one: int, other: int) -> Comparison:
        return Comparison(self.prompt, self.texts[one], self.texts[other])

    def with_more(self, told: Mapping[tuple[int, int], Preference | Refused]) -> _Board:
        refused = next((each for each in told.values() if isinstance(each, Refused)), self.refused)
        answered = {pair: each for pair, each in told.items() if isinstance(each, Preference)}
        return replace(self, met={**self.met, **answered}, refused=refused)

    @property
    def ranking(self) -> Ranking | Refused:
        if self.refused is not None:
            return self.refused
        places = [self.replies.index(text) for text in self.texts]
        scores = dict(zip(self.texts, self._strengths(), strict=True))
        return Ranking(
            tuple(scores[text] for text in self.replies),
            {(places[one], places[other]): each for (one, other), each in self.met.items()},
        )

    def _strengths(self) -> tuple[float, ...]:
        return bradley_terry(len(self.texts), {pair: each.probability for pair, each in self.met.items()})


def check_comparing(task: Task) -> None:
    """Check that a task compares two texts.

    Args:
        task: of a run.

    Raises:
        ConfigError: it does not.
    """
    template, labels = task.template, task.verbalizer.labels
    if set(labels) != {FIRST, SECOND} or not set(_TEXTS) <= set(template.fields):
        raise ConfigError(
            f"a reward model needs a run that labels which of two replies is better: a template that shows {{first}} "
            f"and {{second}}, and the labels {FIRST!r} and {SECOND!r} (`icm-api init alpaca`); this one shows "
            f"{list(template.fields)} and has the labels {list(labels)}; [prompt.forms] says how "
            "labels are written"
        )


def prompt_fields(template: PromptTemplate, prompt: Asked) -> Mapping[str, str]:
    """A prompt by the names under which a template shows it.

    Args:
        template: of the run.
        prompt: a text, or texts by name.

    Raises:
        ConfigError: the template shows other texts.
        PromptError: a text that it shows is empty.
    """
    names = prompt_names(template)
    if isinstance(prompt, str):
        if len(names) == 1:
            return _filled({names[0]: prompt})
        if not names and not prompt:
            return {}
        raise ConfigError(
            f"the run's template shows {list(names)} above the replies: give the prompt as a mapping of these names to "
            "texts"
            if names
            else "the run's template shows nothing above the replies: leave the prompt empty, or make a run whose "
            "template shows {prompt} too"
        )
    missing = [name for name in names if name not in prompt]
    if missing:
        raise ConfigError(f"the prompt has no {missing[0]!r}, which the run's template shows; it has {list(prompt)}")
    return _filled({name: prompt[name] for name in names})


def prompt_names(template: PromptTemplate) -> tuple[str, ...]:
    """The names of the texts that a template shows beside the two replies.

    Args:
        template: of a run that compares.

    Example:
        >>> prompt_names(PromptTemplate("Q: {prompt}\\nA: {first}\\nB: {second}\\nBetter:"))
        ('prompt',)
    """
    return tuple(name for name in template.fields if name not in _TEXTS)


def _filled(shown: Mapping[str, str]) -> Mapping[str, str]:
    empty = [name for name, text in shown.items() if not text.strip()]
    if empty:
        raise PromptError(f"{empty[0]!r} is empty, and the run's template shows it above the replies: give it a text")
    return shown


def _swapped(each: Comparison) -> tuple[Asked, str, str]:
    return each.prompt, each.other, each.one
