"""What a probe, and the check before a run, ask in place of the user's questions: which of two numbers is larger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from icm_api.types import Prompt, Turn, Verbalizer

NO_LABEL = 0.01
"""With demonstrations as plain as these, a model that gives the labels less writes something else."""
_CLAIMS = ((9, 2), (3, 8), (51, 7), (16, 40))
_QUERY = (64, 35)


def short_prompt(verbalizer: Verbalizer) -> Prompt:
    r"""Four demonstrations and a query that everybody can answer. The first label stands for what is right.

    Example:
        >>> short_prompt(Verbalizer.plain(["True", "False"])).text
        '9 > 2 True\n3 > 8 False\n51 > 7 True\n16 > 40 False\n64 > 35'
    """
    turns = tuple(_turn(verbalizer, left, right) for left, right in _CLAIMS)
    return Prompt("", turns, f"{_QUERY[0]} > {_QUERY[1]}", verbalizer, "\n")


def long_prompt(verbalizer: Verbalizer, count_tokens: Callable[[str], int], tokens: int) -> Prompt:
    """As many such demonstrations as fit so many tokens, before the same query.

    Args:
        verbalizer: the labels.
        count_tokens: of a text.
        tokens: the most that the prompt may have.
    """
    short = short_prompt(verbalizer)
    turns: list[Turn] = []
    room = tokens - count_tokens(short.query)
    for at in count():
        turn = _turn(verbalizer, 100 + 37 * at % 900, 100 + 53 * at % 900 + 1)
        room -= count_tokens(turn.text + turn.answer + short.separator)
        if room < 0:
            break
        turns.append(turn)
    return replace(short, turns=tuple(turns))


def _turn(verbalizer: Verbalizer, left: int, right: int) -> Turn:
    return Turn(f"{left} > {right}", verbalizer.written(verbalizer.labels[0 if left > right else 1]))
