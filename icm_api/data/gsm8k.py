"""GSM8K-verification: is this worked solution to this question right? From files with candidate solutions.

It does: read the official example solutions (`example_model_solutions.jsonl`: under the name of each model an object
with its `solution` and the grade `is_correct`) and questions with a list of `solutions`, as `icm-api generate` writes
them; find the final answer of each; read gold by a function of its own.
It does not: make solutions, or show a model anything that says which are right.

What an example is made of, and why:

- Names of models are left out, as some models are right more often than others. A candidate's id is the question's
  and a hash of its text, and candidates are in the order of the hashes: that says nothing of who wrote them, and
  stays the same when candidates are added.
- Candidates with the same text are one example: it could only agree with itself.
- Calculator marks (<<16-3=13>>) are taken out: they are the official data's own notes for a calculator, which no other
  solution has. Thoughts, and what a model wrote after a next "Question:" or turn, are no part of its solution and are
  left out too. A candidate of which nothing is left is no example; a warning says how many.
- A candidate without a final answer (cut off, or several numbers) is kept without `answer`: no relation about answers
  touches it, and dropping it would change what is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from icm_api.data.answers import final_answer, without_calculator
from icm_api.data.left_out import Note, unsaid
from icm_api.data.own_text import own_part, without_thoughts
from icm_api.data.rows import Row, kind
from icm_api.types import Example, Label

QUESTION, SOLUTIONS, SOLUTION, GRADE = "question", "solutions", "solution", "is_correct"
TRUTHS = ("answer", "ground_truth")
"""The keys of the official worked solution: GSM8K's own, and that of the example solutions."""
RIGHT, WRONG = "True", "False"

_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A solution as it is shown, and its grade, for gold alone."""

    id: str
    text: str
    answer: str | None
    grade: bool | None


@dataclass(frozen=True, slots=True)
class _Candidates:
    """A row's distinct solutions, in the order of their hashes, and how many more have nothing to show."""

    shown: tuple[_Candidate, ...]
    blank: int


def gsm8k_examples(rows: Iterable[Row], note: Note = unsaid) -> Iterator[Example]:
    """The unlabelled examples: a question with one candidate solution each, grouped by question.

    Args:
        rows: with `question`, and candidates under `solutions` or under each model's name; grades and the official
            solution are not looked at.
        note: gets the rows of which candidates are left out, and how many.

    Yields:
        Examples with the fields `question` and `solution`, the row's id as `group`, and as `answer` the final
        answer, if the solution states one. A row with an empty list of solutions gives no example.

    Raises:
        DataError: a row is bad (which row, and why).
    """
    for row in rows:
        question, candidates = row.text(QUESTION), _candidates(row)
        if candidates.blank:
            note(row, candidates.blank, "candidates that are nothing but thoughts or further questions")
        for candidate in candidates.shown:
            fields = {QUESTION: question, SOLUTION: candidate.text}
            yield Example(candidate.id, fields, group=row.id, answer=candidate.answer)


def gsm8k_gold(rows: Iterable[Row]) -> Iterator[tuple[str, Label]]:
    """The gold labels of the examples that `gsm8k_examples` makes of the same rows, in the same order.

    Args:
        rows: as for the examples, with grades or an official solution (under `answer` or `ground_truth`).

    Yields:
        The id of an example, and "True" if the row's grades say so, else "False". In rows without grades it is "True"
        if the final answer equals that of the official solution: a solution without a final answer is "False".

    Raises:
        DataError: a row is bad, has grades for some candidates only, or has neither grades nor an official solution
            with a final answer.
    """
    for row in rows:
        candidates = _candidates(row).shown
        graded = [candidate.grade is not None for candidate in candidates]
        if any(graded) and not all(graded):
            raise row.error(f"{GRADE!r} is given for {sum(graded)} of {len(graded)} candidates; grade all, or none")
        truth = None if all(graded) else _truth(row)
        for candidate in candidates:
            right = candidate.answer == truth if candidate.grade is None else candidate.grade
            yield candidate.id, RIGHT if right else WRONG


def _candidates(row: Row) -> _Candidates:
    found: dict[str, _Candidate] = {}
    blank = 0
    for where, text, grade in _written(row):
        shown = own_part(without_thoughts(without_calculator(text))).strip()
        if not shown:
            blank += 1
            continue
        key = sha256(shown.encode()).hexdigest()[:_ID_DIGITS]
        known = found.get(key)
        if known is not None and known.grade is not grade:
            raise row.error(f"{where} has the same text as another solution, and another {GRADE!r}; correct the grades")
        found[key] = _Candidate(f"{row.id}-{key}", shown, final_answer(text), grade)
    return _Candidates(tuple(found[key] for key in sorted(found)), blank)


def _written(row: Row) -> Iterator[tuple[str, str, bool | None]]:
    """The place of each candidate, its text, and its grade or None."""
    named = {
        key: value
        for key, value in row.values.items()
        if isinstance(value, Mapping) and (SOLUTION in value or GRADE in value)
    }
    listed = row.values.get(SOLUTIONS)
    if named and listed is not None:
        raise row.error(f"candidates both under {SOLUTIONS!r} and under {list(named)}; keep one of the two")
    if listed is None:
        if not named:
            raise row.error(
                f"no candidate solutions: neither a list under {SOLUTIONS!r} nor objects with {SOLUTION!r}; make some "
                "with `icm-api generate`"
            )
        yield from (_solution(row, repr(key), value) for key, value in named.items())
        return
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise row.error(f"{SOLUTIONS!r} is {kind(listed)}; it must be a list")
    for at, value in enumerate(listed):
        yield _solution(row, f"{SOLUTIONS}[{at}]", value)


def _solution(row: Row, where: str, value: object) -> tuple[str, str, bool | None]:
    if not isinstance(value, str | Mapping):
        raise row.error(f"{where} is {kind(value)}; it must be a text, or an object with {SOLUTION!r}")
    given = {SOLUTION: value} if isinstance(value, str) else value
    text, grade = given.get(SOLUTION), given.get(GRADE)
    if not isinstance(text, str) or not text.strip():
        raise row.error(f"{where} has no text under {SOLUTION!r}; fill it, or leave the candidate out")
    if grade is not None and not isinstance(grade, bool):
        raise row.error(f"{where}: {GRADE!r} is {kind(grade)}; it must be true or false")
    return where, text, grade


def _truth(row: Row) -> str:
    key = next((key for key in TRUTHS if row.values.get(key) is not None), None)
    if key is None:
        raise row.error(f"no gold: neither {GRADE!r} nor an official solution under {' or '.join(map(repr, TRUTHS))}")
    written = row.values[key]
    # Some copies hold the bare number.
    answer = final_answer(str(written)) if isinstance(written, str | int | float) else None
    if answer is None:
        raise row.error(f"the official solution under {key!r} states no final answer, as '#### 18' would")
    return answer
