"""The JSON object that a row becomes, per shape: chat messages, prompt and completion, chosen and rejected.

Two kinds of tasks need two readings. Where the examples are pairs of replies, each labelled in both orders, a
preference is the pair itself: the better reply against the other, under the prompt that both answer; the words of the
judging task are no part of it. Elsewhere the two "replies" are labels: the one found against the most probable other
one, which teaches a classifier to keep them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from icm_api.errors import DataError
from icm_api.export.rows import LabelledData, spoken
from icm_api.export.units import Unit

Record: TypeAlias = dict[str, Any]
Maker: TypeAlias = Callable[[LabelledData, Unit], Record]


def chat_record(data: LabelledData, unit: Unit) -> Record:
    """`messages`: the instruction as system message where there is one, the question, and the label as written.

    The label stands without the space that sets it apart in running text: a chat template adds its own.
    """
    row = data.row(unit.id)
    return {"messages": [*_asked(data, row.question), _message("assistant", spoken(row.answer))]}


def openai_preference(data: LabelledData, unit: Unit) -> Record:
    """`input`, `preferred_output` and `non_preferred_output`, each output one message of the assistant."""
    preference = _preference(data, unit)
    if not preference.messages:
        raise DataError(f"pair {unit.id!r} has no prompt, which this format needs; --to trl-reward needs none")
    return {
        "input": {"messages": preference.messages},
        "preferred_output": [_message("assistant", preference.chosen)],
        "non_preferred_output": [_message("assistant", preference.rejected)],
    }


def trl_completion(data: LabelledData, unit: Unit) -> Record:
    """`prompt` and `completion` as plain text, put together as the search put them: what a base model reads."""
    row = data.row(unit.id)
    return {"prompt": _plain(data, row.question), "completion": row.answer}


def trl_preference(data: LabelledData, unit: Unit) -> Record:
    """`prompt`, `chosen` and `rejected`: conversations for pairs of replies, plain text for labels."""
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
        "chosen": [_message("assistant", preference.chosen)],
        "rejected": [_message("assistant", preference.rejected)],
    }


def trl_reward(data: LabelledData, unit: Unit) -> Record:
    """`chosen` and `rejected`, each with the prompt in it: the form that every version of the trainer takes."""
    if not data.replies:
        record = trl_preference(data, unit)
        return {key: record["prompt"] + record[key] for key in ("chosen", "rejected")}
    preference = _preference(data, unit)
    return {
        "chosen": [*preference.messages, _message("assistant", preference.chosen)],
        "rejected": [*preference.messages, _message("assistant", preference.rejected)],
    }


@dataclass(frozen=True, slots=True)
class _Preference:
    """Messages that both answer, none where nothing is shown above the replies; then the two."""

    messages: list[Record]
    chosen: str
    rejected: str


def _preference(data: LabelledData, unit: Unit) -> _Preference:
    if not data.replies:
        row = data.row(unit.id)
        answers = spoken(row.answer), spoken(row.answers[row.runner_up])
        return _Preference(_asked(data, row.question), *answers)
    # The label of the first member says that its first text is the better one.
    fields = data.dataset.get(unit.members[0]).fields
    shown = "\n\n".join(text for name, text in fields.items() if name not in ("first", "second") and text)
    return _Preference([_message("user", shown)] if shown else [], fields["first"], fields["second"])


def _asked(data: LabelledData, question: str) -> list[Record]:
    instruction = data.template.instruction
    return [*([_message("system", instruction)] if instruction else []), _message("user", question)]


def _plain(data: LabelledData, question: str) -> str:
    template = data.template
    return (template.instruction + template.separator if template.instruction else "") + question


def _message(role: str, content: str) -> Record:
    return {"role": role, "content": content}
