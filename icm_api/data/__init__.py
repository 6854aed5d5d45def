"""Files become data: examples a `Dataset`, and gold labels, if there are any, a `Gold`.

Functions of their own read the two, so that gold labels never travel with the examples. Rows come from any file
(`readers`), and a format says what they mean (`registry` knows every format). Nothing here renders a prompt or
computes a score.
"""

from icm_api.data.checking import DataCheck, DataChecking, check_data
from icm_api.data.columns import DataSource, load_jsonl
from icm_api.data.labels import Gold, answered_ids, load_fixed, load_gold
from icm_api.data.left_out import LeftOut
from icm_api.data.loading import (
    as_dataset,
    fingerprint,
    load_examples,
    load_few,
    load_gold_labels,
    stream_examples,
)
from icm_api.data.pairs import rank
from icm_api.data.readers import HUB, read_rows
from icm_api.data.registry import Format, find_format, format_names
from icm_api.data.rows import Row

__all__ = [
    "HUB",
    "DataCheck",
    "DataChecking",
    "DataSource",
    "Format",
    "Gold",
    "LeftOut",
    "Row",
    "answered_ids",
    "as_dataset",
    "check_data",
    "find_format",
    "fingerprint",
    "format_names",
    "load_examples",
    "load_few",
    "load_fixed",
    "load_gold",
    "load_gold_labels",
    "load_jsonl",
    "rank",
    "read_rows",
    "stream_examples",
]
