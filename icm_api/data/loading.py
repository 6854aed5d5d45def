"""The way from a source of data to its examples, gold labels and fingerprint, whatever its format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from logging import getLogger
from typing import Any, TypeVar

from icm_api.data.columns import DataSource
from icm_api.data.labels import Gold
from icm_api.data.left_out import LeftOut, Note
from icm_api.data.own_text import without_thoughts
from icm_api.data.pairs import CHATS, rank
from icm_api.data.readers import read_rows
from icm_api.data.registry import find_format
from icm_api.data.rows import EmptyTextError, Row
from icm_api.errors import ConfigError, DataError
from icm_api.types import Dataset, Example, Label

_T = TypeVar("_T")
_LOG = getLogger(__name__)


def load_examples(source: DataSource) -> Dataset:
    """The unlabelled examples of a source; gold labels are nowhere in them.

    Args:
        source: where they are, and what their rows mean.

    Returns:
        The examples in the order of the source, at least one and at most `source.limit`.

    Raises:
        DataError: the source cannot be read, or a row is bad (which row, and why).
        ConfigError: the format is unknown, the keys are unusable, the limit is smaller than every group, or a package
            is missing.

    Example:
        >>> load_examples(DataSource("claims.csv"))
        Traceback (most recent call last):
        icm_api.errors.DataError: claims.csv: no such file; check the path
    """
    left_out = LeftOut()
    examples = [*stream_examples(source, left_out)]
    left_out.say()
    return as_dataset(source, examples)


def load_few(source: DataSource, most: int) -> Dataset | None:
    """The same, if the source has few examples; they are read once.

    Args:
        source: where they are, and what their rows mean.
        most: how many there may be, before `source.limit`.

    Returns:
        The examples as `load_examples` gives them, or None if there are more; then nothing after them was read.

    Raises:
        DataError, ConfigError: as for `load_examples`.
    """
    left_out = LeftOut()
    examples = [*islice(stream_examples(source, left_out), most + 1)]
    if len(examples) > most:
        return None
    left_out.say()
    return as_dataset(source, examples)


def as_dataset(source: DataSource, examples: Sequence[Example]) -> Dataset:
    """All examples of a source as the data set that `load_examples` makes of them.

    Args:
        source: where they are from; says the format and the limit.
        examples: all that `stream_examples` yields.

    Raises:
        DataError: there is none.
        ConfigError: the limit is smaller than every group.
    """
    if not examples:
        raise DataError(f"{source.path}: there are rows, but none yields an example; check the format and the texts")
    return _sampled(find_format(source.format).grouped(examples), source.limit, source.seed)


def stream_examples(source: DataSource, left_out: LeftOut | None = None) -> Iterator[Example]:
    """The unlabelled examples of a source one at a time, whatever its limit; none of them is held.

    Args:
        source: where they are, and what their rows mean.
        left_out: notes what is left out, which is else not said.

    Yields:
        Examples in the order of the source, in the groups of their own rows.

    Raises:
        DataError, ConfigError: as for `load_examples`.
    """
    left_out = LeftOut() if left_out is None else left_out
    yield from _going_on(_examples(source, left_out.note), _rows(source), _skipping(source, left_out.rows))


def load_gold_labels(
    source: DataSource,
    *,
    label_field: str | None = None,
    labels: Sequence[Label] | None = None,
    meanings: Mapping[str, str] | None = None,
) -> Gold:
    """The gold labels of all examples of a source that have one, whatever its limit.

    Args:
        source: the source of the examples, or another source with the same ids.
        label_field: the key of the label, if the format has one ("rows", "preferences" with a label column).
        labels: the label set, if labels outside it are an error ("rows").
        meanings: what the file writes -> the label that it means, or "" for none, e.g. {"0": "False", "1": "True"};
            case and outer space make no difference. Of "preferences": "A" (the row's first reply), "B" or "tie".

    Returns:
        Labels by id; examples whose label is null have none.

    Raises:
        DataError: the source cannot be read, or a row is bad or has no usable label (which row, and why).
        ConfigError: the format is unknown, the keys are unusable, or a package is missing.
    """
    rows, form = _with_ids(source, _rows(source)), find_format(source.format)
    if meanings:
        if not form.label_keys:
            raise ConfigError(f'format = "{form.name}" finds gold labels by itself: there is none to map')
        rows = _meant(rows, form.label_keys if label_field is None else (label_field,), meanings)
    read = _going_on(lambda some: form.gold(some, source, label_field, labels), rows, _skipping(source, []))
    return Gold(dict(read))


def read_tolerantly(source: DataSource, bad: Callable[[DataError], None], note: Note) -> Iterator[Example]:
    """The examples of all rows that are good, whatever the source's limit.

    Args:
        source: where they are, and what their rows mean.
        bad: gets the error of each other row.
        note: gets what else is left out.

    Raises:
        DataError: the source cannot be read at all.
        ConfigError: as for `load_examples`.
    """

    def listed(error: DataError) -> bool:
        bad(error)
        return True

    yield from _going_on(_examples(source, note), _rows(source, bad), listed)


def fingerprint(examples: Iterable[Example]) -> str:
    """A hash that changes if an example does: for data that no file holds.

    Args:
        examples: in order.

    Returns:
        SHA-256 in 64 hexadecimal digits.

    Example:
        >>> one, two = (Dataset([Example("a", {"text": text})]) for text in ("1+1=2", "1+1=3"))
        >>> len(fingerprint(one)), fingerprint(one) == fingerprint(two)
        (64, False)
    """
    state = sha256()
    for item in examples:
        # Messages say nothing that the texts don't.
        metadata = {key: value for key, value in item.metadata.items() if key != CHATS}
        values = [item.id, dict(item.fields), item.group, item.answer, metadata]
        # A column may hold what JSON can't, such as a date.
        state.update(json.dumps(values, sort_keys=True, default=str).encode() + b"\n")
    return state.hexdigest()


def _rows(source: DataSource, bad: Callable[[DataError], None] | None = None) -> Iterator[Row]:
    rows = read_rows(source.path, source.id, name=source.name, split=source.split, delimiter=source.delimiter, bad=bad)
    return (row._replace(values=_thoughtless(row.values)) for row in rows) if source.drop_thoughts else rows


def _thoughtless(value: Any) -> Any:
    """A value of a row with every text in it, such as those of messages, without thoughts."""
    if isinstance(value, str):
        shown = without_thoughts(value)
        return value if shown == value else shown.strip()
    if isinstance(value, Mapping):
        return {key: _thoughtless(each) for key, each in value.items()}
    return [_thoughtless(each) for each in value] if isinstance(value, list | tuple) else value


def _examples(source: DataSource, note: Note) -> Callable[[Iterable[Row]], Iterator[Example]]:
    form = find_format(source.format)
    return lambda rows: form.examples(_named(source, rows), source, note)


def _named(source: DataSource, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, which have the key of the ids if it was stated: gold labels would not find rows by their numbers."""
    for row in rows:
        if source.id != "id" and source.id not in row.values:
            raise row.error(f"has no {source.id!r}, stated as the key of the ids; it has the keys {list(row.values)}")
        yield row


def _going_on(
    read: Callable[[Iterable[Row]], Iterator[_T]], rows: Iterable[Row], after: Callable[[DataError], bool]
) -> Iterator[_T]:
    """What is read of the rows; after a bad one it goes on with the next, if `after` says so of its error."""
    left = _Rows(iter(rows))
    while True:
        try:
            yield from read(left)
            return
        except DataError as error:
            # What fails by itself has no next row.
            if left.failed or not after(error):
                raise


class _Rows(Iterator[Row]):
    """Rows, and whether reading them failed."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.failed = False

    def __next__(self) -> Row:
        try:
            return next(self._rows)
        except DataError:
            self.failed = True
            raise


def _skipping(source: DataSource, empty: list[DataError]) -> Callable[[DataError], bool]:
    """Whether a row is left out for its error, which is then noted."""

    def skip(error: DataError) -> bool:
        skipped = is_skipped(error, source)
        if skipped:
            empty.append(error)
        return skipped

    return skip


def is_skipped(error: DataError, source: DataSource) -> bool:
    """Whether a row is left out for its error, as it has no text and the source says so.

    Args:
        error: of the row.
        source: of the row.
    """
    return source.on_empty == "skip" and isinstance(error, EmptyTextError)


def _meant(rows: Iterable[Row], keys: Sequence[str], meanings: Mapping[str, str]) -> Iterator[Row]:
    """The rows with what is meant in place of what is written under the keys of labels."""
    known = {written.strip().casefold(): meant for written, meant in meanings.items()}
    unseen = {written.strip().casefold(): written for written in meanings}
    for row in rows:
        changed = {
            key: known[text] or None
            for key in keys
            if (text := _label_text(row.values.get(key))) is not None and text in known
        }
        for key in changed:
            unseen.pop(_label_text(row.values[key]) or "", None)
        yield row._replace(values={**row.values, **changed})
    if unseen:
        _LOG.warning(
            "no gold label is written %s: that part of the map changed nothing", ", ".join(map(repr, unseen.values()))
        )


def _label_text(value: object) -> str | None:
    """A label as the command line can write it: 1.0 is 1, true is TRUE, an empty cell is nothing."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip().casefold() if isinstance(value, str | int | float) else None


def _with_ids(source: DataSource, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, unless their ids seem to be under another key: row numbers instead could match wrong examples."""
    for row in rows:
        if source.id not in row.values and "id" in row.values:
            raise row.error(
                f"has no {source.id!r}, by which the examples are named, but has 'id'; name the key of its ids: "
                "--id-field id"
            )
        yield row


def _sampled(examples: Iterable[Example], limit: int | None, seed: int) -> Dataset:
    """At most `limit` examples: whole groups at random, as many as fit; the order of the file is kept.

    Groups are taken in an order that depends on the seed and their names alone; a group that no longer fits is passed
    over. An example without a group is a group of its own.

    Example:
        >>> data = [Example(key, {}, group) for key, group in (("a", "p"), ("b", "q"), ("c", "q"), ("d", None))]
        >>> _sampled(data, 3, seed=0).ids, _sampled(data, 3, seed=1).ids
        (('b', 'c', 'd'), ('a', 'b', 'c'))
    """
    data = Dataset(examples)
    if limit is None or len(data) <= limit:
        return data
    sizes = Counter(_group(example) for example in data)
    taken: set[tuple[str, str]] = set()
    left = limit
    for group in sorted(sizes, key=lambda group: rank(f"sample {seed}", *group)):
        if sizes[group] <= left:
            taken.add(group)
            left -= sizes[group]
    if not taken:
        raise ConfigError(f"data.limit is {limit}, but the smallest group has {min(sizes.values())} examples; raise it")
    return Dataset(example for example in data if _group(example) in taken)


def _group(example: Example) -> tuple[str, str]:
    """A name for the example's group; no group is called like the id of an example without a group."""
    return ("id", example.id) if example.group is None else ("group", example.group)
