"""TruthfulQA: which examples a row gives, and that ids, order and pairs say nothing of what is true."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import pytest

from icm_api.consistency import asymmetric, compile_relations
from icm_api.data import DataSource, load_examples, load_gold_labels, read_rows
from icm_api.data.rows import Row
from icm_api.data.truthfulqa import truthfulqa_examples, truthfulqa_gold, truthfulqa_pair_examples, truthfulqa_pair_gold
from icm_api.errors import DataError
from icm_api.types import Dataset

SAMPLE = Path(__file__).parents[1] / "data" / "truthfulqa.csv"


def row(**values: object) -> Row:
    return Row("T.csv", 7, "1", values)


def official(correct: str, incorrect: str, best: str) -> Row:
    return row(
        **{"Question": "Is it?", "Best Answer": best, "Correct Answers": correct, "Incorrect Answers": incorrect}
    )


def by_hand(path: Path) -> Iterator[tuple[str, set[str], set[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        for values in csv.DictReader(file):
            sides = [
                {part.strip() for part in values[key].split(";") if part.strip()}
                for key in ("Correct Answers", "Incorrect Answers")
            ]
            yield values["Question"], sides[0] | {values["Best Answer"].strip()}, sides[1]


def test_the_official_file_agrees_with_reading_it_by_hand() -> None:
    examples, gold = list(truthfulqa_examples(read_rows(SAMPLE))), dict(truthfulqa_gold(read_rows(SAMPLE)))
    found = {(e.fields["question"], e.fields["answer"]): gold.get(e.id) for e in examples}
    expected: dict[tuple[str, str], str | None] = {}
    for question, correct, incorrect in by_hand(SAMPLE):
        expected |= {(question, answer): "False" for answer in incorrect}
        expected |= {(question, answer): "True" for answer in correct}
        expected |= {(question, answer): None for answer in correct & incorrect}
    assert found == expected
    assert len(examples) == len(expected)
    assert Counter(value for value in expected.values())[None] == 2
    assert [e.group for e in examples] == [e.fields["question"] for e in examples]
    assert len({e.id for e in examples}) == len(examples)


def test_the_rows_of_the_hub_give_the_same_examples_and_labels() -> None:
    official_row = official("Yes; Sure; Yes", "No; Never", "Yes")
    generation = row(
        question="Is it?", best_answer="Yes", correct_answers=["Yes", "Sure"], incorrect_answers=["No", "Never"]
    )
    choices = {"choices": ["Yes", "Sure", "No", "Never"], "labels": [1, 1, 0, 0]}
    first = {"choices": ["Yes", "No"], "labels": [1, 0]}
    multiple = row(question="Is it?", mc1_targets=first, mc2_targets=choices)
    for examples, gold in (
        (truthfulqa_examples, truthfulqa_gold),
        (truthfulqa_pair_examples, truthfulqa_pair_gold),
    ):
        expected = list(examples([official_row])), dict(gold([official_row]))
        assert len(expected[0]) == 4
        for other in (generation, multiple):
            assert (list(examples([other])), dict(gold([other]))) == expected
    assert [e.fields["answer"] for e in truthfulqa_examples([row(question="Is it?", mc1_targets=first)])] in (
        ["Yes", "No"],
        ["No", "Yes"],
    )


def test_the_best_incorrect_answer_of_newer_files_counts_once() -> None:
    old = official("Yes", "No; Never", "Yes")
    new = Row(old.path, old.line, old.id, {**old.values, "Best Incorrect Answer": "No"})
    assert list(truthfulqa_examples([new])) == list(truthfulqa_examples([old]))


def test_which_answers_are_true_is_nowhere_in_the_examples() -> None:
    """Every way to call the answers true or false gives the same claims; swapping all, the same pairs."""
    answers = ["Yes", "No", "Maybe", "Never"]
    seen, golds = [], []
    for signs in product((True, False), repeat=4):
        if len(set(signs)) == 2:
            sides = [[a for a, sign in zip(answers, signs, strict=True) if sign == side] for side in (True, False)]
            split = official("; ".join(sides[0]), "; ".join(sides[1]), sides[0][-1])
            swapped = official("; ".join(sides[1]), "; ".join(sides[0]), sides[1][-1])
            seen.append(list(truthfulqa_examples([split])))
            golds.append(dict(truthfulqa_gold([split])))
            assert list(truthfulqa_pair_examples([split])) == list(truthfulqa_pair_examples([swapped]))
            other = dict(truthfulqa_pair_gold([swapped]))
            assert all(other[key] != label for key, label in truthfulqa_pair_gold([split]))
    assert all(examples == seen[0] for examples in seen)
    assert len({tuple(gold.items()) for gold in golds}) == 14


def many_rows(count: int) -> list[Row]:
    rng = random.Random(0)
    made = []
    for at in range(count):
        texts = [f"answer {rng.random()}" for _ in range(rng.randint(4, 8))]
        true = rng.randint(2, len(texts) - 2)
        values = {
            "question": f"question {at}?",
            "correct_answers": texts[:true],
            "incorrect_answers": texts[true:],
            "best_answer": texts[0],
        }
        made.append(Row("q", at + 1, str(at + 1), values, "row"))
    return made


def test_where_a_claim_stands_says_nothing_of_its_label() -> None:
    """Over 1,000 questions the share of true claims is the same at every place, within four standard errors."""
    rows = many_rows(1000)
    gold = dict(truthfulqa_gold(rows))
    share = sum(label == "True" for label in gold.values()) / len(gold)
    for place in range(1, 5):
        here = [label == "True" for key, label in gold.items() if key.endswith(f"-{place}")]
        error = (share * (1 - share) / len(here)) ** 0.5
        assert abs(sum(here) / len(here) - share) < 4 * error, place


def test_a_pair_comes_in_both_orders_and_neither_place_knows_the_label() -> None:
    rows = many_rows(1000)
    data, gold = Dataset(truthfulqa_pair_examples(rows)), dict(truthfulqa_pair_gold(rows))
    assert set(gold) == set(data.ids)
    one, other = ([gold[key] for key in data.ids if key.endswith(f"-{at}")] for at in (1, 2))
    assert [label != twin for label, twin in zip(one, other, strict=True)] == [True] * len(one)
    assert Counter(gold.values())["A"] * 2 == len(gold)
    assert abs(one.count("A") / len(one) - 0.5) < 2 / len(one) ** 0.5
    for first, second in zip(data[::2], data[1::2], strict=True):
        assert (first.fields["first"], first.fields["second"]) == (second.fields["second"], second.fields["first"])


def test_each_answer_stands_in_one_pair_and_the_pairs_are_as_many_as_the_fewer_answers() -> None:
    rows = many_rows(30)
    used: Mapping[str, Counter[str]] = {r.id: Counter() for r in rows}
    for example in list(truthfulqa_pair_examples(rows))[::2]:
        used[example.id.split("-")[0]].update((example.fields["first"], example.fields["second"]))
    for each in rows:
        sides = set(each.texts("correct_answers")), set(each.texts("incorrect_answers"))
        assert set(used[each.id].values()) == {1}
        assert len(used[each.id]) == 2 * min(map(len, sides))


def test_pairs_are_related_by_asymmetric() -> None:
    data = Dataset(truthfulqa_pair_examples(read_rows(SAMPLE)))
    relations = compile_relations(data, ("A", "B"), [asymmetric("A", total=True)])
    assert sorted(tuple(sorted(relation.ids)) for relation in relations) == [
        (one.id, other.id)
        for one, other in sorted(zip(data[::2], data[1::2], strict=True), key=lambda both: both[0].id)
    ]
    gold = dict(truthfulqa_pair_gold(read_rows(SAMPLE)))
    assert relations.broken(gold) == frozenset()


def test_an_answer_on_both_sides_is_a_claim_without_gold_and_in_no_pair() -> None:
    both = official("Yes; Unknown", "No; Unknown", "Yes")
    examples, gold = list(truthfulqa_examples([both])), dict(truthfulqa_gold([both]))
    assert len(examples) == 3
    assert {e.fields["answer"] for e in examples if e.id not in gold} == {"Unknown"}
    assert {e.fields["first"] for e in truthfulqa_pair_examples([both])} == {"Yes", "No"}
    alone = official("Unknown", "No; Unknown", "Unknown")
    assert list(truthfulqa_pair_examples([alone])) == []


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (
            {"question": "q", "label": 1},
            "no TruthfulQA row: neither the columns of the official file (Question, Best Answer, Correct Answers, "
            "Incorrect Answers) nor those of the hub's truthful_qa; the line has the keys ['question', 'label']",
        ),
        ({"Question": None}, "'Correct Answers' is missing; the line has the keys ['Question']"),
        (
            {"Question": None, "Best Answer": "a", "Correct Answers": "a", "Incorrect Answers": "b"},
            "'Question' is empty; it must be a text",
        ),
        (
            {"Question": "q", "Best Answer": None, "Correct Answers": "a", "Incorrect Answers": "b"},
            "'Best Answer' is empty; it must be a text",
        ),
        (
            {"Question": "q", "Best Answer": "a", "Correct Answers": "a", "Incorrect Answers": " ; "},
            "no incorrect answer; a question needs one of each at least",
        ),
        (
            {"Question": "q", "Best Answer": "a", "Correct Answers": 3, "Incorrect Answers": "b"},
            "'Correct Answers' is a number; it must be a text",
        ),
        (
            {"question": "q", "best_answer": "a", "correct_answers": "a", "incorrect_answers": ["b"]},
            "'correct_answers' is a string; it must be a list of texts",
        ),
        (
            {"question": "q", "best_answer": "a", "correct_answers": ["a", ""], "incorrect_answers": ["b"]},
            "'correct_answers[1]' is empty; it must be a text",
        ),
        (
            {"question": "q", "mc1_targets": ["a"]},
            "'mc1_targets' is a list; it must be an object with 'choices' and 'labels'",
        ),
        (
            {"question": "q", "mc1_targets": {"choices": ["a"], "labels": [1, 0]}},
            "'mc1_targets': 'choices' and 'labels' must be lists of one length",
        ),
        (
            {"question": "q", "mc2_targets": {"choices": ["a", "b"], "labels": [1, "0"]}},
            "'mc2_targets': label '0' is neither 0 nor 1",
        ),
        (
            {"question": "q", "mc2_targets": {"choices": ["a", "b"], "labels": [0, 0]}},
            "no correct answer; a question needs one of each at least",
        ),
    ],
)
def test_a_bad_row_is_named_with_its_place_and_reason(values: dict[str, object], what: str) -> None:
    for read in (truthfulqa_examples, truthfulqa_gold, truthfulqa_pair_examples, truthfulqa_pair_gold):
        with pytest.raises(DataError) as caught:
            list(read([row(**values)]))
        assert str(caught.value) == f"T.csv:7: {what}"


def test_the_file_is_opened_by_its_format_and_is_its_own_gold() -> None:
    for form, count in (("truthfulqa", 2), ("truthfulqa-pairs", 0)):
        source = DataSource(str(SAMPLE), form)
        data, gold = load_examples(source), load_gold_labels(source)
        assert len(data) - len(gold) == count
        assert set(gold) <= set(data.ids)
