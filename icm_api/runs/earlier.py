"""What finished runs beside a new one took, compared with what was planned for them: it corrects the next plan.

Both are in the runs' own folders, and nowhere else. Runs with the same engine, preset, estimator and model count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp, fsum, log
from pathlib import Path
from typing import Any

from icm_api.config import SearchSettings
from icm_api.errors import IcmError
from icm_api.model import read_sent
from icm_api.result import SUMMARY_FILE
from icm_api.runs.folder import INPUTS_FILE, SESSIONS_FILE, SPENDING_FILE

_MOST, _LOOKED_AT = 20, 200
_LARGEST = 2**24
_KEYS = ("engine", "preset", "moves", "estimator")
_RESTED_ON = "rested on"
# A run that a cache answered says nothing of how fast the model is.
_SENT = 0.9


@dataclass(frozen=True, slots=True)
class Earlier:
    """Finished runs of one kind: what they took for each that was planned, on the geometric mean.

    Attributes:
        runs: how many there are.
        requests: taken for each planned.
        tokens: prompt tokens a request, taken for each planned.
        seconds: that a request took, all that went on at once included; None if no run noted it.
    """

    runs: int = 0
    requests: float = 1.0
    tokens: float = 1.0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    requests: float
    tokens: float
    seconds: float | None


def earlier_runs(beside: Path, settings: SearchSettings, estimator: str, model: str, judged: bool) -> Earlier:
    """The finished runs beside a folder.

    Args:
        beside: folder of a run, there or not; those in the same folder as it count.
        settings: of the search.
        estimator: that the search rests on; runs for which another one took its place don't count.
        model: the identity of the model.
        judged: whether labels are judged.

    Returns:
        What they took; of none, that nothing is to be corrected.
    """
    wanted = {key: getattr(settings, key) for key in _KEYS} | {_RESTED_ON: estimator}
    found = list(_found(beside.parent, wanted, model, judged))[:_MOST]
    if not found:
        return Earlier()
    paces = [run.seconds for run in found if run.seconds is not None]
    return Earlier(
        len(found),
        _mean([run.requests for run in found]),
        _mean([run.tokens for run in found]),
        _mean(paces) if paces else None,
    )


def _mean(values: list[float]) -> float:
    return exp(fsum(map(log, values)) / len(values))


def _found(folder: Path, wanted: Mapping[str, Any], model: str, judged: bool) -> Iterator[_Run]:
    """The latest first; what cannot be read is no run of this kind."""
    try:
        summaries = [(path.stat().st_mtime, path) for path in folder.glob(f"*/{SUMMARY_FILE}")]
    except OSError:
        return
    for _, path in sorted(summaries, reverse=True)[:_LOOKED_AT]:
        try:
            summary, inputs = _read(path), _read(path.with_name(INPUTS_FILE))
            own = {key: summary["search"].get(key) for key in _KEYS}
            own[_RESTED_ON] = summary.get("estimated", summary)["method"]
            same = own == wanted and inputs["model"] == model
            # What was planned for another estimator says nothing of this one.
            same &= summary["planned"].get("estimator", own[_RESTED_ON]) == own[_RESTED_ON]
            if same and ("diagnosis" in summary) == judged:
                yield _run(path.parent, summary["planned"], summary["usage"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError, RecursionError, IcmError):
            continue


def _read(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise ValueError("too large")
    return json.loads(path.read_bytes())


def _run(folder: Path, planned: Mapping[str, Any], taken: Mapping[str, Any]) -> _Run:
    requests = taken["requests"] / planned["requests"]
    tokens = taken["prompt_tokens"] / planned["prompt_tokens"] / requests
    if not (0 < requests < float("inf") and 0 < tokens < float("inf")):
        raise ValueError("no ratio")
    sent = read_sent(folder / SESSIONS_FILE, folder / SPENDING_FILE)
    # By tokens, since many questions may have travelled in one request.
    whole = sent is not None and sent.seconds > 0 and sent.usage.prompt_tokens >= _SENT * taken["prompt_tokens"]
    each = sent.seconds / sent.usage.requests if sent is not None and whole and sent.usage.requests else None
    return _Run(requests, tokens, each)
