"""Files become data: examples a `Dataset`, and gold labels, where there are any, a `Gold`.

The two are read by functions of their own, so that gold labels never travel with the examples. Rows come from any
format (`rows`), and a task says what they mean (`open` knows them all). Nothing here renders a prompt or computes a
score.
"""

from icm_api.datasets.columns import load_jsonl
from icm_api.datasets.labels import Gold, load_fixed, load_gold
from icm_api.datasets.open import DataSource, TaskName, fingerprint, load_examples, load_gold_labels
from icm_api.datasets.readers import HUB, read_rows
from icm_api.datasets.rows import Row

__all__ = [
    "HUB",
    "DataSource",
    "Gold",
    "Row",
    "TaskName",
    "fingerprint",
    "load_examples",
    "load_fixed",
    "load_gold",
    "load_gold_labels",
    "load_jsonl",
    "read_rows",
]
