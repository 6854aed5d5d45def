"""The baseline panel on the pocket world: every row of `icm-api compare`, over `SEEDS` seeds.

Of `CLAIMS` claims a task each seed searches a third, and holds out the rest by whole groups. The model is the embedded
one. The chat row asks the same model through a server's chat route: it is no chat-tuned model, and the row shows that
the route works, not what chat tuning would be worth. Files are written to a folder that is gone afterwards.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from icm_api.cli.demo import CONSTRAINTS
from icm_api.cli.main import main
from icm_api.pocket.world import make_claims
from icm_api.testing import serve

TASKS = ("sums", "comparisons", "facts")
CLAIMS, SEEDS, HELD_OUT = 120, 5, 2 / 3
CONFIG = """\
[data]
path = "claims.jsonl"
fields = ["text"]
[prompt]
separator = "\\n"
{constraints}
[compare]
seeds = {seeds}
held_out = {held_out}
[compare.chat_options]
api = "chat"
[cache]
folder = "cache"
"""


def write_inputs(folder: Path, task: str, claims: int = CLAIMS, seeds: int = SEEDS) -> Path:
    """Claims, gold and configuration; returns the configuration."""
    made = make_claims(task, claims, seed=0)
    rows = [
        {"id": c.id, "text": c.text, "group": c.group, "answer": c.answer, "left": c.left, "right": c.right}
        for c in made
    ]
    (folder / "claims.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "gold.jsonl").write_text("".join(json.dumps({"id": c.id, "gold": str(c.truth)}) + "\n" for c in made))
    config = folder / "config.toml"
    config.write_text(CONFIG.format(constraints=CONSTRAINTS[task], seeds=seeds, held_out=HELD_OUT))
    return config


def table(task: str, folder: Path) -> list[str]:
    """What the command prints for one task.

    Raises:
        RuntimeError: it did not succeed.
    """
    config, printed = write_inputs(folder, task), io.StringIO()
    with serve(dialect="vllm") as server, redirect_stdout(printed):
        arguments = ["compare", str(config), "--gold", str(folder / "gold.jsonl")]
        if main([*arguments, "--chat", f"vllm:{server.model}@{server.url}"]):
            raise RuntimeError(f"icm-api compare failed on {task}")
    return [f"{task}:", *(line.rstrip() for line in printed.getvalue().splitlines()[:-1]), ""]


def report() -> Iterator[str]:
    """The figures, a line each."""
    for task in TASKS:
        with TemporaryDirectory() as folder:
            yield from table(task, Path(folder))
