"""Small data sets of the embedded model's world, written to disk as a user would have them."""

from __future__ import annotations

import json
from pathlib import Path

from icm_api.pocket.world import make_claims
from icm_api.types import Dataset, Example, Label

CONSTRAINTS = {
    "comparisons": '[[constraints]]\nkind = "asymmetric"\nlabel = "True"\ntotal = true\n',
    "sums": '[[constraints]]\nkind = "mutually_exclusive"\nlabel = "True"\n\n[[constraints]]\nkind = "equivalent"\n',
    "facts": '[[constraints]]\nkind = "mutually_exclusive"\nlabel = "True"\n',
}


def write_world(folder: Path, task: str = "comparisons", size: int = 16, search: str = "", seed: int = 5) -> Path:
    """Write claims, gold, and a configuration whose cache lies in the folder too; returns the configuration."""
    claims = make_claims(task, size, seed=seed)
    rows = [
        {
            "id": c.id,
            "text": c.text,
            "group": c.group,
            "answer": c.answer,
            "left": c.left or "-",
            "right": c.right or "-",
        }
        for c in claims
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "gold.jsonl").write_text("".join(json.dumps({"id": c.id, "gold": str(c.truth)}) + "\n" for c in claims))
    config = folder / "config.toml"
    config.write_text(
        '[data]\npath = "claims.jsonl"\n\n[prompt]\nseparator = "\\n"\n\n[model]\nprovider = "pocket"\n\n'
        f'{CONSTRAINTS[task]}\n[search]\n{search}\n\n[cache]\nfolder = "cache"\n\n[run]\nfolder = "run"\n'
    )
    return config


def biased(task: str, size: int, seed: int) -> tuple[Dataset, dict[str, Label]]:
    """Claims with no constraint between them, and their gold labels.

    The embedded model says True more readily than False, and in a one-sided context ever more so: labels that are all
    True have a larger P than the truth, or about the same.
    """
    claims = make_claims(task, size, seed=seed)
    return Dataset(Example(claim.id, {"text": claim.text}) for claim in claims), {
        claim.id: str(claim.truth) for claim in claims
    }
