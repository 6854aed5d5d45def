"""Reads examples from JSON Lines files, one object a line, and says exactly which line is bad and why.

It stops at the first bad line and mends nothing. Gold labels are never loaded here, not even as metadata:
`icm_api.datasets.gold` reads them. Other formats and tasks: `icm_api.datasets.open`.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from icm_api.datasets.columns import Columns, column_examples
from icm_api.datasets.readers import read_json_lines
from icm_api.types import Dataset


def load_jsonl(
    path: str | PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    id_field: str = "id",
    group_field: str = "group",
    answer_field: str = "answer",
) -> Dataset:
    """Load unlabelled examples from a JSON Lines file in UTF-8.

    The keys "label" and "gold" are left out of the examples. Where gold labels stand under another key, name
    the text fields in `fields`, so that the key is at least never shown to the model. A null id, group or
    answer counts as absent; blank lines are skipped.

    Args:
        path: the file.
        fields: the keys of the texts, each required on every line; other keys go into the metadata. By
            default every key with a string is a text, apart from the three below.
        id_field: the key of the ids, strings or integers, on every line or on none. Where there are none,
            an example's id is its line number, "1" for the first line.
        group_field: the key of the group, a string or a number.
        answer_field: the key of the answer, a string or a number; equal numbers become equal texts
            (3 and 3.0 are "3").

    Returns:
        The examples in file order, at least one.

    Raises:
        DataError: the file cannot be read or has no example, or a line is bad (which one, and why).
        ConfigError: `fields` is empty or a single string, or a key of gold labels is asked for.
    """
    columns = Columns(fields, id_field, group_field, answer_field)
    return Dataset(column_examples(read_json_lines(path, id_field), columns))
