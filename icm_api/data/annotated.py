"""A person's answers as the tools that people annotate with give them back: Argilla, Label Studio; or plain rows.

What is read: of Argilla, `dataset.records.to_json(FILE)`, its folder's `records.json`, and rows in which `to_list`
made all keys flat; of Label Studio, the exports JSON, JSON-MIN and CSV. Of several people who answered one example,
the answer of most counts; if there is none, the example is left open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from logging import getLogger
from os import PathLike
from typing import TypeAlias

from icm_api.data.readers import read_rows
from icm_api.data.rows import Row, kind
from icm_api.errors import DataError
from icm_api.wording import count_of

EXAMPLE_ID, QUESTION = "example_id", "label"
"""What both tools call an example's id and the question: in Label Studio "id" is the task's own."""
_FLAT = f"{QUESTION}.responses"
_NO_KEY = ""
"""Ids are read here: a task that two people answered may have two rows."""
_LOG = getLogger(__name__)

_Answers: TypeAlias = tuple[object, Sequence[object]]
"""The id of an example, and what people answered; None for nothing."""


def read_answers(path: str | PathLike[str], id_field: str = "id") -> Iterator[Row]:
    """The rows of a file of answers, those of a tool as rows with the keys "id" and "label".

    Args:
        path: of the file.
        id_field: key of the ids of plain rows.

    Raises:
        DataError: the file cannot be read or has no rows, or a row is bad.
    """
    first = next(iter(read_rows(path, _NO_KEY)))
    if _answers(first) is None:
        yield from read_rows(path, id_field)
        return
    yield from _agreed(read_rows(path, _NO_KEY))


def _agreed(rows: Iterable[Row]) -> Iterator[Row]:
    """One row an example, with what most people answered."""
    given: dict[str, tuple[Row, list[str]]] = {}
    for row in rows:
        found = _answers(row)
        if found is None:
            raise row.error(
                f"the {row.unit} is none of an annotation tool, as those before it are: it has {[*row.values]}"
            )
        key, values = found
        if isinstance(key, bool) or not isinstance(key, str | int) or not str(key):
            raise row.error(f"the id of its example is {kind(key)}")
        answered = given.setdefault(str(key), (row, []))[1]
        answered += [_label(row, value) for value in values if value is not None]
    split = 0
    for key, (row, labels) in given.items():
        most = Counter(labels).most_common(2)
        tied = len(most) == 2 and most[0][1] == most[1][1]
        split += tied
        yield Row(row.path, row.line, key, {"id": key, QUESTION: most[0][0] if most and not tied else None}, row.unit)
    if split:
        told = count_of(split, "example is", "examples are")
        _LOG.warning("%s left open, as people answered it differently and no answer leads", told)


def _answers(row: Row) -> _Answers | None:
    """What a row of a tool says; None if it is no such row."""
    values = row.values
    data, responses = values.get("data"), values.get("responses")
    if isinstance(data, Mapping) and EXAMPLE_ID in data and "annotations" in values:
        return data[EXAMPLE_ID], [*_annotated(row, values["annotations"])]
    if {EXAMPLE_ID, "annotation_id"} <= values.keys():
        return values[EXAMPLE_ID], [values.get(QUESTION) or None]
    if isinstance(values.get("fields"), Mapping) and "responses" in values:
        if isinstance(responses, Mapping) and responses and QUESTION not in responses:
            raise _other_question(row, map(str, responses))
        answers = responses.get(QUESTION, ()) if isinstance(responses, Mapping) else ()
        return values.get("id"), [*_responded(row, answers)]
    if _FLAT in values:
        answers, states = values[_FLAT] or (), values.get(f"{_FLAT}.status") or ()
        if not isinstance(answers, list | tuple) or not isinstance(states, list | tuple):
            raise row.error(f"{_FLAT!r} is {kind(answers)}; it must be a list")
        states = [*states, *[None] * (len(answers) - len(states))]
        return values.get("id"), [
            answer for answer, state in zip(answers, states, strict=False) if state in (None, "submitted")
        ]
    return None


def _annotated(row: Row, annotations: object) -> Iterator[object]:
    """The answers of a Label Studio task."""
    if not isinstance(annotations, list):
        raise row.error(f"'annotations' is {kind(annotations)}; it must be a list")
    for each in annotations:
        result = each.get("result") if isinstance(each, Mapping) else None
        if not isinstance(result, list):
            raise row.error("an annotation has no 'result': export the project as JSON, with annotations as they are")
        if each.get("was_cancelled"):
            continue
        parts = [part for part in result if isinstance(part, Mapping)]
        names = {str(part.get("from_name")) for part in parts}
        if names and QUESTION not in names:
            raise _other_question(row, names)
        for part in parts:
            if part.get("from_name") == QUESTION:
                value = part.get("value")
                yield value.get("choices") if isinstance(value, Mapping) else None


def _responded(row: Row, answers: object) -> Iterator[object]:
    """The answers of an Argilla record."""
    if not isinstance(answers, list | tuple):
        raise row.error(f"'responses' of {QUESTION!r} is {kind(answers)}; it must be a list")
    for each in answers:
        if not isinstance(each, Mapping):
            raise row.error(f"a response is {kind(each)}; it must be an object with a 'value'")
        if each.get("status") in (None, "submitted"):
            yield each.get("value")


def _other_question(row: Row, names: Iterable[str]) -> DataError:
    return row.error(
        f"answers {', '.join(map(repr, sorted(names)))}, and no {QUESTION!r}, as the export calls its question"
    )


def _label(row: Row, value: object) -> str:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise row.error(f"the answer to {QUESTION!r} is {kind(value)}; it must be one label")
    return value
