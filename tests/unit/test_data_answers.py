"""Final answers of worked solutions: against labels that a person read off, and written cases of every other style."""

# ruff: noqa: RUF001 - signs that look alike are what this file is about

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.data.answers import final_answer, without_calculator
from icm_api.data.numbers import canonical, numbers, plain
from tests.benchmarks.extraction import SAMPLE, misses

FURTHER = [
    "\n\nProblem: Tom has 3 cats.\nSolution: 3 + 4 = 7\n",
    "\n\nQuestion 2: Tom has 3 cats.\n",
    "\n\n**Problem 2**\nTom has 3 cats.\n",
    "\n\n## Exercise 4.\nTom has 3 cats.\n",
    "\nQ2. Tom has 3 cats.\n",
    "\n\nHuman: Tom has 3 cats.\n\nAssistant: ",
    "\nHuman 2: Tom has 3 cats.\n",
    ". USER: Tom has 3 cats. ASSISTANT: ",
    "\n\n### Instruction:\nTom has 3 cats.\n\n### Response:\n",
    "\n### Input\nTom\n### Response\n",
    "<|im_end|>\n<|im_start|>user\n3 + 4?<|im_end|>\n<|im_start|>assistant\n",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n3 + 4?",
    "<end_of_turn>\n<start_of_turn>user\n3 + 4?<end_of_turn>\n<start_of_turn>model\n",
    "</s><s>[INST] 3 + 4? [/INST]",
    "<｜end▁of▁sentence｜><｜User｜>3 + 4?<｜Assistant｜>",
    "\n\nHere is another similar problem: Tom has 3 cats.\n",
    "\n\n问题：3 + 4？\n",
    "\n<question>3 + 4?</question>\n",
]
THOUGHTS = [
    ("<think>", "</think>\n\n"),
    ("", "</think>"),
    ("Well. <thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]
CASES = [
    # Markers.
    ("#### 18", "18"),
    ("16 - 3 - 4 = 9\n9 * 2 = 18\n#### 18", "18"),
    ("####18", "18"),
    ("#### $1,234,567", "1234567"),
    ("#### -42", "-42"),
    ("She has 9.\nA: 9", "9"),
    ("She has 9. A: 9", "9"),
    ("**A:** 9", "9"),
    ("**A: 9**", "9"),
    ("Answer: 12", "12"),
    ("**Answer:** 12 apples", "12"),
    ("### Answer: 12", "12"),
    ("### Final Answer\nThe total is 12.\n**Final Answer:** $12", "12"),
    ("**Final Answer**:\n\n**$12**", "12"),
    ("ANSWER: 7", "7"),
    ("Answer = 7", "7"),
    ("The answer is 5", "5"),
    ("So the answer is: **5**.", "5"),
    ("The final answer is $18$. I hope it is correct.", "18"),
    ("Therefore, the final answer is $\\boxed{18}$.", "18"),
    ("The correct answer is \\(18\\).", "18"),
    ("The answer to the question is 18 eggs.", "18"),
    ("The answer would be approximately 3.14 metres.", "3.14"),
    ("The answer is x = 5.", "5"),
    ("The answer is 16 - 3 = 13.", "13"),
    ("The answer is 18 (which is 9 * 2).", "18"),
    ("Answer: Janet makes $18 every day.", "18"),
    # The last marker counts.
    ("Answer: 4\nNo, wait. That is wrong.\nAnswer: 6", "6"),
    ("The answer is 4.\n#### 6", "6"),
    ("#### 6\nSo the answer is \\boxed{7}", "7"),
    ("A: 6\n\nQ: What is 1 + 1?\nA: 2", "6"),
    ("The answer is 6.\n\nChecked: the answer is 6.0", "6"),
    ("A: 5 apples\nC: 7 apples\nThe sum is 12.", "12"),
    ("**26**\n\nConfidence: 90%", "26"),
    ("#### 6\n\nQuestion: What is 1 + 1?\n#### 2", "6"),
    # What follows another turn or problem, in the styles of chat and instruct models.
    *((f"16 - 3 = 13\n#### 26{further}#### 7", "26") for further in FURTHER),
    ("<|im_start|>assistant\nThe answer is 26.<|im_end|>", "26"),
    ("Assistant: The answer is 26.\nHuman: And now?\nAssistant: The answer is 7.", "26"),
    ("### Question 2\nHow many?\n#### 26", "26"),
    ("#### 26\n\nI checked the problem 2 times, and user: names are no matter.", "26"),
    # Thoughts.
    *((f"{before}20? The answer is 20.{after}The answer is 26.", "26") for before, after in THOUGHTS),
    ("<think>So <think> opens.</think> The answer is 20.</think>It is 26.", "26"),
    ("The answer is 26.<|eot_id|>\n<|assistant|>20?</think>The answer is 7.", "26"),
    ("<reasoning>13 * 2</reasoning>\n<answer>\n26\n</answer>", "26"),
    # Headings of steps and names of quantities are no markers.
    ("#### 2. Add them up\nShe has 3 + 4 = 7 eggs.", "7"),
    ("#### Step 2: Add\n3 + 4 = 7\n#### 7", "7"),
    ("#### 5 Steps to Solve\nIn total she has 9 eggs.", "9"),
    ("#### 18 eggs\n\nI hope that it helps, all 3 of you.", "18"),
    ("#### Final Answer: 12", "12"),
    ("Let A be the cost.\nA = 5\nB = 7\nA + B = 12", "12"),
    ("A: 5 apples\nB: 7 apples\nIn total: 12", "12"),
    # LaTeX.
    ("\\boxed{18}", "18"),
    ("$$\\boxed{\\$1{,}250}$$", "1250"),
    ("\\boxed{\\frac{3}{4}}", "0.75"),
    ("\\boxed{-\\dfrac{1}{3}}", "-1/3"),
    ("\\boxed{1\\frac{1}{2}}", "1.5"),
    ("\\boxed{18 \\text{ eggs}}", "18"),
    ("\\boxed{25\\%}", "25"),
    ("\\boxed{\\text{Janet makes } 18}", "18"),
    ("\\boxed{x = 18}", "18"),
    ("$\\boxed{3 \\times 10^{5}}$", "300000"),
    ("\\fbox{18}", "18"),
    ("\\[ \\text{Total} = 9 \\times 2 = 18 \\]", "18"),
    # Numbers.
    ("A: 1,234.50", "1234.5"),
    ("A: 3.0", "3"),
    ("A: .5", "0.5"),
    ("A: -.5", "-0.5"),
    ("A: −3", "-3"),
    ("A: -$12", "-12"),
    ("A: $-12", "-12"),
    ("A: - 12", "-12"),
    ("A: negative 12", "-12"),
    ("A: 3/4", "0.75"),
    ("A: 6/8 of the cake", "0.75"),
    ("A: 2/3", "2/3"),
    ("A: 1 1/2", "1.5"),
    ("A: ½", "0.5"),
    ("A: 2½ hours", "2.5"),
    ("A: -¾", "-0.75"),
    ("A: 1.5e3", "1500"),
    ("A: 2 million", "2000000"),
    ("A: 1.8 billion dollars", "1800000000"),
    ("A: 5k", "5000"),
    ("She earns $2.5k.", "2500"),
    ("#### 1.5M", "1500000"),
    ("#### $1.5m", "1500000"),
    ("A: 10K runners", "10000"),
    ("A: 3bn", "3000000000"),
    ("A: 5 dozen eggs", "60"),
    ("A: 2 hundred thousand", "200000"),
    ("A: 3 crore rupees", "30000000"),
    ("A: 5 million-dollar homes", "5"),
    ("A: 5 km", "5"),
    ("A: 5 m", "5"),
    ("A: 18%", "18"),
    ("A: €18", "18"),
    ("A: 18 €", "18"),
    ("A: US$18", "18"),
    ("A: 50¢", "50"),
    ("A: 18kg", "18"),
    ("A: 10-inch", "10"),
    ("A: 60 miles/hour", "60"),
    ("A: $500/month", "500"),
    ("A: 1\u202f234", "1234"),
    ("A: 007", "7"),
    ("A: 0", "0"),
    ("A: -0", "0"),
    ("A: 3:30 pm", "3:30"),
    ("A: 5:00 PM", "5"),
    ("A: 3:4", "3:4"),
    ("A: twenty-five", "25"),
    ("The answer is Eighteen.", "18"),
    # No marker.
    ("16 - 3 = <<16-3=13>>13", "13"),
    ("First 9.\nIn total he pays 9 * 2 = $18.", "18"),
    ("She sells 16 - 3 = <<16-3=13>>13 eggs.", "13"),
    ("Janet makes **$18** on her 9 eggs.", "18"),
    ("So she has 18 eggs left.", "18"),
    ("He paid $3.50. So she has 18 eggs left!", "18"),
    ("Total profit: $70,000", "70000"),
    ("**Janet makes $18 every day.**", "18"),
    ("25", "25"),
    ("$25.", "25"),
    ("**25**", "25"),
    ("The temperature falls to -3.", "-3"),
]

NONE = [
    "",
    "<think>So the answer is 20. Wait, I forgot the three eggs, so",
    "The answer is 20.</think>",
    "#### 2. Step",
    "She adds.\n#### Step 3",
    "1. Buy eggs\n2. Sell",
    "A: 5 M",
    "A: 3 thousandths",
    "I don't know.",
    "A:",
    "A: none",
    "The answer is not 5.",
    # Cut off.
    "He pays 5 * 1",
    "He pays 12 and then 5",
    "In total, he pays 3 + 4 = 7 dollars for an",
    "It costs $24+$4 = $<<24+4",
    "It costs $24+$4 =",
    "A: <<24+4",
    "The answer is \\boxed{1",
    "The next step: 3 + 4 = 7.\nThen he adds",
    "It is " + "3" * 400,
    "A: 1." + "27" * 200,
    # Several, or none yet worked out.
    "A: 1, 2",
    "A: 1 and 2",
    "A: 3 to 4",
    "A: 3-4",
    "A: 5 or 6 days",
    "A: 5 feet 3 inches",
    "A: 5 dollars and 25 cents",
    "A: 10 - 3",
    "A: 10-3",
    "A: 9 * 2",
    "A: 9 x 2",
    "A: 10+John's age",
    "A: John's age + 10",
    "A: 2x",
    "A: 2^10",
    "A: 3 and a half",
    "A: two thirds",
    "A: one hundred",
    "A: 3/0",
    "A: 1,23",
    "A: 3,5",
    "A: 1.2.3",
    "A: 12/25/2020",
    "\\boxed{1, 2}",
    "It takes 15 hours to clean 45 rooms.",
    # Another problem, which no mark announces, or doubts of the answer.
    "The answer is 12.\n\n---\n\nSam has 3 and 4. The answer is 7.",
    "#### 12\n\nInput: Sam has 3.\nOutput:\n#### 3",
    "\\boxed{12}\n\nStudent: And 3?\n\nTeacher: The answer is 3.",
    "The answer is 26. Wait, let me recheck: 27 - 2 = 25. So it is 25.",
    # The last marker decides, readable or not.
    "A: 6\nA: unknown",
]


@pytest.mark.parametrize(("text", "answer"), CASES)
def test_an_answer_is_read_in_every_style(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize("text", NONE)
def test_what_states_no_single_answer_has_none(text: str) -> None:
    assert final_answer(text) is None


def test_at_least_99_percent_of_the_labelled_sample_is_read_right() -> None:
    wrong = misses()
    total = len(SAMPLE.read_text(encoding="utf-8").splitlines())
    assert total == 300
    assert len(wrong) <= total // 100, "\n".join(wrong)


def test_the_labelled_sample_has_answers_of_every_kind() -> None:
    answers = [json.loads(line)["answer"] for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    kinds = {
        "none": sum(answer is None for answer in answers),
        "negative": sum(bool(answer and answer.startswith("-")) for answer in answers),
        "decimal": sum(bool(answer and "." in answer) for answer in answers),
    }
    assert kinds["none"] >= 10
    assert kinds["negative"] >= 50
    assert kinds["decimal"] >= 50


@given(st.fractions())
def test_a_canonical_text_is_the_number_itself_and_the_only_one(value: Fraction) -> None:
    text = canonical(value)
    assert Fraction(text) == value
    assert canonical(Fraction(text)) == text


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{:,}", "{}", "{:,}.0", "{}.00", "**{:,}**", "{} eggs", "{}%"]))
def test_a_number_is_the_same_answer_however_it_is_written(value: int, written: str) -> None:
    for marker in ("#### {}", "A: {}", "The answer is {}.", "So x = {}"):
        assert final_answer(marker.format(written.format(value))) == str(value)


@given(st.integers(-999, 999), st.integers(1, 99))
def test_fractions_are_exact_and_equal_ones_are_equal_texts(top: int, bottom: int) -> None:
    expected = canonical(Fraction(top, bottom))
    assert final_answer(f"A: {top}/{bottom}") == expected
    assert final_answer(f"A: {3 * top}/{3 * bottom}") == expected
    sign = "-" if top < 0 else ""
    assert final_answer(f"\\boxed{{{sign}\\frac{{{abs(top)}}}{{{bottom}}}}}") == expected


@given(st.text(alphabet="0123456789.,/:-+=*$%<>{}\\#A \n", max_size=40))
def test_no_text_is_an_error_and_every_answer_is_canonical(text: str) -> None:
    answer = final_answer(text)
    assert answer is None or ":" in answer or canonical(Fraction(answer)) == answer


def test_numbers_stand_where_they_say() -> None:
    text = plain("it fell from −3 to $-1,250.75, by 10-3")
    assert [(text[n.start : n.end].strip(), n.text) for n in numbers(text)] == [
        ("-3", "-3"),
        ("$-1,250.75", "-1250.75"),
        ("10", "10"),
        ("3", "3"),
    ]


def test_calculator_marks_are_taken_out_and_nothing_else() -> None:
    assert without_calculator("16 - 3 = <<16-3=13>>13, and 1 << 2 > 0\nA: 13") == "16 - 3 = 13, and 1 << 2 > 0\nA: 13"


def test_the_sample_says_where_it_is_from() -> None:
    notice = (Path(SAMPLE).parent / "gsm8k_README.md").read_text(encoding="utf-8")
    assert "MIT" in notice
    assert "openai/grade-school-math" in notice
