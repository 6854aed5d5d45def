"""From a configuration to a run folder: plan it, run it, resume it.

A run folder holds `config.toml` (resolved), `inputs.json` (fingerprints of data and model), `trace.jsonl` (a
line a step), and, once finished, `labels.jsonl` and `summary.json`. All these are the same bytes for the same
configuration and seed. `sessions.jsonl` says what each process that worked on it and was not killed really sent, and
`spending.jsonl` what counts against the budget; `set_aside.jsonl`, if it is there, lists examples that are too
long or that the model refused. `seal.json` says what all of them held when the run ended. `checks.json` holds what a
person who checked the labels answered. Of a data set that does not fit the context window, these are of the core, and
`parts` holds the labels of the rest, which `frozen.json` says how to ask for.
"""

from icm_api.runs.auditing import audit_config
from icm_api.runs.batches import batch_lines
from icm_api.runs.checking import check_labels, draw_labels
from icm_api.runs.checks import CHECKS_FILE
from icm_api.runs.finished import FinishedRun, with_check
from icm_api.runs.folder import (
    ASIDE_FILE,
    CONFIG_FILE,
    INPUTS_FILE,
    JOBS_FOLDER,
    SESSIONS_FILE,
    SPENDING_FILE,
    data_fingerprint,
    folder_of,
    has_run,
    locked,
)
from icm_api.runs.forecast import Plan
from icm_api.runs.listing import Difference, RunRow, diff_runs, differing_settings, list_runs, run_row
from icm_api.runs.more import label_more
from icm_api.runs.parts import (
    build_constraint,
    build_task,
    cache_place,
    config_of,
    data_source,
    default_cache_folder,
    load_dataset,
    load_start,
    old_prices,
    open_model,
    prices_of,
)
from icm_api.runs.planning import compare_plans, plan
from icm_api.runs.rates import Cost
from icm_api.runs.rest_parts import read_rest
from icm_api.runs.running import resume, run, run_config
from icm_api.runs.searching import Watch
from icm_api.runs.spill import PARTS_FOLDER
from icm_api.runs.sync import run_sync
from icm_api.runs.trace import TRACE_FILE, TraceStep, count_steps, read_trace, replay, trace_record

__all__ = [
    "ASIDE_FILE",
    "CHECKS_FILE",
    "CONFIG_FILE",
    "INPUTS_FILE",
    "JOBS_FOLDER",
    "PARTS_FOLDER",
    "SESSIONS_FILE",
    "SPENDING_FILE",
    "TRACE_FILE",
    "Cost",
    "Difference",
    "FinishedRun",
    "Plan",
    "RunRow",
    "TraceStep",
    "Watch",
    "audit_config",
    "batch_lines",
    "build_constraint",
    "build_task",
    "cache_place",
    "check_labels",
    "compare_plans",
    "config_of",
    "count_steps",
    "data_fingerprint",
    "data_source",
    "diff_runs",
    "differing_settings",
    "default_cache_folder",
    "draw_labels",
    "folder_of",
    "has_run",
    "label_more",
    "list_runs",
    "load_dataset",
    "load_start",
    "locked",
    "old_prices",
    "open_model",
    "plan",
    "prices_of",
    "read_rest",
    "read_trace",
    "replay",
    "resume",
    "run",
    "run_config",
    "run_row",
    "run_sync",
    "trace_record",
    "with_check",
]
