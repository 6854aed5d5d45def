"""Labels for the tools that people annotate with: records of Argilla, tasks of Label Studio, each with its form.

Labels found go along as suggestions (Argilla) or predictions (Label Studio), with their probability and the model's
name, unless the person shall not see them. Answers come back through `icm_api.data.annotated`. Formats as of November
2026: argilla 2.8, `Dataset.from_disk` (https://docs.argilla.io/latest/how_to_guides/import_export/), and Label Studio's
task format (https://labelstud.io/guide/tasks and /guide/predictions).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO
from xml.sax.saxutils import quoteattr

from icm_api.data.annotated import EXAMPLE_ID, QUESTION
from icm_api.export.card import shown_model
from icm_api.export.rows import ExportRow, LabelledData
from icm_api.export.units import Unit

RECORDS, TASKS, LABELING = "records.json", "tasks.json", "config.xml"
"""Names in the folder: Argilla's records; Label Studio's tasks, and its labelling form."""
ARGILLA_FOLDER = ".argilla"
SETTINGS, DATASET = f"{ARGILLA_FOLDER}/settings.json", f"{ARGILLA_FOLDER}/dataset.json"
_NAMELESS: Mapping[str, None] = {"id": None, "inserted_at": None, "updated_at": None}
_AGENT = re.compile(r"[^\w\-:./ ]", re.ASCII)
"""What Argilla takes in no name of an agent."""
_MOST_AGENT = 200
_DIGITS = 6


def argilla_records(data: LabelledData, units: Iterable[Unit], *, blind: bool) -> Iterator[Mapping[str, Any]]:
    """A record for each example, as Argilla's `Record.from_dict` reads it.

    Args:
        data: the labels.
        units: the examples.
        blind: suggest nothing.
    """
    names, agent = slugs(data), _agent(data)
    for row in (data.row(unit.id) for unit in units):
        suggestion = {"value": row.label, "score": _sure(row), "agent": agent, "type": _kind(row)}
        yield {
            "id": row.id,
            "fields": {names[key]: text for key, text in row.fields.items() if text},
            "metadata": {} if blind else {"confidence": _sure(row)},
            "suggestions": {} if blind else {QUESTION: suggestion},
            "responses": {},
            "vectors": {},
            "status": "pending",
            "_server_id": None,
        }


def argilla_settings(data: LabelledData, units: Sequence[Unit], *, blind: bool) -> Mapping[str, Any]:
    """The form in which Argilla shows the records: their texts, and one question with the labels.

    Args:
        data: the labels.
        units: the examples.
        blind: show no number of the model.
    """
    rows = [data.dataset.get(unit.id).fields for unit in units]
    fields = [
        {
            **_NAMELESS,
            "name": name,
            "title": key,
            "description": None,
            "required": all(row.get(key) for row in rows),
            "settings": {"type": "text", "use_markdown": False},
            "type": "text",
            "dataset_id": None,
        }
        for key, name in slugs(data).items()
    ]
    if not any(field["required"] for field in fields):
        # Argilla wants one at least, and every example has some text.
        fields[0]["required"] = True
    options = [{"value": label, "text": data.verbalizer.written(label).strip()} for label in data.verbalizer.labels]
    question = {
        **_NAMELESS,
        "name": QUESTION,
        "title": "Label",
        "description": _asked(data) or None,
        "required": True,
        "settings": {"type": "label_selection", "options": options, "visible_options": None},
        "type": "label_selection",
        "dataset_id": None,
    }
    confidence = {
        **_NAMELESS,
        "name": "confidence",
        "title": "confidence",
        "settings": {"type": "float", "min": None, "max": None, "visible_for_annotators": True},
        "visible_for_annotators": True,
        "dataset_id": None,
    }
    return {
        "guidelines": data.template.instruction or None,
        "fields": fields,
        "questions": [question],
        "metadata": [] if blind else [confidence],
        "vectors": [],
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "mapping": None,
    }


def argilla_dataset() -> Mapping[str, Any]:
    """What Argilla keeps of a data set beside its form and its records."""
    return {"name": "icm-labels", "status": "draft", "guidelines": None, "allow_extra_metadata": False}


def label_studio_tasks(data: LabelledData, units: Iterable[Unit], *, blind: bool) -> Iterator[Mapping[str, Any]]:
    """A task for each example.

    Args:
        data: the labels.
        units: the examples.
        blind: predict nothing.
    """
    names, agent = slugs(data), _agent(data)
    shown = next(iter(names.values()))
    for row in (data.row(unit.id) for unit in units):
        answer = {
            "from_name": QUESTION,
            "to_name": shown,
            "type": "choices",
            "value": {"choices": [row.label]},
        }
        prediction = {"model_version": agent, "score": _sure(row), "result": [answer]}
        # Every text that the form shows has to be there.
        texts = {name: row.fields.get(key, "") for key, name in names.items()}
        yield {"data": {EXAMPLE_ID: row.id, **texts}, "predictions": [] if blind else [prediction]}


def label_studio_form(data: LabelledData) -> str:
    """The labelling form of a Label Studio project: the texts with their names, and the labels to choose from.

    Args:
        data: the labels.
    """
    names = slugs(data)
    lines = ["<View>"]
    if said := "\n\n".join(filter(None, (data.template.instruction, _asked(data)))):
        lines.append(f"  <Header value={_attribute(said)}/>")
    for key, name in names.items():
        lines += [f'  <Header value={_attribute(key)} size="5"/>', f'  <Text name="{name}" value="${name}"/>']
    lines.append(f'  <Choices name="{QUESTION}" toName="{next(iter(names.values()))}" choice="single" required="true">')
    lines += [f"    <Choice value={quoteattr(label)}/>" for label in data.verbalizer.labels]
    return "\n".join([*lines, "  </Choices>", "</View>"]) + "\n"


def slugs(data: LabelledData) -> dict[str, str]:
    """The names of the texts as both tools take them: small letters, digits and underscores, each once.

    Args:
        data: the labels; texts that the task does not show are shown too.
    """
    keys = dict.fromkeys(key for example in data.dataset for key in example.fields)
    found: dict[str, str] = {}
    taken = {QUESTION, EXAMPLE_ID, "id", "confidence"}
    for key in keys:
        plain = re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_") or "text"
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name)
        found[key] = name
    return found


def write_list(stream: BinaryIO, items: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON list one item a line, none of them held.

    Args:
        stream: to write to.
        items: plain values, ready for JSON.
    """
    before = b"[\n"
    for item in items:
        stream.write(before + json.dumps(item, ensure_ascii=False, allow_nan=False).encode())
        before = b",\n"
    stream.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def _agent(data: LabelledData) -> str:
    return _AGENT.sub("_", shown_model(data.model))[:_MOST_AGENT] or "icm"


def _sure(row: ExportRow) -> float:
    return round(row.probabilities[row.label], _DIGITS)


def _kind(row: ExportRow) -> str:
    return "human" if row.fixed else "model"


def _asked(data: LabelledData) -> str:
    """What is asked behind the texts, such as "The more helpful reply is"."""
    return re.split(r"\{[^{}]*\}", data.template.template)[-1].strip()


def _attribute(text: str) -> str:
    """Text as an attribute of XML, on one line, without what XML does not allow."""
    allowed = "".join(each if each.isprintable() else " " for each in text)
    # What begins with a dollar names a text of the task.
    return quoteattr(f" {allowed}" if allowed.startswith("$") else allowed)
