"""GSM8K-verification: the official formats and generated candidates become examples; gold is read apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from icm_api.data.gsm8k import gsm8k_examples, gsm8k_gold
from icm_api.data.left_out import LeftOut
from icm_api.data.readers import read_rows
from icm_api.data.rows import Row
from icm_api.errors import DataError

DATA = Path(__file__).parents[1] / "data"
OFFICIAL, GRADED, GENERATED = (DATA / f"gsm8k_{name}.jsonl" for name in ("official", "example_solutions", "generated"))


def row(**values: object) -> Row:
    return Row("some.jsonl", 3, "q", {"question": "How many?", **values})


def graded_rows() -> list[Row]:
    return list(read_rows(GRADED))


def test_every_model_solution_becomes_an_example_of_its_question() -> None:
    examples = list(gsm8k_examples(graded_rows()))
    raw = [json.loads(line) for line in GRADED.read_text(encoding="utf-8").splitlines()]
    assert [example.group for example in examples] == ["1"] * 4 + ["2"] * 4 + ["3"] * 4
    for example in examples:
        source = raw[int(example.group or 0) - 1]
        assert dict(example.fields).keys() == {"question", "solution"}
        assert example.fields["question"] == source["question"]
        # The oracle is the file's own last line.
        stated = {v["solution"].rpartition("\nA: ")[2] for v in source.values() if isinstance(v, dict)}
        assert example.answer in {answer.replace(",", "") for answer in stated}
        assert "<<" not in example.fields["solution"]


def test_gold_is_the_grade_and_stands_in_the_order_of_the_examples() -> None:
    examples, gold = list(gsm8k_examples(graded_rows())), dict(gsm8k_gold(graded_rows()))
    assert list(gold) == [example.id for example in examples]
    for one in graded_rows():
        grades = sorted(str(v["is_correct"]) for v in one.values.values() if isinstance(v, Mapping))
        assert sorted(gold[e.id] for e in examples if e.group == one.id) == grades


def test_grades_and_names_of_models_reach_no_example() -> None:
    plain = list(gsm8k_examples(graded_rows()))
    changed = []
    for one in graded_rows():
        values: dict[str, object] = {"question": one.values["question"], "ground_truth": "none"}
        models = [v for v in one.values.values() if isinstance(v, Mapping)]
        values |= {f"other{at}": {**v, "is_correct": at == 0} for at, v in enumerate(reversed(models))}
        changed.append(one._replace(values=values))
    assert list(gsm8k_examples(changed)) == plain
    assert not any("finetuning" in repr(example) or "verification" in repr(example) for example in plain)


def test_an_id_stays_when_candidates_are_added() -> None:
    few = {example.id for example in gsm8k_examples([row(solutions=["#### 1", "#### 2"])])}
    more = {example.id for example in gsm8k_examples([row(solutions=["#### 3", "#### 2", "#### 1", "#### 4"])])}
    assert few < more


def test_generated_candidates_of_any_style_have_their_answers() -> None:
    examples = list(gsm8k_examples(read_rows(GENERATED)))
    answers = {group: sorted(str(e.answer) for e in examples if e.group == group) for group in ("crates", "savings")}
    # The two equal solutions to "savings" are one example; a cut-off one and one that states nothing have no answer.
    assert answers == {"crates": ["103", "113", "113", "None"], "savings": ["125", "1250", "None"]}
    assert not any("6 eggs" in example.fields["solution"] for example in examples)


def test_without_grades_gold_is_the_official_answer() -> None:
    gold = dict(gsm8k_gold(read_rows(GENERATED)))
    for example in gsm8k_examples(read_rows(GENERATED)):
        right = {"crates": "113", "savings": "1250"}[str(example.group)]
        assert gold.pop(example.id) == str(example.answer == right)
    assert gold == {}


def test_official_questions_with_solutions_added_can_be_read() -> None:
    answers = {"1": "113", "2": "1250", "3": "-3"}
    rows = [one._replace(values={**one.values, "solutions": [one.values["answer"]]}) for one in read_rows(OFFICIAL)]
    assert {str(e.group): e.answer for e in gsm8k_examples(rows)} == answers
    assert {label for _, label in gsm8k_gold(rows)} == {"True"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {},
            "no candidate solutions: neither a list under 'solutions' nor objects with 'solution'; make some with "
            "`icm-api generate`",
        ),
        ({"solutions": "#### 1"}, "'solutions' is a string; it must be a list"),
        ({"solutions": [3]}, "solutions[0] is a number; it must be a text, or an object with 'solution'"),
        (
            {"solutions": ["#### 1", " "]},
            "solutions[1] has no text under 'solution'; fill it, or leave the candidate out",
        ),
        ({"small": {"is_correct": True}}, "'small' has no text under 'solution'; fill it, or leave the candidate out"),
        (
            {"small": {"solution": "#### 1", "is_correct": "yes"}},
            "'small': 'is_correct' is a string; it must be true or false",
        ),
        (
            {"small": {"solution": "#### 1"}, "solutions": ["#### 1"]},
            "candidates both under 'solutions' and under ['small']; keep one of the two",
        ),
        (
            {"a": {"solution": "#### 1", "is_correct": True}, "b": {"solution": "#### 1", "is_correct": False}},
            "'b' has the same text as another solution, and another 'is_correct'; correct the grades",
        ),
    ],
)
def test_a_bad_row_is_named_with_what_is_wrong(values: dict[str, object], message: str) -> None:
    for read in (gsm8k_examples, gsm8k_gold):
        with pytest.raises(DataError) as caught:
            list(read([row(**values)]))
        assert str(caught.value) == f"some.jsonl:3: {message}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"a": {"solution": "#### 1", "is_correct": True}, "b": {"solution": "#### 2"}},
            "'is_correct' is given for 1 of 2 candidates; grade all, or none",
        ),
        (
            {"solutions": ["#### 1"]},
            "no gold: neither 'is_correct' nor an official solution under 'answer' or 'ground_truth'",
        ),
        (
            {"solutions": ["#### 1"], "answer": "It depends."},
            "the official solution under 'answer' states no final answer, as '#### 18' would",
        ),
    ],
)
def test_a_row_without_gold_is_an_error_of_gold_alone(values: dict[str, object], message: str) -> None:
    assert list(gsm8k_examples([row(**values)]))
    with pytest.raises(DataError) as caught:
        list(gsm8k_gold([row(**values)]))
    assert str(caught.value) == f"some.jsonl:3: {message}"


def test_thoughts_and_further_turns_are_not_shown_and_what_is_nothing_else_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    written = [
        "<think>20?</think>\n\n#### 26",
        "3 + 4 = 7<|im_end|>\n<|im_start|>user\nAnd?",
        "<think>Or is",
        "<<1+1=2>>",
    ]
    values = row(solutions=written, answer="#### 26")
    left_out = LeftOut()
    found = {example.fields["solution"]: example.answer for example in gsm8k_examples([values], left_out.note)}
    left_out.say()
    assert found == {"#### 26": "26", "3 + 4 = 7": "7"}
    assert sorted(label for _, label in gsm8k_gold([values])) == ["False", "True"]
    assert caplog.messages == [
        "left out 2 candidates that are nothing but thoughts or further questions; the first: line 3 of some.jsonl"
    ]


def test_a_missing_question_is_an_error() -> None:
    with pytest.raises(DataError, match=r"some.jsonl:3: 'question' is missing"):
        list(gsm8k_examples([Row("some.jsonl", 3, "q", {"solutions": ["#### 1"]})]))
