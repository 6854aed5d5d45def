"""What judging a run may still ask for: by default a tenth of what its search asked for, in requests and in tokens.

What does not fit is left out, the cheapest and most telling measures first. It costs nothing to look at what the search
has asked for already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf

from icm_api.types import Score, Tally, Usage


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may still be asked for.

    Attributes:
        most: requests and prompt tokens, all told; None for no limit.
        one: what it takes to score one labeling of all examples.
        size: n, the examples.
        tally: what judging has asked for by now.
    """

    most: Usage | None
    one: Usage
    size: int
    tally: Tally

    @classmethod
    def of(cls, searched: Usage | None, share: float, score: Score, tally: Tally) -> Allowance:
        """A share of what a search asked for.

        Args:
            searched: what the search asked for; None for no limit.
            share: that judging may take.
            score: of one labeling, with its usage.
            tally: of judging.
        """
        size = len(score.labeling)
        one = score.usage if score.usage.requests else Usage(size)
        if searched is None:
            return cls(None, one, size, tally)
        return cls(Usage(int(share * searched.requests), int(share * searched.prompt_tokens)), one, size, tally)

    def beside(self, spent: Usage) -> Allowance:
        """The same share, of which what was spent by now is no part.

        Args:
            spent: requests and prompt tokens.
        """
        return self if self.most is None else replace(self, most=self.most + spent)

    @property
    def scores(self) -> float:
        """How many more labelings of all examples may be scored; infinite if there is no limit."""
        left = self._left()
        if left is None:
            return inf
        by_tokens = left.prompt_tokens / self.one.prompt_tokens if self.one.prompt_tokens else inf
        return max(0.0, min(left.requests / self.one.requests, by_tokens))

    def at_most(self, wanted: int) -> int:
        """How many of the labelings that one would like to score may be.

        Args:
            wanted: labelings.

        Example:
            >>> Allowance(Usage(25, 1000), Usage(10, 100), 10, Tally()).at_most(4)
            2
        """
        return int(min(wanted, self.scores))

    def examples(self, scores: int, longer: float = 1.0) -> int:
        """How many examples may be searched with so many scores of them.

        Args:
            scores: of one labeling each.
            longer: how many times the tokens of the data set's own texts theirs take.

        Example:
            >>> Allowance(Usage(25, 1000), Usage(10, 100), 10, Tally()).examples(5)
            5
            >>> Allowance(Usage(25, 1000), Usage(2, 100), 10, Tally()).examples(5)  # an ordering in one request
            10
        """
        left = self._left()
        if left is None:
            return self.size
        each, tokens = ceil(self.one.requests / self.size), longer * self.one.prompt_tokens / self.size
        whole = self.one.requests < self.size and self.one.requests * scores <= left.requests
        by_requests = self.size if whole else left.requests // (scores * each)
        return max(0, int(min(self.size, by_requests, left.prompt_tokens / (scores * tokens) if tokens else inf)))

    def _left(self) -> Usage | None:
        if self.most is None:
            return None
        spent = self.tally.usage
        return Usage(self.most.requests - spent.requests, self.most.prompt_tokens - spent.prompt_tokens)
