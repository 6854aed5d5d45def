"""Reads data sets with the Hugging Face package `datasets`: from the hub, or a local folder or file of its formats.

The package is imported when it is first needed, and only here. It alone decides what is downloaded and kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icm_api.datasets.records import Record
from icm_api.errors import ConfigError, DataError

HUB = "hub:"
"""How the name of a source begins that is read with the package `datasets`."""

_BUILDERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".arrow": "arrow"}


def hub_records(source: str, *, name: str | None = None, split: str = "train") -> Iterator[Record]:
    """The rows of a split, in order.

    Args:
        source: "hub:OWNER/NAME", or "hub:" and the path of a local folder or file.
        name: the configuration of the data set, where it has several.
        split: which split; a local file has only "train".

    Raises:
        ConfigError: the package `datasets` is not installed.
        DataError: it cannot load the data set or the split, or there are no rows.
    """
    path = source.removeprefix(HUB)
    if not path:
        raise ConfigError(f"{source!r} names no data set; write hub:OWNER/NAME")
    rows = _loaded(source, path, name, split)
    at = 0
    for at, values in enumerate(rows, start=1):
        yield Record(source, at, values, at, "row")
    if not at:
        raise DataError(f"{source}: split {split!r} has no rows")


def _loaded(source: str, path: str, name: str | None, split: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"{source}: needs the package datasets; install it with: pip install 'icm-api[hub]'"
        ) from error
    local = Path(path).expanduser()
    builder = _BUILDERS.get(local.suffix.lower()) if local.is_file() else None
    try:
        if builder is not None:
            return datasets.load_dataset(builder, data_files=str(local), split=split)
        return datasets.load_dataset(path, name, split=split)
    # The package raises errors of many other packages: of pyarrow, of the hub's client, of fsspec.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{source}: cannot be loaded (name {name!r}, split {split!r}): {reason}") from error
