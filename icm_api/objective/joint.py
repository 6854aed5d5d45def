"""The joint estimator: all labels of an ordering in one request, by the chain rule.

log p(y_1 .. y_n) = sum over i of log p(y_i | x_i, what stands before it). A model that gives logprobs of its prompts
answers all n terms at once, so that an ordering costs n demonstrations where leave-one-out shows n*n. In one ordering
the first examples see next to nothing of the others. So every ordering is asked together with its reverse: an example
that is t-th from the beginning in one is t-th from the end in the other, and between them it sees every other example
once. log p(y_i) is the mean of both; what an example's label may be is read in the direction in which it sees more of
the others, at least half of them if all fit into one request. Labels are scored in the order of the data set, which a
search changes from round to round.

If not all examples fit into the context window, an ordering is cut into as few stretches of about equal length as do,
each a request of its own.

This file neither sums nor weighs the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from operator import itemgetter
from statistics import fmean, stdev

from icm_api.errors import CapabilityError
from icm_api.objective.estimator import Estimate, Lengths
from icm_api.prompts import PromptBuilder
from icm_api.types import Dataset, LabelDistribution, Labeling, Model, ReadsInside, Usage


@dataclass(frozen=True, slots=True)
class Joint:
    """Every label given those before it, in an ordering and in its reverse."""

    name = "joint"
    gives_distributions = True
    orders = 2

    async def estimate(self, labeling: Labeling, dataset: Dataset, prompts: PromptBuilder, model: Model) -> Estimate:
        """Two requests, each with every labelled example once, if that fits into the context window.

        Args:
            labeling: complete or partial.
            dataset: holds its examples, and gives the ordering.
            prompts: turns examples into prompts.
            model: whom to ask; it must give logprobs of its prompts.

        Returns:
            Per labelled example, the mean over both directions of log p(y_i | x_i, those before), and the distribution
            over all labels after the more of the others. The standard error is that of two directions.

        Raises:
            CapabilityError: the model gives no logprobs of prompts.
            ProviderError: the model gave no usable logprobs.
            PromptError: an example alone is longer than the context window.
        """
        if not isinstance(model, ReadsInside):
            raise CapabilityError(f'estimator = "{self.name}" needs a model that gives logprobs of its prompts')
        shown = [(dataset[at], labeling[dataset[at].id]) for at in sorted(map(dataset.position, labeling))]
        directions = [prompts.transcripts(shown), prompts.transcripts(shown[::-1])]
        answers = await model.read_inside([each for direction in directions for each in direction])
        reads = [(before, read) for transcript in answers for before, read in enumerate(transcript)]
        ids = [example.id for example, _ in shown]
        forth = dict(zip(ids, reads[: len(ids)], strict=True))
        back = dict(zip(reversed(ids), reads[len(ids) :], strict=True))
        both = [{key: read for key, (_, read) in way.items()} for way in (forth, back)]
        logprobs = {key: fmean(way[key].logprob(labeling[key]) for way in both) for key in ids}
        return Estimate(
            logprobs,
            self.name,
            {key: max(back[key], forth[key], key=itemgetter(0))[1] for key in ids},
            standard_error=_error(both, labeling),
            costs=answers.costs,
        )

    def requests(self, labelled: int, stretches: int) -> int:
        """A request for every stretch in both directions."""
        return 2 * min(labelled, stretches)

    def usage(self, lengths: Lengths) -> Usage:
        """Every labelled example once in both directions, in as few stretches as the context window makes of them.

        Args:
            lengths: of the labelled examples.

        Example:
            >>> Joint().usage(Lengths(5, (10,) * 8, (8,) * 8, 1000))
            Usage(requests=2, prompt_tokens=170, completion_tokens=0, cached_tokens=0)
        """
        whole = sum(lengths.shown)
        room = max(1, lengths.window - lengths.head)
        stretches = min(len(lengths.shown), -(-whole // room))
        return Usage(2 * stretches, 2 * (whole + stretches * lengths.head))


def _error(ways: Sequence[Mapping[str, LabelDistribution]], labeling: Labeling) -> float | None:
    """Of the mean log p over the orderings that were asked."""
    if not labeling:
        return None
    means = [fmean(read.logprob(labeling[key]) for key, read in way.items()) for way in ways]
    return stdev(means) / sqrt(len(means))
