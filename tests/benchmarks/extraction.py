"""Final answers against labels that a person read off 300 model solutions: how many are right, and which are not.

The labels were written before the extractor saw the solutions; `tests/data/gsm8k_README.md` says how they were drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from icm_api.data.answers import final_answer

SAMPLE = Path(__file__).parents[1] / "data" / "gsm8k_final_answers.jsonl"


def misses() -> list[str]:
    """A line for each solution whose answer is read otherwise than by the person."""
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    return [
        f"{row['where']}: states {row['answer']}, read as {found}: ...{row['solution'][-80:]!r}"
        for row in rows
        if (found := final_answer(row["solution"])) != row["answer"]
    ]


def report() -> Iterator[str]:
    """The figures, a line each, and then the misses."""
    wrong = misses()
    total = len(SAMPLE.read_text(encoding="utf-8").splitlines())
    yield f"final answers of {total} solutions, each labelled by reading it: {total - len(wrong)} read alike"
    yield from (f"  {line}" for line in wrong)
