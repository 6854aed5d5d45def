"""The likeliest next tokens, and a walk along a form's tokens if a listed token writes only its beginning.

What the walk takes for a form's tokens is the likeliest listed token at each step.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import Protocol

from icm_api.model.host import Host
from icm_api.model.reading.coverage import ENOUGH, likeliest
from icm_api.model.reading.echo import PromptLogprobs
from icm_api.model.reading.label_tokens import FormsRead, Place, TokenLogprob, logprob_of, read_forms
from icm_api.model.reading.openai_bodies import next_place
from icm_api.model.reading.reading import Below, Reading, forms_of
from icm_api.model.request import Asks, Body, Request
from icm_api.types import Answers, Prompt, Usage

logger = logging.getLogger(__name__)

SLIGHT = 0.01
"""Share of what is known of the other labels up to which a label that is not listed is left at a bound."""


class _Next(Protocol):
    """Writes the request for the tokens that follow a prompt and the beginning of an answer."""

    def next(self, prompt: Prompt, begun: str = "", most: int = 0) -> Request: ...


class TopK:
    """Reads labels from the likeliest next tokens.

    Tokens count as a form of a chat model whatever white space they begin with.

    Args:
        questions: writes the requests.
        host: whether it chats, and whether an answer of it can be begun.
        then: asks for what the likeliest tokens leave open; None walks on, if the host can.
    """

    def __init__(self, questions: _Next, host: Host, then: PromptLogprobs | None) -> None:
        self._questions, self._host, self._then = questions, host, then
        self._told = False

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        """Read each prompt's forms: one request a prompt, and more for forms that it leaves open.

        Args:
            prompts: what stands before the labels.
            client: asks the requests.

        Raises:
            ProviderError: a request failed, or an answer can't be used.
        """
        answers = await client.ask([self._questions.next(prompt) for prompt in prompts])
        found = [_Found() for _ in prompts]
        branches = self._heard(prompts, dict(enumerate(answers)), found)
        if self._then is not None:
            listed = tuple(Reading(each.forms, "top_k") for each in found)
            return await self._then.settle(prompts, Answers(listed, answers.costs), client)
        costs = dict(answers.costs)
        await self._walk(prompts, found, branches, costs, client)
        longer = await self._longer(prompts, found, costs, client)
        await self._walk(prompts, found, self._heard(prompts, longer, found), costs, client)
        readings = (
            Reading(each.forms, "token_walk" if each.walked else "top_k", instead=each.instead) for each in found
        )
        return Answers(tuple(readings), costs)

    def _heard(self, prompts: Sequence[Prompt], bodies: Mapping[int, Body], found: Sequence[_Found]) -> list[Branch]:
        """Read lists, into `found`; returns the forms that they begin and that are not known yet."""
        loose = self._host.chat
        branches: list[Branch] = []
        for at, body in bodies.items():
            place = next_place(body)
            read = read_forms(place, forms_of(prompts[at].verbalizer), loose_space=loose)
            known = {form for form, value in found[at].forms.items() if isinstance(value, float)}
            found[at].forms.update({form: value for form, value in read.forms.items() if form not in known})
            found[at].instead = likeliest(place) if _covered(found[at].forms) < ENOUGH else {}
            if read.stripped:
                # Where the space is missing, what is written so far is not known.
                self._tell()
            else:
                branches += (each for each in branches_of(at, read, loose_space=loose) if each.form not in known)
        return branches

    def _tell(self) -> None:
        if not self._told:
            logger.warning(
                "%s lists tokens without the space before them, so labels are compared without it; end no prompt with "
                "a space",
                self._host.identity,
            )
        self._told = True

    async def _longer(
        self, prompts: Sequence[Prompt], found: Sequence[_Found], costs: dict[str, Usage], client: Asks
    ) -> dict[int, Body]:
        """A longer list for each prompt with a label that is not known, if the host gives longer ones."""
        plenty = self._host.entry.plenty
        if plenty <= self._host.most:
            return {}
        unknown = [at for at, prompt in enumerate(prompts) if _leaves_open(prompt, found[at].forms)]
        answers = await client.ask([self._questions.next(prompts[at], most=plenty) for at in unknown])
        costs |= answers.costs
        return dict(zip(unknown, answers, strict=True))

    async def _walk(
        self,
        prompts: Sequence[Prompt],
        found: Sequence[_Found],
        branches: list[Branch],
        costs: dict[str, Usage],
        client: Asks,
    ) -> None:
        """Follow the branches to their ends, if the host can, into `found` and `costs`."""
        while branches and self._host.walks:
            nodes = list(dict.fromkeys((branch.at, branch.prefix) for branch in branches))
            answers = await client.ask([self._questions.next(prompts[at], prefix) for at, prefix in nodes])
            costs |= answers.costs
            places = {node: next_place(body) for node, body in zip(nodes, answers, strict=True)}
            for at, _ in nodes:
                found[at].walked = True
            ends, branches = grown(branches, places)
            for at, form, value in ends:
                found[at].forms[form] = value


def _covered(forms: Mapping[str, float | Below]) -> float:
    """The probability of the forms that are known."""
    return sum(exp(value) for value in forms.values() if isinstance(value, float))


def _leaves_open(prompt: Prompt, forms: Mapping[str, float | Below]) -> bool:
    """Whether a label of which no form is known may have more than a slight share of what is known of the others."""
    slight = SLIGHT * _covered(forms)
    for label in prompt.verbalizer.labels:
        values = [forms[form] for form in prompt.verbalizer.forms(label)]
        bounds = [exp(value.logprob) for value in values if isinstance(value, Below)]
        if len(bounds) == len(values) and max(bounds) > slight:
            return True
    return False


@dataclass(slots=True)
class _Found:
    """What is known of one prompt by now.

    Attributes:
        forms: log p of each form, or a bound.
        instead: what the model would write, if that is mostly no label.
        walked: whether forms were followed token by token.
    """

    forms: dict[str, float | Below] = field(default_factory=dict)
    instead: Mapping[str, float] = field(default_factory=dict)
    walked: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A form that is partly written.

    Attributes:
        at: which prompt it belongs to.
        form: the whole form.
        prefix: what is written.
        rest: what is not.
        logprob: log p of what is written.
        beside: the most that all other ways to write the form can have, as a probability.
    """

    at: int
    form: str
    prefix: str
    rest: str
    logprob: float
    beside: float = 0.0


def branches_of(at: int, read: FormsRead, *, loose_space: bool = False) -> list[Branch]:
    """The forms that the first tokens begin. Of forms that are the same but for leading white space only the first.

    Args:
        at: which prompt the forms belong to.
        read: what the first tokens say.
        loose_space: leading white space makes no difference.
    """
    branches: dict[tuple[str, str], Branch] = {}
    for form, token in read.begun.items():
        whole = form.lstrip() if loose_space else form
        bound = read.forms[form]
        if not isinstance(bound, Below):
            continue
        branch = _branch(Branch(at, form, "", whole, 0.0), token, bound, loose_space=loose_space)
        if branch is not None:
            branches.setdefault((branch.prefix, branch.rest), branch)
    return list(branches.values())


def grown(
    branches: Sequence[Branch], places: Mapping[tuple[int, str], Place]
) -> tuple[list[tuple[int, str, float | Below]], list[Branch]]:
    """One step further.

    Args:
        branches: what is partly written.
        places: what follows each prompt and prefix.

    Returns:
        For forms that are done their prompt, form, and log p or a bound; and the branches that go on.
    """
    found: list[tuple[int, str, float | Below]] = []
    further = []
    for branch in branches:
        read = read_forms(places[branch.at, branch.prefix], [branch.rest])
        value = read.forms[branch.rest]
        token = read.begun.get(branch.rest)
        if isinstance(value, float):
            found.append((branch.at, branch.form, _total(branch, value)))
            continue
        longer = None if token is None else _branch(branch, token, value)
        if longer is not None:
            further.append(longer)
        else:
            most = branch.beside + exp(branch.logprob + value.logprob)
            found.append((branch.at, branch.form, Below(min(log(most), 0.0))))
    return found, further


def _total(branch: Branch, last: float) -> float | Below:
    """log p of the whole form, if the way that was found is likelier than all others can be; else a bound."""
    total = branch.logprob + last
    return min(total, 0.0) if exp(total) >= branch.beside else Below(min(log(exp(total) + branch.beside), 0.0))


def _branch(branch: Branch, token: TokenLogprob, bound: Below, *, loose_space: bool = False) -> Branch | None:
    """The branch with one more token; None if the token ends inside a character, which no prompt can show.

    `bound` is on what is left of the form as a whole, this token's way included.
    """
    try:
        written = token.written.decode()
    except UnicodeDecodeError:
        return None
    written = written.lstrip() if loose_space else written
    logprob = logprob_of(token)
    if logprob is None:
        return None
    rest = branch.rest.removeprefix(written)
    others = exp(branch.logprob) * max(exp(bound.logprob) - exp(logprob), 0.0)
    beside = branch.beside + others
    return Branch(branch.at, branch.form, branch.prefix + written, rest, branch.logprob + logprob, beside)
