"""The JSON object that a row becomes, per shape: chat messages, prompt and completion, chosen and rejected.

Two kinds of tasks need two readings. If the examples are pairs of replies, each labelled in both orders, a preference
is the pair itself: the better reply against the other, under the prompt that both answer, with the roles and turns that
the data have; the words of the judging task are no part of it. Else the two "replies" are labels: the label found
against the most probable other label, which teaches a classifier to keep them apart.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import fsum, log
from typing import Any, BinaryIO, TypeAlias

from icm_api.data.pairs import CHATS
from icm_api.errors import DataError
from icm_api.export.rows import LabelledData
from icm_api.export.units import Unit
from icm_api.types import Example

Record: TypeAlias = dict[str, Any]
Maker: TypeAlias = Callable[[LabelledData, Unit], Record]
"""Makes a record of a unit of the labelled data."""
ASSISTANT = "assistant"
_SMALLEST = 1e-6
_BREAKS = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "\x7f\x85\u2028\u2029"})
"""What some readers take for the end of a line, and JSON allows as it is."""


def chat_record(data: LabelledData, unit: Unit) -> Record:
    """`messages`: the instruction as system message if there is one, the question, and the label as written.

    The label has no space in front, which it has in running text: a chat template adds its own.
    """
    row = data.row(unit.id)
    return {"messages": [*_asked(data, row.question), _message("assistant", _spoken(row.answer))]}


def openai_preference(data: LabelledData, unit: Unit) -> Record:
    """`input`, `preferred_output` and `non_preferred_output`, each output one message of the assistant (`one_reply`).

    Raises:
        DataError: a pair of replies has no prompt.
    """
    preference = _preference(data, unit)
    if not preference.messages:
        raise DataError(f"pair {unit.id!r} has no prompt, which this format needs; --to trl-reward needs none")
    return {
        "input": {"messages": preference.messages},
        "preferred_output": preference.chosen,
        "non_preferred_output": preference.rejected,
    }


def trl_completion(data: LabelledData, unit: Unit) -> Record:
    """`prompt` and `completion` as plain text, put together as the search put them: what a base model reads."""
    row = data.row(unit.id)
    return {"prompt": _plain(data, row.question), "completion": row.answer}


def trl_preference(data: LabelledData, unit: Unit) -> Record:
    """`prompt`, `chosen` and `rejected`: conversations for pairs of replies, plain text for labels.

    Raises:
        DataError: a pair of replies has no prompt.
    """
    if not data.replies:
        row = data.row(unit.id)
        return {
            "prompt": _plain(data, row.question),
            "chosen": row.answer,
            "rejected": row.answers[row.runner_up],
        }
    preference = _preference(data, unit)
    if not preference.messages:
        raise DataError(f"pair {unit.id!r} has no prompt, which this format needs; --to trl-reward needs none")
    return {
        "prompt": preference.messages,
        "chosen": preference.chosen,
        "rejected": preference.rejected,
    }


def trl_reward(data: LabelledData, unit: Unit) -> Record:
    """`chosen` and `rejected`, each with the prompt in it: the form that every version of the trainer takes; `margin`.

    The trainer asks the score of what is chosen to be larger by the margin: the log-odds of the label, given all other
    labels. Of a pair it is the mean of both orders. It is 0 if the model leans the other way, and at most about 14.
    """
    if not data.replies:
        record = trl_preference(data, unit)
        texts = {key: record["prompt"] + record[key] for key in ("chosen", "rejected")}
        return {**texts, "margin": _margin(data, unit)}
    preference = _preference(data, unit)
    return {
        "chosen": [*preference.messages, *preference.chosen],
        "rejected": [*preference.messages, *preference.rejected],
        "margin": _margin(data, unit),
    }


def one_reply(example: Example) -> bool:
    """Whether both replies of a pair are one message of the assistant each, and no conversation that goes on.

    Args:
        example: a pair of replies.
    """
    chats = example.metadata.get(CHATS)
    if not isinstance(chats, Mapping):
        return True
    return all([message["role"] for message in chats[part]] == [ASSISTANT] for part in ("first", "second"))


@dataclass(frozen=True, slots=True)
class _Preference:
    """Messages that both answer, none if nothing is shown above the replies; then the two answers, in messages too."""

    messages: list[Record]
    chosen: list[Record]
    rejected: list[Record]


def _preference(data: LabelledData, unit: Unit) -> _Preference:
    if not data.replies:
        row = data.row(unit.id)
        chosen, rejected = (_spoken(answer) for answer in (row.answer, row.answers[row.runner_up]))
        return _Preference(_asked(data, row.question), [_message(ASSISTANT, chosen)], [_message(ASSISTANT, rejected)])
    # The label of the first member says that its first text is the better one.
    example = data.dataset.get(unit.members[0])
    fields, chats = example.fields, example.metadata.get(CHATS)
    if isinstance(chats, Mapping):
        return _Preference(*([dict(message) for message in chats[part]] for part in ("prompt", "first", "second")))
    shown = "\n\n".join(text for name, text in fields.items() if name not in ("first", "second") and text)
    replies = ([_message(ASSISTANT, fields[name])] for name in ("first", "second"))
    return _Preference([_message("user", shown)] if shown else [], *replies)


def _margin(data: LabelledData, unit: Unit) -> float:
    """Mean over the examples of a row of log p of the label, less that of the most probable other one; nats."""
    odds = []
    for member in unit.members:
        line, row = data.line(member), data.row(member)
        # A probability that rounding has made 0 is not.
        one, other = (log(max(line.probabilities[label], _SMALLEST)) for label in (row.label, row.runner_up))
        odds.append(one - other)
    return round(max(0.0, fsum(odds) / len(odds)), 4)


def _asked(data: LabelledData, question: str) -> list[Record]:
    instruction = data.template.instruction
    return [*([_message("system", instruction)] if instruction else []), _message("user", question)]


def _plain(data: LabelledData, question: str) -> str:
    template = data.template
    return (template.instruction + template.separator if template.instruction else "") + question


def _message(role: str, content: str) -> Record:
    return {"role": role, "content": content}


def _spoken(answer: str) -> str:
    """A label as a chat message: without the space that sets it apart in running text."""
    return answer.strip()


def write_jsonl(stream: BinaryIO, records: Iterable[Mapping[str, Any]], *, mark: bool = False) -> None:
    """Write one object a line, in UTF-8, one by one: the memory used does not grow with the number of records.

    Args:
        stream: to write to.
        records: the objects.
        mark: begin with a byte-order mark.

    Raises:
        UnicodeEncodeError: a text holds half a surrogate pair.
    """
    if mark:
        stream.write(codecs.BOM_UTF8)
    for record in records:
        stream.write(json_line(record))


def json_line(record: Mapping[str, Any]) -> bytes:
    r"""A record as a line to every reader, whatever characters it takes for the end of a line.

    Args:
        record: plain values, ready for JSON.

    Example:
        >>> json_line({"text": "naïve\u2028\n<b>"}).decode()
        '{"text": "naïve\\u2028\\n<b>"}\n'
    """
    return (json.dumps(record, ensure_ascii=False, allow_nan=False).translate(_BREAKS) + "\n").encode()
