"""How every notebook of the cookbook begins and ends: a new folder to work in, and the bill.

`start` makes a temporary folder with a copy of `data/` and names the model for all that follows; `bill` adds up what
was sent from there. Neither labels anything: that is the library's, and stands in the notebooks.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

INPUT, OUTPUT = 0.10, 0.50
"""USD per million prompt and reply tokens: gpt-6-luna as listed in November 2026. Look up your own model's."""

_HERE = Path(__file__).resolve().parent


def start(model: str) -> None:
    """Work in a new temporary folder, and ask this model wherever a configuration names no other."""
    folder = Path(tempfile.mkdtemp(prefix="icm-")).resolve()
    shutil.copytree(_HERE / "data", folder / "data")
    os.chdir(folder)
    # A configuration can say all of this too, under [model] and [cache]; the environment wins over it.
    os.environ["ICM_MODEL__PROVIDER"] = model
    os.environ["ICM_CACHE__FOLDER"] = str(folder / "cache")
    # Plain lines from the commands: Jupyter says that it is a terminal, and shows what moves on one as rubbish.
    os.environ["TTY_COMPATIBLE"] = "0"
    # The `icm-api` that belongs to this Python, also where its environment is not activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def bill() -> None:
    """What each run below this folder sent, and what that costs on a hosted model."""
    rows = [(file.parent.as_posix(), *_sent(file)) for file in sorted(Path().rglob("sessions.jsonl"))]
    total = ("in all", sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows))
    width = max(len(row[0]) for row in [*rows, total])
    print(f"{'':<{width}}{'requests sent':>15}{'prompt tokens':>15}{'reply tokens':>14}")
    for name, requests, given, made in [*rows, total]:
        print(f"{name:<{width}}{requests:>15,}{given:>15,}{made:>14,}")
    # The embedded model makes no reply; a hosted one replies with a token.
    replies = sum(made or requests for _, requests, _, made in rows)
    price = (total[2] * INPUT + replies * OUTPUT) / 1_000_000
    print(
        f"at {INPUT:.2f} USD a million prompt tokens and {OUTPUT:.2f} USD a million reply tokens, one a request, "
        f"with no discount for cached prefixes: {price:.4f} USD"
    )


def _sent(sessions: Path) -> tuple[int, int, int]:
    """Requests, prompt tokens and reply tokens of all processes that worked on a run."""
    sent = [json.loads(line)["sent"] for line in sessions.read_text(encoding="utf-8").splitlines()]
    requests, given, made = (
        sum(each[key] for each in sent) for key in ("requests", "prompt_tokens", "completion_tokens")
    )
    return requests, given, made
