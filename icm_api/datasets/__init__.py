"""Files become data: examples a `Dataset`, and gold labels, where there are any, a `Gold`.

The two are read by functions of their own, so that gold labels never travel with the examples. Nothing here
renders a prompt or computes a score.
"""

from icm_api.datasets.gold import Gold, load_gold
from icm_api.datasets.jsonl import load_jsonl

__all__ = ["Gold", "load_gold", "load_jsonl"]
