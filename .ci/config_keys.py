"""Makes the page of the site that lists every key of a configuration, from the schema and its docstrings alone."""

from __future__ import annotations

import datetime
import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from icm_api.config import Config

HEAD = """# Every key of a configuration

A configuration is a TOML file. Flags win over the environment (`ICM_SEARCH__STEPS=200` is `steps` of `[search]`), the
environment over the file, and the file over the defaults. An unknown key is an error that names the nearest valid one.
API keys have no place here: they come from the environment alone.
"""
PLAIN = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    datetime.date: "date",
    datetime.datetime: "date and time",
    Any: "any value",
}
BOUNDS = (
    (annotated_types.Gt, "above"),
    (annotated_types.Ge, "from"),
    (annotated_types.Lt, "below"),
    (annotated_types.Le, "to"),
)
ENTRY = re.compile(r"(\w+(?:, \w+)*): (.+)")


def keys_page(config: type[BaseModel] = Config) -> str:
    """The page, as Markdown: per table of the configuration, each key with its type, default and meaning.

    Raises:
        ValueError: a key is not described in the docstring of its section.
    """
    parts = [HEAD]
    for name, field in config.model_fields.items():
        sections = list(_sections(field.annotation))
        for section in sections:
            kind = section.model_fields.get("kind") if len(sections) > 1 else None
            title = f"[[{name}]]`, `kind = {_shown(get_args(kind.annotation)[0])}" if kind else f"[{name}]"
            parts.append(f"## `{title}`\n\n{_summary(section)}\n\n{_table(name, section)}")
    return "\n".join(parts)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field's annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _summary(section: type[BaseModel]) -> str:
    text = inspect.cleandoc(section.__doc__ or "").partition("\nAttributes:")[0].strip()
    # The heading already names the table.
    text = re.sub(r"^`\[\w+\]`: ", "", text)
    return text[:1].upper() + text[1:]


def _table(name: str, section: type[BaseModel]) -> str:
    meanings = _meanings(section)
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in section.model_fields.items():
        if key == "kind":
            continue
        if key not in meanings:
            raise ValueError(f"[{name}] {key}: the docstring of {section.__name__} does not say what it means")
        cells = (f"`{key}`", _value(field), _default(field), meanings[key])
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _meanings(section: type[BaseModel]) -> Mapping[str, str]:
    """What the Attributes of a section and of those it is derived from say of each key."""
    found: dict[str, str] = {}
    for each in reversed(section.__mro__):
        lines = inspect.cleandoc(each.__doc__ or "").partition("\nAttributes:\n")[2].splitlines()
        keys: tuple[str, ...] = ()
        for line in lines:
            entry = ENTRY.fullmatch(line.strip()) if line.startswith("    ") and line[4:5].strip() else None
            if entry:
                keys = tuple(entry[1].split(", "))
                found |= dict.fromkeys(keys, entry[2])
            elif line.startswith("        "):
                found |= {key: f"{found[key]} {line.strip()}" for key in keys}
            else:
                break
    return found


def _value(field: FieldInfo) -> str:
    """What may be given: the type in words, and its bounds."""
    bounds = [
        f"{word} {getattr(mark, type(mark).__name__.lower()):g}"
        for sort, word in BOUNDS
        for mark in field.metadata
        if isinstance(mark, sort)
    ]
    return " ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{_shown(value)}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(each) for each in inner if each is not type(None))
    if origin is Annotated:
        return _type(inner[0])
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of {_type(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"table with the keys of `[{annotation.__name__.lower()}]`"
    return PLAIN[annotation]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    return "" if value is None or value == {} else f"`{_shown(value)}`"


def _shown(value: Any) -> str:
    """A value as TOML has it."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
