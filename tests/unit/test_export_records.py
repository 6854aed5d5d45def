"""What a row becomes: held against each consumer's schema, written down from its documentation."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from icm_api.data.preferences import preference_examples
from icm_api.data.rows import Row as Source
from icm_api.errors import ConfigError, DataError
from icm_api.export import FormatName, LabelledData, Options, export_labels
from icm_api.export.records import json_line
from icm_api.types import Dataset, PromptTemplate, Verbalizer
from tests.labelled import NASTY, claims, line, reply_pairs, result_of, with_line

TEXT = st.text(st.characters(codec="utf-8"))
CHAT: tuple[FormatName, ...] = ("openai-sft", "azure-sft", "together-sft", "fireworks-sft")


class _Strict(BaseModel):
    """Nothing beside what is documented: Together refuses a file whose rows fit two formats."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Said(_Strict):
    """A message of one role, not empty."""

    role: Literal["system", "user"]
    content: Annotated[str, Field(min_length=1)]


class Answered(_Strict):
    """The assistant's message."""

    role: Literal["assistant"]
    content: Annotated[str, Field(min_length=1)]


class ChatRow(_Strict):
    """OpenAI, Azure, Together, Fireworks: one conversation, which ends with the assistant."""

    messages: Annotated[list[Said | Answered], Field(min_length=2)]


class Asked(_Strict):
    """What both outputs answer."""

    messages: Annotated[list[Said], Field(min_length=1)]


class PreferenceRow(_Strict):
    """OpenAI's DPO: each output exactly one message of the assistant."""

    input: Asked
    preferred_output: Annotated[list[Answered], Field(min_length=1, max_length=1)]
    non_preferred_output: Annotated[list[Answered], Field(min_length=1, max_length=1)]


Row: TypeAlias = dict[str, object]


def exported(data: LabelledData, to: FormatName, folder: Path, options: Options | None = None) -> list[Row]:
    """The rows of the training file, read as any JSON reader would."""
    export_labels(data, to, folder / to, options)
    raw = (folder / to / "train.jsonl").read_bytes()
    return [json.loads(each) for each in raw.decode("utf-8-sig").split("\n")[:-1]]


@pytest.mark.parametrize("to", CHAT)
@pytest.mark.parametrize("instruction", ["", "Judge the claims."])
def test_chat_rows_fit_the_documented_schema(to: FormatName, instruction: str, tmp_path: Path) -> None:
    rows = exported(claims(NASTY, instruction=instruction), to, tmp_path)
    assert len(rows) == len(NASTY)
    for row, text in zip(rows, NASTY, strict=True):
        messages = ChatRow.model_validate_json(json.dumps(row)).messages
        roles = ["system"] * bool(instruction) + ["user", "assistant"]
        assert [message.role for message in messages] == roles
        assert messages[-2].content == f"Claim: {text}\nIt is"
    first = rows[0]["messages"]
    assert isinstance(first, list)
    # A chat template brings its own space.
    assert first[-1] == {"role": "assistant", "content": "True"}


def test_only_azure_gets_a_byte_order_mark(tmp_path: Path) -> None:
    for to in CHAT:
        exported(claims("ab"), to, tmp_path)
        assert (tmp_path / to / "train.jsonl").read_bytes().startswith(b"\xef\xbb\xbf") == (to == "azure-sft")


def test_a_label_is_written_by_its_first_form(tmp_path: Path) -> None:
    data = replace(claims("a"), verbalizer=Verbalizer({"True": (" yes, it is", " Yes"), "False": (" no",)}))
    [row] = exported(data, "openai-sft", tmp_path)
    assert row["messages"][-1]["content"] == "yes, it is"  # type: ignore[index]
    [row] = exported(data, "trl-sft", tmp_path)
    assert row["completion"] == " yes, it is"


def test_a_pair_of_replies_becomes_one_preference_under_the_prompt_alone(tmp_path: Path) -> None:
    rows = exported(reply_pairs(["AB", "AA", "BA"]), "openai-dpo", tmp_path)
    assert rows == [
        {
            "input": {"messages": [{"role": "user", "content": f"Question {at}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"{better} {at}"}],
            "non_preferred_output": [{"role": "assistant", "content": f"{worse} {at}"}],
        }
        for at, better, worse in ((0, "good", "bad"), (2, "bad", "good"))
    ]
    for row in rows:
        PreferenceRow.model_validate_json(json.dumps(row))


def test_elsewhere_the_label_found_is_preferred_to_the_most_probable_other_one(tmp_path: Path) -> None:
    labels = ("bad", "so-so", "good")
    two = claims("ab")
    found = result_of(line(each, "good", labels=labels) for each in two.dataset)
    data = replace(two, result=found, verbalizer=Verbalizer.plain(labels))
    data = with_line(data, 1, probabilities={"bad": 0.1, "so-so": 0.3, "good": 0.6})
    rows = exported(data, "openai-dpo", tmp_path)
    said = [(row["preferred_output"][0]["content"], row["non_preferred_output"][0]["content"]) for row in rows]  # type: ignore[index]
    # Equally probable: the first in label order.
    assert said == [("good", "bad"), ("good", "so-so")]
    for row in rows:
        PreferenceRow.model_validate_json(json.dumps(row))


def test_trl_rows_of_labels_are_the_plain_text_that_the_search_put_together(tmp_path: Path) -> None:
    data = claims(["one"], instruction="Judge.")
    prompt = "Judge.\n\nClaim: one\nIt is"
    assert exported(data, "trl-sft", tmp_path) == [{"prompt": prompt, "completion": " True"}]
    assert exported(data, "trl-dpo", tmp_path) == [{"prompt": prompt, "chosen": " True", "rejected": " False"}]
    texts = {"chosen": prompt + " True", "rejected": prompt + " False"}
    assert exported(data, "trl-reward", tmp_path) == [{**texts, "margin": round(log(9), 4)}]


def test_trl_rows_of_replies_are_conversations(tmp_path: Path) -> None:
    data = reply_pairs(["BA"])
    asked = [{"role": "user", "content": "Question 0?"}]
    better, worse = ([{"role": "assistant", "content": f"{each} 0"}] for each in ("bad", "good"))
    assert exported(data, "trl-dpo", tmp_path) == [{"prompt": asked, "chosen": better, "rejected": worse}]
    texts = {"chosen": asked + better, "rejected": asked + worse}
    assert exported(data, "trl-reward", tmp_path) == [{**texts, "margin": round(log(9), 4)}]


@pytest.mark.parametrize(
    ("certain", "margin"),
    [((0.8, 0.6), (log(4) + log(1.5)) / 2), ((1.0, 1.0), log(1e6)), ((0.9, 0.02), 0.0), ((0.5, 0.5), 0.0)],
)
def test_the_margin_of_a_pair_is_the_mean_of_the_log_odds_of_both_orders(
    certain: tuple[float, float], margin: float, tmp_path: Path
) -> None:
    data = reply_pairs(["AB"])
    for at, p in enumerate(certain):
        label = "AB"[at]
        other = round(1 - p, 6)
        data = with_line(data, at, probability=p, probabilities={name: p if name == label else other for name in "AB"})
    [row] = exported(data, "trl-reward", tmp_path)
    assert row["margin"] == pytest.approx(margin, abs=1e-4)


def test_the_margin_of_a_label_is_over_the_most_probable_other(tmp_path: Path) -> None:
    data = claims(["one"])
    three = Verbalizer.plain(("True", "False", "Unclear"))
    data = replace(with_line(data, 0, probabilities={"True": 0.6, "False": 0.1, "Unclear": 0.3}), verbalizer=three)
    [row] = exported(data, "trl-reward", tmp_path)
    assert row["margin"] == pytest.approx(log(2), abs=1e-4)
    assert str(row["rejected"]).endswith(" Unclear")


def said(*messages: str) -> list[dict[str, str]]:
    """Messages written as "role: text"."""
    return [dict(zip(("role", "content"), message.split(": ", 1), strict=True)) for message in messages]


def labelled_pairs(**values: object) -> LabelledData:
    """A comparison as it is read from a file, labelled so that x is better than y."""
    data = Dataset(preference_examples([Source("p.jsonl", 1, "p", values)]))
    lines = [line(each, "A" if "x" in each.fields["first"] else "B", labels=("A", "B")) for each in data]
    template = PromptTemplate("{prompt}\nA: {first}\nB: {second}\nBetter:")
    return LabelledData(data, result_of(lines), template, Verbalizer.plain(("A", "B")), replies=True)


ASKED = ("system: Be brief.", "user: Hi", "assistant: Hello", "user: 1+1?")


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": said(*ASKED), "chosen": said("assistant: x"), "rejected": said("assistant: y")},
        {"chosen": said(*ASKED, "assistant: x"), "rejected": said(*ASKED, "assistant: y")},
        {
            key: [
                {"from": {"user": "human", "assistant": "gpt"}.get(m["role"], m["role"]), "value": m["content"]}
                for m in said(*ASKED, last)
            ]
            for key, last in (("chosen", "assistant: x"), ("rejected", "assistant: y"))
        },
        {
            key: f"Be brief.\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 1+1?\n\nAssistant: {last}"
            for key, last in (("chosen", "x"), ("rejected", "y"))
        },
        {
            "conversation_a": said(*ASKED, "assistant: y"),
            "conversation_b": said(*ASKED, "assistant: x"),
        },
    ],
)
def test_roles_and_turns_are_kept(values: dict[str, object], tmp_path: Path) -> None:
    data = labelled_pairs(**values)
    asked, better, worse = said(*ASKED), said("assistant: x"), said("assistant: y")
    assert exported(data, "trl-dpo", tmp_path) == [{"prompt": asked, "chosen": better, "rejected": worse}]
    [row] = exported(data, "trl-reward", tmp_path)
    assert (row["chosen"], row["rejected"]) == (asked + better, asked + worse)
    assert exported(data, "openai-dpo", tmp_path) == [
        {"input": {"messages": asked}, "preferred_output": better, "non_preferred_output": worse}
    ]


def test_turns_in_a_prompt_of_text_are_kept_and_one_that_is_yet_to_be_filled_is_left_out(tmp_path: Path) -> None:
    prompt = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 1+1?\n\nAssistant:"
    [row] = exported(labelled_pairs(prompt=prompt, chosen="x", rejected="y"), "trl-dpo", tmp_path)
    assert row["prompt"] == said(*ASKED[1:])


def test_a_reply_that_goes_on_is_kept_whole_or_left_out_and_counted(tmp_path: Path) -> None:
    question, more = said("user: Q"), said("assistant: x", "user: more", "assistant: z")
    data = labelled_pairs(chosen=question + more, rejected=question + said("assistant: y"))
    [row] = exported(data, "trl-dpo", tmp_path)
    assert (row["prompt"], row["chosen"], row["rejected"]) == (question, more, said("assistant: y"))
    with pytest.raises(ConfigError, match="1 pairs whose replies go on for several turns"):
        exported(data, "openai-dpo", tmp_path)


def test_replies_without_a_prompt_train_a_reward_model_alone(tmp_path: Path) -> None:
    data = reply_pairs(["AB"], prompt="")
    [row] = exported(data, "trl-reward", tmp_path)
    assert row["chosen"] == [{"role": "assistant", "content": "good 0"}]
    for to in ("openai-dpo", "trl-dpo"):
        with pytest.raises(DataError, match="pair 'p0' has no prompt"):
            exported(data, to, tmp_path)


def test_pairs_as_rows_train_the_judge_in_both_orders(tmp_path: Path) -> None:
    rows = exported(reply_pairs(["AB"]), "openai-sft", tmp_path)
    assert [row["messages"][-1]["content"] for row in rows] == ["A", "B"]  # type: ignore[index]
    assert rows[0]["messages"][0] == {"role": "system", "content": "Judge the replies."}  # type: ignore[index]


@settings(max_examples=15)
@given(st.dictionaries(TEXT, TEXT))
def test_a_record_is_one_line_to_every_reader_and_comes_back_as_it_was(record: dict[str, str]) -> None:
    written = json_line(record).decode()
    # str.splitlines breaks at more characters than any other reader of lines.
    assert len(written.splitlines()) == 1
    assert json.loads(written) == record
