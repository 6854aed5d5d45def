"""The verb `label`: another file is labelled from a finished run."""

from __future__ import annotations

import asyncio
import json
from argparse import Namespace

from rich.console import Console

from icm_api.cli.live import LiveView
from icm_api.cli.running import lines_of_rest
from icm_api.errors import BudgetError, GaveUpError, StorageError
from icm_api.runs import label_more, read_rest


def label_verb(arguments: Namespace) -> None:
    """`icm-api label RUN MORE`."""
    console = Console(stderr=True)
    with LiveView(console) as view:
        try:
            folder = asyncio.run(label_more(arguments.run, arguments.data, arguments.out, view.watch))
        except (KeyboardInterrupt, StorageError, BudgetError, GaveUpError):
            console.print("to go on: repeat the command", soft_wrap=True)
            raise
    rest = read_rest(folder)
    if arguments.json:
        print(json.dumps({**rest, "folder": str(folder)}))
        return
    print("\n".join(lines_of_rest(rest, folder)))
