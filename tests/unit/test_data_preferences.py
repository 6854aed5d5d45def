"""Preference data: every layout gives both orders of each comparison, and no order knows which reply is better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from icm_api.consistency import asymmetric, compile_relations
from icm_api.data import read_rows
from icm_api.data.left_out import LeftOut
from icm_api.data.pairs import CHATS
from icm_api.data.preferences import grouped_by_prompt, preference_examples, preference_gold
from icm_api.data.rows import Row
from icm_api.errors import ConfigError, DataError
from icm_api.types import Dataset

DATA = Path(__file__).parents[1] / "data"


def row(**values: object) -> Row:
    return Row("p.jsonl", 4, "9", values)


def told(name: str) -> list[tuple[str, str, str]]:
    """Of each comparison of a sample: the prompt, the better reply, the other one."""
    rows = list(read_rows(DATA / name))
    gold = dict(preference_gold(rows))
    found = []
    for example in preference_examples(rows):
        assert set(example.fields) == {"prompt", "first", "second"}
        assert set(example.metadata) - {CHATS} == {"left", "right"}
        if gold.pop(example.id) == "A":
            found.append((example.fields["prompt"], example.fields["first"], example.fields["second"]))
    assert gold == {}
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "hh.jsonl",
            [
                (
                    "Human: What is the tallest mountain?\n\nAssistant: Do you mean above sea level?\n\nHuman: Yes.",
                    "Then it is Mount Everest.",
                    "I don't know.",
                ),
                ("Name a fruit.", "An apple.", "A stone."),
            ],
        ),
        ("ultrafeedback.jsonl", [("Name a color.", "Red.", "Music."), ("What is 2 + 3?", "5", "6")]),
        (
            "rewardbench.jsonl",
            [
                ("How do I boil an egg?", "Put it in boiling water for eight minutes.", "Eggs come from hens."),
                ("Write a haiku.", "Old pond, a frog jumps;\nthe sound of water.", "No."),
                ("Is 7 prime?", "Yes, 7 is prime.", "No, 7 = 2 + 5."),
            ],
        ),
        (
            "alpaca.json",
            [
                ("Name a color.", "Red.", "A stone."),
                ("Add the numbers.\n\n2 and 3", "5", "6"),
                ("Say hello.", "Hello!", "Go away"),
            ],
        ),
    ],
)
def test_every_layout_is_read(name: str, expected: list[tuple[str, str, str]]) -> None:
    assert told(name) == expected


@pytest.mark.parametrize(
    ("values", "prompt", "better"),
    [
        ({"prompt": [{"role": "user", "content": "Q"}], "chosen": "x", "rejected": "y"}, "Q", "x"),
        (
            {
                "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}],
                "chosen": [{"role": "assistant", "content": "x"}],
                "rejected": [{"role": "assistant", "content": "y"}],
            },
            "System: S\n\nUser: Q",
            "x",
        ),
        (
            {
                "chosen": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "x"}],
                "rejected": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "y"}],
            },
            "Q",
            "x",
        ),
        ({"question": "Q", "response_a": "x", "response_b": "y", "winner": "response_b"}, "Q", "y"),
        ({"query": "Q", "response_1": "x", "response_2": "y", "label": "B"}, "Q", "y"),
        ({"prompt": "Q", "a": "x", "b": "y", "gold": "a"}, "Q", "x"),
        ({"instruction": "Q", "input": None, "output_1": "x", "output_2": "y", "preference": "2"}, "Q", "y"),
        (
            {
                "chosen": "\n\nHuman: Q\n\nAssistant: x\n\nHuman: more\n\nAssistant: z",
                "rejected": "\n\nHuman: Q\n\nAssistant: y",
            },
            "Q",
            "Assistant: x\n\nHuman: more\n\nAssistant: z",
        ),
    ],
)
def test_other_ways_to_write_the_same(values: dict[str, object], prompt: str, better: str) -> None:
    [one, other] = preference_examples([row(**values)])
    gold = dict(preference_gold([row(**values)]))
    assert one.fields["prompt"] == other.fields["prompt"] == prompt
    assert {example.fields["first"] for example in (one, other) if gold[example.id] == "A"} == {better}
    assert {example.fields["second"] for example in (one, other) if gold[example.id] == "B"} == {better}


QUOTE = "Sure, here is one:\n\nHuman: hi\n\nAssistant: hello"


@pytest.mark.parametrize(
    ("values", "prompt", "replies"),
    [
        # A reply may quote a dialogue, also at its beginning.
        ({"prompt": "Write a chat.", "chosen": QUOTE, "rejected": "No."}, "Write a chat.", {QUOTE, "No."}),
        (
            {"prompt": "Write a chat.", "chosen": "Human: hi\n\nAssistant: a", "rejected": "Human: hi\n\nAssistant: b"},
            "Write a chat.",
            {"Human: hi\n\nAssistant: a", "Human: hi\n\nAssistant: b"},
        ),
        ({"prompt": "Q", "response_a": QUOTE, "response_b": "No."}, "Q", {QUOTE, "No."}),
        # What stands before the first turns of both is kept.
        (
            {
                "chosen": "You are a pirate.\n\nHuman: hi\n\nAssistant: arr",
                "rejected": "You are a pirate.\n\nHuman: hi\n\nAssistant: hello",
            },
            "System: You are a pirate.\n\nHuman: hi",
            {"arr", "hello"},
        ),
        # A prompt that the conversations begin with is no reply.
        (
            {
                "prompt": "\n\nHuman: Q\n\nAssistant:",
                "chosen": "\n\nHuman: Q\n\nAssistant: x",
                "rejected": "\n\nHuman: Q\n\nAssistant: y",
            },
            "Q",
            {"x", "y"},
        ),
        (
            {
                "conversation_a": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "x"}],
                "conversation_b": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "y"}],
            },
            "Q",
            {"x", "y"},
        ),
        # Other styles of turns.
        (
            {"chosen": "User: Q\nAssistant: x", "rejected": "User: Q\nAssistant: y"},
            "Q",
            {"x", "y"},
        ),
        (
            {"chosen": "### Human: Q\n### Assistant: x", "rejected": "### Human: Q\n### Assistant: y"},
            "Q",
            {"x", "y"},
        ),
        (
            {
                "chosen": "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nx<|im_end|>\n",
                "rejected": "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\ny<|im_end|>",
            },
            "Q",
            {"x", "y"},
        ),
        # Lists of messages: in a cell of a table, and in parts.
        (
            {
                "chosen": '[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "x"}]',
                "rejected": '[{"role": "user", "content": "Q"}, {"role": "assistant", "content": "y"}]',
            },
            "Q",
            {"x", "y"},
        ),
        (
            {
                "prompt": "Q",
                "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "x"}]}],
                "rejected": [{"role": "assistant", "content": "y"}],
            },
            "Q",
            {"x", "y"},
        ),
    ],
)
def test_a_dialogue_is_one_that_the_text_begins_with(values: dict[str, object], prompt: str, replies: set[str]) -> None:
    for example in preference_examples([row(**values)]):
        assert example.fields["prompt"] == prompt
        assert {example.fields["first"], example.fields["second"]} == replies


def test_words_before_the_turns_of_one_alone_stay_where_they_are() -> None:
    values = row(chosen="You are a pirate.\n\nHuman: hi\n\nAssistant: arr", rejected="Human: hi\n\nAssistant: hello")
    [one, _] = preference_examples([values])
    assert "You are a pirate.\n\nHuman: hi\n\nAssistant: arr" in one.fields.values()


def better_of(
    *rows: dict[str, object], fields: Sequence[str] | None = None, key: str | None = None
) -> list[str | None]:
    """The better reply of each row."""
    read = [Row("p", at, str(at), values) for at, values in enumerate(rows, start=1)]
    gold = dict(preference_gold(read, fields, key))
    found: dict[str, str] = {}
    for example in preference_examples(read, fields):
        if example.id in gold:
            found[example.group or ""] = example.fields["first" if gold[example.id] == "A" else "second"]
    return [found.get(each.id) for each in read]


@pytest.mark.parametrize(
    ("columns", "label", "better"),
    [
        (("response_0", "response_1"), 1, "y"),
        (("response_0", "response_1"), 0, "x"),
        (("output_1", "output_2"), 1, "x"),
        (("output_1", "output_2"), 2.0, "y"),
        (("response_a", "response_b"), 2, "y"),
        (("response_a", "response_b"), "model_a", "x"),
        (("response_a", "response_b"), "model_b", "y"),
        (("response_a", "response_b"), "[[B]]", "y"),
        (("response_a", "response_b"), "tie (bothbad)", None),
        (("response_a", "response_b"), "RESPONSE_B", "y"),
        (("a", "b"), "second", "y"),
    ],
)
def test_the_names_of_the_columns_say_what_a_label_means(
    columns: tuple[str, str], label: object, better: str | None
) -> None:
    values = {"prompt": "Q", columns[0]: "x", columns[1]: "y", "better_response_id": label}
    assert better_of(values) == [better]
    assert better_of(values, fields=["prompt", *columns], key="better_response_id") == [better]


def test_a_number_that_could_mean_either_is_an_error_that_says_what_to_state() -> None:
    def comparison(columns: tuple[str, str], label: int) -> dict[str, object]:
        return {"prompt": "Q", columns[0]: "x", columns[1]: "y", "label": label}

    unnumbered = ("left", "right")
    assert better_of(*(comparison(unnumbered, n) for n in (1, 2)), fields=["prompt", *unnumbered]) == ["x", "y"]
    for columns, labels in (
        (unnumbered, (1, 0)),
        (unnumbered, (1,)),
        (unnumbered, (0, 1, 2)),
        (("r_1", "r_2"), (1, 0)),
    ):
        with pytest.raises(DataError, match=r"which may be .* or .*: say what the numbers mean, e\.g\. --map 0=A,1=B"):
            better_of(*(comparison(columns, n) for n in labels), fields=["prompt", *columns])


def test_columns_of_any_name() -> None:
    values = row(topic="T", ask="Q", left_reply="x", right_reply="y", better="left_reply")
    names = ["topic", "ask", "left_reply", "right_reply"]
    [one, _] = preference_examples([values], names)
    assert {key: one.fields[key] for key in ("topic", "ask")} == {"topic": "T", "ask": "Q"}
    assert {one.fields["first"], one.fields["second"]} == {"x", "y"}
    gold = dict(preference_gold([values], names, "better"))
    assert (gold[one.id] == "A") == (one.fields["first"] == "x")
    [bare, _] = preference_examples([row(x="1", y="2")], ["x", "y"])
    assert set(bare.fields) == {"first", "second"}


@pytest.mark.parametrize("fields", [["x"], "xy", ["first", "x", "y"]])
def test_columns_that_cannot_be_named(fields: list[str]) -> None:
    with pytest.raises(ConfigError, match="name the columns of the two replies"):
        list(preference_examples([row(x="1", y="2", first="3")], fields))


def test_which_reply_is_better_is_nowhere_in_the_examples() -> None:
    for one, other in (("chosen", "rejected"), ("output_1", "output_2")):
        rows = [
            Row("p", at, str(at), {"prompt": f"Q{at}", one: f"x{at}", other: f"y{at}", "preference": at % 2 + 1})
            for at in range(1, 9)
        ]
        swapped = [
            Row(r.path, r.line, r.id, {**r.values, one: r.values[other], other: r.values[one], "preference": 1})
            for r in rows
        ]
        assert list(preference_examples(rows)) == list(preference_examples(swapped))
    chosen = [Row("p", at, str(at), {"chosen": f"x{at}", "rejected": f"y{at}"}) for at in range(1, 9)]
    turned = [Row("p", at, str(at), {"chosen": f"y{at}", "rejected": f"x{at}"}) for at in range(1, 9)]
    other_gold = dict(preference_gold(turned))
    assert all(label != other_gold[key] for key, label in preference_gold(chosen))


def test_the_place_of_an_example_knows_nothing_and_one_label_for_all_is_half_right() -> None:
    rows = [
        Row("p", at, str(at), {"prompt": "Q", "chosen": f"good {at}", "rejected": f"bad {at}"}) for at in range(2000)
    ]
    data, gold = Dataset(preference_examples(rows)), dict(preference_gold(rows))
    assert Counter(gold.values()) == {"A": 2000, "B": 2000}
    by_place = Counter((key[-1], label) for key, label in gold.items())
    assert abs(by_place["1", "A"] - 1000) < 4 * (2000 * 0.25) ** 0.5
    assert by_place["1", "A"] == by_place["2", "B"]
    relations = compile_relations(data, ("A", "B"), [asymmetric("A", total=True)])
    assert (len(relations), relations.broken(gold)) == (2000, frozenset())
    assert len(relations.broken(dict.fromkeys(data.ids, "A"))) == 2000


def test_a_comparison_that_asks_nothing_is_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        Row("p", 1, "1", {"prompt": "Q", "chosen": "x", "rejected": "y"}),
        Row("p", 2, "2", {"prompt": "Q", "chosen": "x", "rejected": "x"}),
        Row("p", 3, "3", {"prompt": "Q", "chosen": "x", "rejected": ""}),
    ]
    left_out = LeftOut()
    assert [example.id for example in preference_examples(rows, note=left_out.note)] == ["1-1", "1-2"]
    assert caplog.messages == []
    left_out.say()
    assert caplog.messages == [
        "left out 2 comparisons, whose replies are equal or of which one is empty; the first: line 2 of p"
    ]
    assert set(dict(preference_gold(rows))) == {"1-1", "1-2"}


def test_a_tie_has_no_gold_label() -> None:
    tie = row(prompt="Q", a="x", b="y", winner="Tie")
    assert len(list(preference_examples([tie]))) == 2
    assert dict(preference_gold([tie])) == {}


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (
            {"prompt": "Q", "a": "x"},
            "no two replies: neither 'chosen' and 'rejected', nor 'output_1' and 'output_2', 'response_a' and "
            "'response_b', 'response_1' and 'response_2', 'response_0' and 'response_1', 'conversation_a' and "
            "'conversation_b', 'a' and 'b'; the line has the keys ['prompt', 'a']. "
            "Name the columns with fields = [prompt, one, other] under [data], or give them such names",
        ),
        ({"chosen": "x"}, "'rejected' is missing; the line has the keys ['chosen']"),
        ({"chosen": "x", "rejected": None}, "'rejected' is null; it must be a text or a list of messages"),
        ({"chosen": "x", "rejected": 3}, "'rejected' is a number; it must be a text or a list of messages"),
        ({"chosen": "x", "rejected": []}, "'rejected' is empty; it must have a message"),
        (
            {"chosen": "x", "rejected": [{"role": "assistant"}]},
            "'rejected[0]' is an object; a message is an object with the texts 'role' and 'content'",
        ),
        (
            {"chosen": "x", "rejected": ["y"]},
            "'rejected[0]' is a string; a message is an object with the texts 'role' and 'content'",
        ),
        (
            {"chosen": "x", "rejected": [{"role": "assistant", "content": None}]},
            "'rejected[0]' has as its 'content' null; it must be a text",
        ),
        (
            {"chosen": "x", "rejected": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "'rejected[0]' has as its 'content' a list; it must be a text",
        ),
        (
            {"chosen": "[{'role': 'user', 'content': 'Q'}]", "rejected": "y"},
            "'chosen' holds messages as Python prints them, which are not read; write them with json.dumps",
        ),
        ({"prompt": "", "chosen": "x", "rejected": "y"}, "'prompt' is empty; it must be a text"),
        ({"instruction": "Q", "input": 3, "a": "x", "b": "y"}, "'input' is a number; it must be a text"),
    ],
)
def test_a_bad_row_is_named_with_its_place_and_reason(values: dict[str, object], what: str) -> None:
    for read in (preference_examples, preference_gold):
        with pytest.raises(DataError) as caught:
            list(read([row(**values)]))
        assert str(caught.value) == f"p.jsonl:4: {what}"


MEANT = "it must be 1 or 2, A or B, a column's name, or tie; else say what it means, e.g."


@pytest.mark.parametrize(
    ("values", "field", "what"),
    [
        (
            {},
            None,
            "no gold label under 'preference' or 'gold' or 'label' or 'winner' or 'better_response_id'; the "
            "line has the keys ['a', 'b']",
        ),
        ({"label": 1}, "better", "no gold label under 'better'; the line has the keys ['a', 'b', 'label']"),
        ({"label": 3}, None, f"gold label 'label' is 3; {MEANT} --map=3=A"),
        ({"label": -2}, None, f"gold label 'label' is -2; {MEANT} --map=-2=A"),
        ({"label": "Reply 1"}, None, f"gold label 'label' is 'Reply 1'; {MEANT} --map='Reply 1'=A"),
        ({"label": True}, None, f"gold label 'label' is True; {MEANT} --map=True=A"),
        ({"gold": None}, None, f"gold label 'gold' is None; {MEANT} --map=None=A"),
    ],
)
def test_a_bad_gold_label_is_named(values: dict[str, object], field: str | None, what: str) -> None:
    comparison = row(**{"a": "x", "b": "y"}, **values)
    assert len(list(preference_examples([comparison]))) == 2
    with pytest.raises(DataError) as caught:
        list(preference_gold([comparison], None, field))
    assert str(caught.value) == f"p.jsonl:4: {what}"


def test_comparisons_of_replies_to_one_prompt_are_one_group() -> None:
    def compared(at: int, prompt: str) -> Row:
        return Row("p", at, str(at), {"prompt": prompt, "a": f"first {at}", "b": f"second {at}"})

    rows = [compared(at, prompt) for at, prompt in enumerate(["why?", "how?", "why?", "who?"], start=1)]
    groups = [example.group for example in grouped_by_prompt([*preference_examples(rows)])]
    assert groups == ["1", "1", "2", "2", "1", "1", "4", "4"]
    # What all of them show is how they are asked: they have nothing in common beside it.
    alike = [compared(at, "Which is better?") for at in (1, 2)]
    assert [example.group for example in grouped_by_prompt([*preference_examples(alike)])] == ["1", "1", "2", "2"]
