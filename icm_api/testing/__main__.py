"""The testing server as a process of its own: `python -m icm_api.testing --port 8000 --dialect vllm`.

Prints the address on one line as soon as requests are answered, and runs until it is ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Event

from icm_api.errors import ConfigError
from icm_api.testing.faults import Faults
from icm_api.testing.server import serve
from icm_api.testing.wire import DIALECTS, get_dialect


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted.

    Args:
        arguments: flags of the command line; None for those of this process.

    Returns:
        The exit code: 0, or that of a `ConfigError`.
    """
    flags = _parser().parse_args(arguments)
    try:
        faults = Faults(tuple(flags.faults.split(",")), flags.rate, flags.seed) if flags.faults else None
        dialect = replace(get_dialect(flags.dialect), strip_space=flags.strip_space)
        running = serve(dialect=dialect, faults=faults, port=flags.port, seed=flags.seed, instant=flags.instant)
        with running as server, suppress(KeyboardInterrupt):
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
            Event().wait()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m icm_api.testing", description="Serve the embedded model over real wire formats on 127.0.0.1."
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, is any free port")
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default="vllm")
    parser.add_argument("--seed", type=int, default=0, help="of sampling and faults")
    parser.add_argument("--instant", action="store_true", help="made-up logprobs at once, without the model")
    parser.add_argument("--strip-space", action="store_true", help="chat reports labels without their leading space")
    parser.add_argument("--faults", default="", help="kinds to inject, separated by commas, e.g. 429-seconds,500")
    parser.add_argument("--rate", type=float, default=1.0, help="probability that a request is hit")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
