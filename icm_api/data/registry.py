"""The formats of data, one row each.

A new format is one file with its loaders and one row of `FORMATS`; nothing else knows any format by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from icm_api.data.columns import DataSource, column_examples
from icm_api.data.gsm8k import gsm8k_examples, gsm8k_gold
from icm_api.data.labels import column_gold
from icm_api.data.left_out import Note
from icm_api.data.preferences import grouped_by_prompt, preference_examples, preference_gold
from icm_api.data.rows import Row
from icm_api.data.truthfulqa import truthfulqa_examples, truthfulqa_gold, truthfulqa_pair_examples, truthfulqa_pair_gold
from icm_api.data.winners import PREFERRED_FIELDS
from icm_api.errors import ConfigError
from icm_api.types import Example, Label
from icm_api.types.records import GOLD_FIELDS


@dataclass(frozen=True, slots=True)
class Format:
    """A known format of data: how its rows become examples and gold labels, and what others need to know of it.

    Attributes:
        name: as `DataSource.format` and `[data] format` give it.
        examples: from rows, their source, and what notes parts of rows that are left out, to the unlabelled examples.
        gold: from rows, their source, the key of the label (None for the format's own) and the label set (None if any
            label will do) to ids and gold labels.
        keys: those of "fields", "group" and "answer" with which `[data]` may name columns; "id" is always one.
        label_keys: keys under which a row may have its gold label, if it has one of its own.
        grouped: what groups examples that no split may part, once all are known.
        pairs: whether its examples are pairs of texts in both orders, which an export can write as preferences.
    """

    name: str
    examples: Callable[[Iterable[Row], DataSource, Note], Iterator[Example]]
    gold: Callable[[Iterable[Row], DataSource, str | None, Sequence[Label] | None], Iterator[tuple[str, Label]]]
    keys: tuple[str, ...] = ()
    label_keys: tuple[str, ...] = ()
    grouped: Callable[[Sequence[Example]], list[Example]] = list
    pairs: bool = False

    @property
    def by_columns(self) -> bool:
        """Whether the user says what each column means, so that the texts are by default those of the prompt."""
        return "group" in self.keys


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        each.name: each
        for each in (
            Format(
                "rows",
                lambda rows, of, note: column_examples(rows, of),
                lambda rows, of, label_field, labels: column_gold(rows, label_field, labels),
                keys=("fields", "group", "answer"),
                label_keys=GOLD_FIELDS,
            ),
            Format("gsm8k", lambda rows, of, note: gsm8k_examples(rows, note), lambda rows, *_: gsm8k_gold(rows)),
            Format("truthfulqa", lambda rows, *_: truthfulqa_examples(rows), lambda rows, *_: truthfulqa_gold(rows)),
            Format(
                "truthfulqa-pairs",
                lambda rows, *_: truthfulqa_pair_examples(rows),
                lambda rows, *_: truthfulqa_pair_gold(rows),
                pairs=True,
            ),
            Format(
                "preferences",
                lambda rows, of, note: preference_examples(rows, of.fields, note),
                lambda rows, of, label_field, labels: preference_gold(
                    rows, of.fields, label_field, skip_empty=of.on_empty == "skip"
                ),
                keys=("fields",),
                label_keys=PREFERRED_FIELDS,
                grouped=grouped_by_prompt,
                pairs=True,
            ),
        )
    }
)
"""Every format by its name."""


def format_names() -> tuple[str, ...]:
    """The names of all formats."""
    return tuple(FORMATS)


def find_format(name: str) -> Format:
    """The format of a name.

    Args:
        name: one of `format_names()`.

    Raises:
        ConfigError: no format has the name.

    Example:
        >>> find_format("preferences").pairs
        True
    """
    if name not in FORMATS:
        raise ConfigError(f"no format {name!r}; there are {', '.join(format_names())}")
    return FORMATS[name]
