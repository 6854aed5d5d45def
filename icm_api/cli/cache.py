"""The verb `cache`: look after the answers of models that are kept, on disk or on a Redis server.

stats counts them, verify checks every checksum, repair deletes what is damaged, prune deletes what is told, export
writes them as JSON lines. Nothing is ever deleted unasked: every entry was paid for.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections import defaultdict
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

from icm_api.errors import ConfigError, StorageError
from icm_api.model.client.entries import Entry
from icm_api.model.client.keeping import AnswerCache
from icm_api.model.client.opening import open_cache
from icm_api.model.client.salvage import is_malformed, salvage
from icm_api.runs import default_cache_folder
from icm_api.types import Usage

_DAY = 86_400


def _place(arguments: Namespace) -> Path | str:
    place: Path | str = arguments.folder or default_cache_folder()
    if isinstance(place, Path) and not place.is_dir():
        raise ConfigError(f"{place}: no such folder; name the one of [cache] folder in the configuration")
    return place


def _open(arguments: Namespace) -> closing[AnswerCache]:
    return closing(open_cache(_place(arguments)))


@dataclass(slots=True)
class _Tally:
    entries: int = 0
    usage: Usage = field(default_factory=Usage)
    times: tuple[int, int] | None = None

    def add(self, entry: Entry) -> None:
        self.entries += 1
        self.usage += entry.response.usage
        if entry.time is not None:
            low, high = self.times or (entry.time, entry.time)
            self.times = (min(low, entry.time), max(high, entry.time))

    def as_json(self) -> dict[str, Any]:
        oldest, newest = (None, None) if self.times is None else map(_date, self.times)
        return {"entries": self.entries, **asdict(self.usage), "oldest": oldest, "newest": newest}


def stats_verb(arguments: Namespace) -> None:
    """`icm-api cache stats`: count entries and what they cost, by model."""
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    with _open(arguments) as cache:
        where, size = cache.where, cache.size()
        for entry in cache.entries():
            tallies[entry.source].add(entry)
    rows = [{"model": model, **tally.as_json()} for model, tally in sorted(tallies.items())]
    if arguments.json:
        print(json.dumps({"folder": where, "bytes": size, "models": rows}))
        return
    print(f"{sum(tally.entries for tally in tallies.values()):,} entries, {size / 1e6:,.1f} MB in {where}")
    for row in rows:
        print(
            f"{row['model'] or '(model not noted)'}: {row['entries']:,} entries, {row['prompt_tokens']:,} prompt and "
            f"{row['completion_tokens']:,} reply tokens, kept {row['oldest'] or '?'} to {row['newest'] or '?'}"
        )


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def verify_verb(arguments: Namespace) -> None:
    """`icm-api cache verify`: check every entry's checksum. Raises StorageError if one is damaged."""
    with _open(arguments) as cache:
        damaged, total, folder = cache.damaged(), len(cache), cache.where
    if arguments.json:
        print(json.dumps({"entries": total, "damaged": damaged}))
    if damaged:
        raise StorageError(
            f"{len(damaged)} of {total:,} entries in {folder} are damaged, the first is {damaged[0]}; "
            f"`icm-api cache repair {folder}` deletes them, so that they are asked for again"
        )
    if not arguments.json:
        print(f"all {total:,} entries in {folder} are whole")


def repair_verb(arguments: Namespace) -> None:
    """`icm-api cache repair`: delete damaged entries, or save what can be read of a malformed file."""
    folder = _place(arguments)
    if isinstance(folder, Path) and is_malformed(folder):
        saved = salvage(folder)
        print(
            json.dumps({"kept": saved.kept, "aside": str(saved.aside)})
            if arguments.json
            else f"the file was malformed: {saved.kept:,} whole entries are kept, and it is now {saved.aside}"
        )
        return
    with _open(arguments) as cache:
        _print_deleted(arguments, cache.repair(), "damaged entries", cache.where)


def prune_verb(arguments: Namespace) -> None:
    """`icm-api cache prune`: delete entries by age or model."""
    if arguments.older_than is None and arguments.model is None:
        raise ConfigError("cache prune: say what to delete, with --older-than DAYS, --model MODEL, or both")
    before = None if arguments.older_than is None else time() - arguments.older_than * _DAY
    with _open(arguments) as cache:
        chosen = tuple(
            entry.key
            for entry in cache.entries()
            if (arguments.model is None or entry.source == arguments.model)
            and (before is None or (entry.time is not None and entry.time <= before))
        )
        cache.delete(chosen)
        _print_deleted(arguments, chosen, "entries", cache.where)


def _print_deleted(arguments: Namespace, keys: tuple[str, ...], what: str, folder: str) -> None:
    print(json.dumps({"deleted": keys}) if arguments.json else f"{len(keys):,} {what} deleted in {folder}")


def export_verb(arguments: Namespace) -> None:
    """`icm-api cache export`: write all entries as JSON Lines."""
    with _open(arguments) as cache:
        if arguments.to is None:
            for entry in cache.entries():
                print(_line(entry))
            return
        try:
            with arguments.to.open("w", encoding="utf-8") as stream:
                stream.writelines(_line(entry) + "\n" for entry in cache.entries())
        except OSError as error:
            raise StorageError(f"cannot write {arguments.to}: {error.strerror or error}") from error


def _line(entry: Entry) -> str:
    response = entry.response
    return json.dumps(
        {
            "key": entry.key,
            "model": entry.source,
            "time": entry.time,
            "usage": asdict(response.usage),
            "body": response.body,
        }
    )
