"""TruthfulQA (Lin, Hilton, Evans 2021, arXiv 2109.07958): claims about a question, or pairs of them.

Rows are those of the official CSV file, whose lists of answers are separated by semicolons, or of the hub's data set
`truthful_qa` in either configuration ("generation", "multiple_choice"). No constraint belongs to the claims: that two
different answers to a question cannot both be true is false for 747 of the file's 817 questions. A key taken from the
gold labels would make it true, and give them away.

An answer that the file lists as true and as false (2 of 5,882, both "Unknown") is an example like any
other, and has no gold label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from icm_api.data.pairs import Pair, both_labels, both_orders, ordered, ranked
from icm_api.data.rows import Row, kind
from icm_api.types import Example, Label

_CSV = (("Best Answer", "Correct Answers"), ("Best Incorrect Answer", "Incorrect Answers"))
_GENERATION = (("best_answer", "correct_answers"), ("", "incorrect_answers"))


@dataclass(frozen=True, slots=True)
class _Question:
    """One row. The order of the two lists means nothing."""

    row: Row
    text: str
    correct: tuple[str, ...]
    incorrect: tuple[str, ...]

    @property
    def claims(self) -> dict[str, str]:
        """Every answer, once, by its id: numbered in an order that says nothing of which are true."""
        answers = ranked("order of answers", (*self.correct, *self.incorrect), self.text)
        return {f"{self.row.id}-{at}": answer for at, answer in enumerate(answers, start=1)}


def truthfulqa_examples(rows: Iterable[Row]) -> Iterator[Example]:
    """A claim for each answer to each question.

    The best answer and repeated answers count once. Ids and order are functions of the answers alone, not of which
    answers are true.

    Args:
        rows: of the official file, or of the hub's data set.

    Yields:
        Examples with the fields "question" and "answer", and the question as group.

    Raises:
        DataError: a row lacks a question, or true or false answers, or is of no known format.
    """
    for question in map(_question, rows):
        for example_id, answer in question.claims.items():
            texts = MappingProxyType({"question": question.text, "answer": answer})
            yield Example(example_id, texts, group=question.text, answer=answer)


def truthfulqa_gold(rows: Iterable[Row]) -> Iterator[tuple[str, Label]]:
    """The gold labels of the claims of `truthfulqa_examples`, apart from claims that the file lists as true and false.

    Args:
        rows: as for the examples.

    Yields:
        The id of a claim, and "True" or "False".

    Raises:
        DataError: as for the examples.
    """
    for question in map(_question, rows):
        for example_id, answer in question.claims.items():
            true, false = answer in question.correct, answer in question.incorrect
            if true != false:
                yield example_id, "True" if true else "False"


def truthfulqa_pair_examples(rows: Iterable[Row]) -> Iterator[Example]:
    """Pairs of a true and a false answer to a question, each in both orders.

    Gold labels choose what is paired, as they do in every data set of preferences: that one of the two answers is
    better is given, and which of them is hidden. A search on these pairs therefore knows more than a search on claims,
    and the two should not be compared. Each answer is in one pair at most, so that how often it occurs says nothing:
    the true and the false answers, each in an order by hash, are paired until the fewer run out.

    Args:
        rows: as for the claims.

    Yields:
        Examples with the fields "question", "first" and "second".

    Raises:
        DataError: as for the claims.
    """
    for question in map(_question, rows):
        for pair, _ in _pairs(question):
            yield from both_orders(pair)


def truthfulqa_pair_gold(rows: Iterable[Row]) -> Iterator[tuple[str, Label]]:
    """The gold labels of the examples that `truthfulqa_pair_examples` makes of the same rows.

    Args:
        rows: as for the claims.

    Yields:
        The id of an example, and "A" if its first answer is the true one, else "B".

    Raises:
        DataError: as for the examples.
    """
    for question in map(_question, rows):
        for pair, true in _pairs(question):
            yield from both_labels(pair, true)


def _pairs(question: _Question) -> Iterator[tuple[Pair, str]]:
    """The pairs of a question, each with its true answer."""
    sides = (question.correct, question.incorrect)
    true, false = (
        ranked("order in pairs", (each for each in side if each not in other), question.text)
        for side, other in (sides, sides[::-1])
    )
    # Each side is in an order by hash, so the pairs are numbered by one of their answers, whichever it is.
    found = {ordered(one, other, question.text): one for one, other in zip(true, false, strict=False)}
    shown = MappingProxyType({"question": question.text})
    for at, texts in enumerate(sorted(found), start=1):
        yield Pair(f"{question.row.id}-{at}", question.text, shown, texts), found[texts]


def _question(row: Row) -> _Question:
    values = row.values
    if "Question" in values:
        correct, incorrect = (_listed(row, best, _cut(row, rest)) for best, rest in _CSV)
        return _checked(row, row.text("Question"), correct, incorrect)
    if "correct_answers" in values:
        correct, incorrect = (_listed(row, best, row.texts(rest)) for best, rest in _GENERATION)
        return _checked(row, row.text("question"), correct, incorrect)
    for key in ("mc2_targets", "mc1_targets"):
        if key in values:
            correct, incorrect = _choices(row, key)
            return _checked(row, row.text("question"), correct, incorrect)
    raise row.error(
        "no TruthfulQA row: neither the columns of the official file (Question, Best Answer, Correct Answers, "
        f"Incorrect Answers) nor those of the hub's truthful_qa; the {row.unit} has the keys {list(values)}"
    )


def _cut(row: Row, key: str) -> tuple[str, ...]:
    return tuple(answer for part in row.text(key).split(";") if (answer := part.strip()))


def _listed(row: Row, best: str, rest: tuple[str, ...]) -> tuple[str, ...]:
    return (row.text(best), *rest) if best in row.values else rest


def _choices(row: Row, key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    targets = row.values[key]
    if not isinstance(targets, dict) or not {"choices", "labels"} <= targets.keys():
        raise row.error(f"{key!r} is {kind(targets)}; it must be an object with 'choices' and 'labels'")
    choices, labels = targets["choices"], targets["labels"]
    if not isinstance(choices, list) or not isinstance(labels, list) or len(choices) != len(labels):
        raise row.error(f"{key!r}: 'choices' and 'labels' must be lists of one length")
    for label in labels:
        if label not in (0, 1):
            raise row.error(f"{key!r}: label {label!r} is neither 0 nor 1")
    texts = [row.as_text(f"{key}.choices[{at}]", choice) for at, choice in enumerate(choices)]
    sides = {side: tuple(text for text, label in zip(texts, labels, strict=True) if label == side) for side in (0, 1)}
    return sides[1], sides[0]


def _checked(row: Row, text: str, correct: tuple[str, ...], incorrect: tuple[str, ...]) -> _Question:
    for name, side in (("correct", correct), ("incorrect", incorrect)):
        if not side:
            raise row.error(f"no {name} answer; a question needs one of each at least")
    return _Question(row, text, correct, incorrect)
