"""Rows become examples by the columns that the user names: classification, ratings, claims, anything.

Gold labels are never read here, not even as metadata: `labels` reads them, from the same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from types import MappingProxyType
from typing import Literal

from icm_api.data.readers import read_json_lines
from icm_api.data.rows import Row, kind
from icm_api.errors import ConfigError
from icm_api.types import Dataset, Example
from icm_api.types.records import GOLD_FIELDS


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where examples come from, and what their rows mean. The keys "gold" and "label" never mean anything here.

    Attributes:
        path: a file, or "hub:OWNER/NAME" (see `read_rows`).
        format: the name of a format, one of `format_names()`; "rows" are examples by the columns that the next
            attributes name.
        fields: keys of the texts ("rows"), each required in every row, by default every string under a key that has no
            other meaning; or of the two replies and what is shown with them ("preferences").
        id: key of the ids.
        group: key of the group, a string or a number ("rows").
        answer: key of the answer, a string or a number; equal numbers become equal texts, 3 and 3.0 are "3" ("rows").
        metadata: keys that go into the metadata, by default all others ("rows"). If gold labels are under another key,
            name the keys that constraints need, or none, and the gold labels are never loaded.
        name, split: of a data set of the hub.
        delimiter: what stands between the cells of delimited text; by default it is found.
        limit: the most examples to take, by whole groups; None for all.
        seed: of the choice under a limit.
        on_empty: what to do with a row without a text: stop with an error, or leave it out and say so.
        drop_thoughts: whether what a model only thought (<think> and the like) is taken out of every text.
    """

    path: str
    format: str = "rows"
    fields: Sequence[str] | None = None
    id: str = "id"
    group: str = "group"
    answer: str = "answer"
    metadata: Collection[str] | None = None
    name: str | None = None
    split: str = "train"
    limit: int | None = None
    seed: int = 0
    drop_thoughts: bool = False
    delimiter: str | None = None
    on_empty: Literal["stop", "skip"] = "stop"

    def elsewhere(self, path: str) -> DataSource:
        """The same meaning of rows in another file, which may have another delimiter.

        Args:
            path: of the other file.
        """
        return replace(self, path=path, delimiter=self.delimiter if path == self.path else None)


def column_examples(rows: Iterable[Row], source: DataSource) -> Iterator[Example]:
    """An example for each row.

    Args:
        rows: of any source.
        source: what their keys mean.

    Yields:
        Examples in the order of the rows.

    Raises:
        DataError: a row lacks a text, or has a group or an answer that is neither a string nor a number.
        ConfigError: the fields are empty or a single string, or a key of gold labels is asked for.
    """
    _check_keys(source.fields, (source.id, source.group, source.answer, *(source.metadata or ())))
    claimed = {source.id, source.group, source.answer, *GOLD_FIELDS}
    # A text that also says the group, as a question may, is shown all the same.
    shown = {source.group, source.answer} - {"group", "answer", source.id, *GOLD_FIELDS}
    kept = source.metadata
    for row in rows:
        if source.fields is None:
            texts = _found_texts(row, {k: v for k, v in row.values.items() if k not in claimed or k in shown})
        else:
            texts = _named_texts(row, source.fields)
        beside = row.values.items() if kept is None or kept else ()
        yield Example(
            id=row.id,
            fields=MappingProxyType(texts),
            group=_optional_text(row, source.group),
            answer=_optional_text(row, source.answer),
            metadata=MappingProxyType(
                {k: v for k, v in beside if (kept is None or k in kept) and k not in claimed and k not in texts}
            ),
        )


def load_jsonl(
    path: str | PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    id_field: str = "id",
    group_field: str = "group",
    answer_field: str = "answer",
) -> Dataset:
    """Load unlabelled examples from a JSON Lines file in UTF-8.

    The keys "label" and "gold" are left out of the examples. If gold labels are under another key, name the text
    fields in `fields`, so that the key is at least never shown to the model. A null id, group or answer counts as
    absent; blank lines are skipped.

    Args:
        path: the file.
        fields: the keys of the texts, each required on every line; other keys go into the metadata. By
            default every key with a string is a text, apart from the three below.
        id_field: the key of the ids, strings or integers, on every line or on none. Without ids,
            an example's id is its line number, "1" for the first line.
        group_field: the key of the group, a string or a number.
        answer_field: the key of the answer, a string or a number; equal numbers become equal texts
            (3 and 3.0 are "3").

    Returns:
        The examples in file order, at least one.

    Raises:
        DataError: the file cannot be read or has no example, or a line is bad (which line, and why).
        ConfigError: `fields` is empty or a single string, or a key of gold labels is asked for.
    """
    source = DataSource(fspath(path), fields=fields, id=id_field, group=group_field, answer=answer_field)
    return Dataset(column_examples(read_json_lines(path, id_field), source))


def _check_keys(fields: Sequence[str] | None, others: Sequence[str]) -> None:
    if fields is not None and (isinstance(fields, str) or not fields):
        raise ConfigError(f"fields={fields!r}: give a list of keys, e.g. fields=['text']")
    for key in (*(fields or ()), *others):
        if key in GOLD_FIELDS:
            raise ConfigError(
                f"key {key!r} holds gold labels, which never reach the search; rename it in the file if it "
                "holds none, or read it with load_gold"
            )


def _found_texts(row: Row, rest: Mapping[str, object]) -> dict[str, str]:
    texts = {key: value for key, value in rest.items() if isinstance(value, str)}
    if not texts:
        what = f"no text field: none of the keys {list(row.values)} holds a text for the model"
        raise row.empty(what) if None in rest.values() else row.error(what)
    for key, text in texts.items():
        if not text.strip():
            raise row.empty(f"text field {key!r} is empty; fill it, or name the text fields with fields=[...]")
    return texts


def _named_texts(row: Row, fields: Sequence[str]) -> dict[str, str]:
    texts = {}
    for key in fields:
        if key not in row.values:
            raise row.error(f"text field {key!r} is missing; the {row.unit} has the keys {list(row.values)}")
        value = row.values[key]
        if value is None:
            raise row.empty(f"text field {key!r} is empty (null or no text); fill it, or leave the {row.unit} out")
        if not isinstance(value, str):
            raise row.error(f"text field {key!r} is {kind(value)}; it must be a string")
        if not value.strip():
            raise row.empty(f"text field {key!r} is empty; give it a text, or leave the {row.unit} out")
        texts[key] = value
    return texts


def _optional_text(row: Row, key: str) -> str | None:
    value = row.values.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise row.error(f"{key!r} is {kind(value)}; it must be a string or a number")
    if isinstance(value, str):
        raise row.error(f"{key!r} is empty; leave the key out if there is none")
    # Equal numbers must be equal texts, since constraints compare the texts.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
