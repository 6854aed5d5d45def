"""Examples that a run sets aside: they are too long, or the model refuses them, or gives no answer that can be read.

It finds out which examples an error is of, holds them to what is tolerated, leaves them out, and keeps a list of them.
It does not search, or decide when to ask again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path

from icm_api.errors import GaveUpError, IcmError, PromptError, ProviderError, RunError
from icm_api.files import write_whole
from icm_api.journal import encode_line
from icm_api.objective import Objective
from icm_api.runs.folder import ASIDE_FILE
from icm_api.search import Start
from icm_api.types import Dataset, Tally


def allowed(tolerate: int | float, examples: int) -> int:
    """The most examples that may be set aside.

    Args:
        tolerate: a count, or a share in [0, 1] if it is a float, rounded up.
        examples: of the data set.

    Example:
        >>> allowed(5, 6), allowed(0.05, 6), allowed(0.05, 1000), allowed(0, 1000)
        (5, 1, 50, 0)
    """
    return ceil(tolerate * examples) if isinstance(tolerate, float) else tolerate


@dataclass(frozen=True, slots=True)
class Aside:
    """What was set aside so far.

    Attributes:
        reasons: by id, why.
        most: the most examples that may be.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    most: int = 0

    def with_more(self, error: IcmError, found: Mapping[str, str]) -> Aside:
        """As much as before, and the examples that an error was found to be of.

        Args:
            error: raised again if it is of no example, or of too many.
            found: by id, why it got no answer.

        Raises:
            PromptError, ProviderError: the error, with the examples and what to do.
        """
        reasons = {**self.reasons, **found}
        if not found:
            raise error
        if len(reasons) > self.most:
            named = ", ".join(map(repr, list(reasons)[:5])) + (", ..." if len(reasons) > 5 else "")
            told = f"example{'s' if len(reasons) > 1 else ''} {named}"
            limit = f"run.tolerate allows {self.most} to be set aside" if self.most else "run.tolerate allows none"
            first = next(iter(found.values()))
            message = f"{told}: {first}; {limit}: mend or remove what is named, or raise run.tolerate"
            if isinstance(error, GaveUpError):
                raise GaveUpError(message, kind=error.kind, status=error.status)
            kind = PromptError if isinstance(error, PromptError) else ProviderError
            raise kind(message)
        return replace(self, reasons=reasons)

    async def blaming(self, error: ProviderError, objective: Objective) -> Aside:
        """As much as before, and the examples that an error of the model is found to be of, by asking each alone.

        Args:
            error: raised again if it is of no example, or of too many.
            objective: asks about any of them.

        Raises:
            ProviderError: the error, with the examples and what to do.
        """
        return self.with_more(error, await guilty(error, objective, self.most - len(self.reasons)))

    def since(self, before: Aside) -> dict[str, str]:
        """What is set aside beyond an earlier state, by id, and why.

        Args:
            before: the earlier state.
        """
        return {key: why for key, why in self.reasons.items() if key not in before.reasons}

    def without(self, objective: Objective, start: Start) -> tuple[Objective, Start]:
        """What is left to search: neither these examples nor a relation that names one, and nothing asked yet.

        Args:
            objective: over all examples.
            start: labels known beforehand.

        Raises:
            RunError: no example is left.
        """
        if not self.reasons:
            return objective, start
        rest = [example for example in objective.dataset if example.id not in self.reasons]
        if not rest:
            raise RunError("all examples are set aside: there is nothing to label; see why, and run again")
        dataset = Dataset(rest)
        relations = objective.relations.among(dataset.ids)
        left = replace(objective, dataset=dataset, relations=relations, tally=Tally())
        return left, Start(start.fixed.without(self.reasons), start.warm.without(self.reasons))

    async def asked_again(self, objective: Objective, anew: Callable[[Aside], None]) -> Aside:
        """Without the examples that the model answers now. Those that no prompt can hold are not asked about.

        Args:
            objective: over all examples.
            anew: called with what is left, if there are any.

        Raises:
            ProviderError: the endpoint cannot be used.
        """
        render = objective.prompts.template.render
        texts = {example.id: render(example) for example in objective.dataset if example.id in self.reasons}
        hopeless = too_long(objective)
        still = await alone((text for key, text in texts.items() if key not in hopeless), objective, len(texts))
        left = {key: reason for key, reason in self.reasons.items() if key in hopeless or texts.get(key) in still}
        if len(left) == len(self.reasons):
            return self
        fewer = replace(self, reasons=left)
        anew(fewer)
        return fewer

    def save(self, folder: Path) -> None:
        """Write the list, or remove it if it is empty.

        Raises:
            StorageError: the folder cannot be written.
        """
        if self.reasons:
            rows = ({"id": key, "reason": self.reasons[key]} for key in sorted(self.reasons))
            write_whole(folder / ASIDE_FILE, b"".join(map(encode_line, rows)).decode())
        else:
            (folder / ASIDE_FILE).unlink(missing_ok=True)


def read_aside(folder: Path) -> dict[str, str]:
    """The examples that a run set aside, by id, and why; none if there is no list.

    Args:
        folder: of the run.

    Raises:
        RunError: a line is damaged.
    """
    path = folder / ASIDE_FILE
    if not path.exists():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(row["id"]): str(row["reason"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: damaged: {error!r}; remove it to ask about all examples again") from error


def too_long(objective: Objective) -> dict[str, str]:
    """The examples that no prompt can hold, by id, and why.

    Args:
        objective: gives the examples, and the prompts.

    Raises:
        PromptError: an example cannot be rendered.
    """
    told = ((example.id, objective.prompts.too_long(example)) for example in objective.dataset)
    return {key: reason for key, reason in told if reason}


async def guilty(error: ProviderError, objective: Objective, most: int) -> dict[str, str]:
    """Which examples an error is of, by id, and why.

    A question can be refused for the sake of a demonstration. So each text of a question that failed is asked about by
    itself; if all are answered then, it is the one that was asked about. Whatever is merely a bad request after
    demonstrations, e.g. one that is too long, is no example's fault.

    Args:
        error: of some questions; none is guilty if it names none.
        objective: gives the prompts, and whom to ask.
        most: more than so many need not be found; with 0 nothing is asked.

    Raises:
        ProviderError: a text failed for a reason that is not its own.
    """
    failed = error.unanswered
    found = {each.query: each.reason for each in failed if not each.shown}
    if not found and most:
        texts = dict.fromkeys(text for each in failed for text in (each.query, *each.shown))
        found = await alone(texts, objective, most)
    if not found:
        found = {each.query: each.reason for each in failed if each.refused}
    return _by_id(found, objective)


async def alone(texts: Iterable[str], objective: Objective, most: int) -> dict[str, str]:
    """Ask about each text with no demonstration; returns those that get no answer, and why.

    Args:
        texts: of examples, as the template shows them.
        objective: gives the prompts, and whom to ask; what that costs is not counted in its tally.
        most: stop once more than so many got none.

    Raises:
        ProviderError: a text failed for a reason that is not its own.
    """
    wanted, render = set(texts), objective.prompts.template.render
    prompts = [objective.prompts.prompt(each, ()) for each in objective.dataset if render(each) in wanted]
    asked = {prompt.query: prompt for prompt in prompts}
    failed: dict[str, str] = {}
    while asked and len(failed) <= most:
        try:
            await objective.model.label_distributions(list(asked.values()))
            break
        except ProviderError as error:
            more = {each.query: each.reason for each in error.unanswered if each.query in asked}
            if not more:
                raise
            failed |= more
            asked = {text: prompt for text, prompt in asked.items() if text not in more}
    return failed


def _by_id(found: Mapping[str, str], objective: Objective) -> dict[str, str]:
    render = objective.prompts.template.render
    rendered = ((example.id, render(example)) for example in objective.dataset) if found else ()
    return {key: found[text] for key, text in rendered if text in found}
