"""Finished runs made by hand, with any texts, ids, groups and labels; no model is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import tomli_w

from icm_api.result import LabelledExample, Result
from icm_api.types import Usage

DIAGNOSIS = {
    "verdict": "coherent, unchecked",
    "coherent": "coherent",
    "named": {"answer": "by the prior, strongly", "says": "the model leans to these names", "readings": []},
    "checked": {"answer": "unchecked"},
    "reasons": ["the other labels explain 62% of the labels"],
    "advice": [],
    "measures": {"conflicts": {}},
}


@dataclass(frozen=True, slots=True)
class MadeUp:
    """What a run made by hand is made of.

    Attributes:
        texts: of the examples; their ids and groups come from them by position, two to a group.
        labels: the label set.
        name: what ids and groups begin with.
        steps: of the trace, one example relabelled in each.
        diagnosis: of the summary; None for labels that were not judged.
        config: what else the configuration says, by table.
    """

    texts: Sequence[str]
    labels: Sequence[str] = ("True", "False")
    name: str = "example"
    steps: int = 20
    diagnosis: Mapping[str, Any] | None = None
    config: Mapping[str, Any] | None = None


def finished_run(folder: Path, made: MadeUp, seed: int = 0) -> Path:
    """Write data and a finished run over it; returns the run folder. Gold labels are in `gold.jsonl` beside it."""
    rng = Random(seed)
    rows = [
        {"id": f"{made.name}-{at}", "text": text, "group": f"{made.name}, group {at // 2}", "answer": str(at)}
        for at, text in enumerate(made.texts)
    ]
    run = folder / "run"
    run.mkdir(parents=True)
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gold = [{"id": row["id"], "gold": rng.choice(made.labels)} for row in rows]
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    config: dict[str, Any] = {
        "data": {"path": str(data), "fields": ["text"]},
        "prompt": {"labels": list(made.labels)},
        "model": {"provider": "pocket"},
        "constraints": [{"kind": "mutually_exclusive", "label": made.labels[0]}],
        "run": {"folder": str(run)},
        **(made.config or {}),
    }
    (run / "config.toml").write_text(tomli_w.dumps(config))
    inputs = {"format": 1, "data_sha256": sha256(data.read_bytes()).hexdigest(), "model": "made/up"}
    (run / "inputs.json").write_text(json.dumps(inputs))
    lines = _trace(rows, made, rng)
    (run / "trace.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = Usage(requests=lines[-1]["requests"] + 7, prompt_tokens=lines[-1]["prompt_tokens"] + 70)
    examples = tuple(_labelled(row, made, rng) for row in rows)
    about: dict[str, Any] = {"method": "leave_one_out"}
    if made.diagnosis is not None:
        about |= {"diagnosis": made.diagnosis, "calibration": {"value": 2.0, "source": "agreement", "evidence": 9}}
    Result(examples, lines[-1]["utility"], -0.5, 0.0, asked, made.steps, about).save(run)
    return run


def _labelled(row: Mapping[str, str], made: MadeUp, rng: Random) -> LabelledExample:
    weights = [rng.random() for _ in made.labels]
    p = {label: round(weight / sum(weights), 6) for label, weight in zip(made.labels, weights, strict=True)}
    even = {label: round((value + 1 / len(p)) / 2, 6) for label, value in p.items()}
    label = rng.choice(made.labels)
    calibrated = {} if made.diagnosis is None else even
    return LabelledExample(row["id"], label, p[label], 1.0, row["group"], p, False, calibrated)


def _trace(rows: Sequence[Mapping[str, str]], made: MadeUp, rng: Random) -> list[dict[str, Any]]:
    current = {row["id"]: rng.choice(made.labels) for row in rows}
    first = _line(0, "seed", list(current), [None] * len(current), list(current.values()))
    lines = [{**first, "labelled": len(rows)}]
    for step in range(1, made.steps + 1):
        key, new, accepted = rng.choice(list(rows))["id"], rng.choice(made.labels), rng.random() < 0.5
        line = {**_line(step, "relabel", [key], [current[key]], [new]), "accepted": accepted, "labelled": len(rows)}
        if accepted:
            current[key] = new
        lines.append(line)
    return lines


def _line(step: int, move: str, ids: list[str], old: Sequence[str | None], new: Sequence[str]) -> dict[str, Any]:
    return {
        "step": step,
        "restart": 0,
        "kind": "begin" if move in ("seed", "challenge") else "grow" if move == "grow" else "relabel",
        "move": move,
        "examples": ids,
        "old": list(old),
        "new": list(new),
        "utility_change": 0.1,
        "temperature": 10 / (1 + step),
        "accepted": True,
        "value": -50 + step * 0.01,
        "utility": -50 + step * 0.01,
        "mutual_predictability": -1 + step * 0.0001,
        "inconsistency": 0.0,
        "requests": 3 * (step + 1),
        "prompt_tokens": 30 * (step + 1),
    }
