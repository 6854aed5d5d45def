"""The command `icm-api`: verbs, flags and exit codes. What the verbs do is in `verbs` and `demo`.

Exit codes: 0 done; 2 something to mend (arguments, configuration, data, model); 3 stopped short by the disk,
to be resumed; 130 interrupted, to be resumed. No traceback reaches a user who made a mistake.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from icm_api.cli.compare import add_compare
from icm_api.cli.demo import add_demo
from icm_api.cli.export import add_export
from icm_api.cli.generate import add_generate
from icm_api.cli.init import add_init
from icm_api.cli.probe import add_probe
from icm_api.cli.queue import add_queue
from icm_api.cli.report import add_report
from icm_api.cli.verbs import Verbs, add_verbs
from icm_api.errors import IcmError

INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"icm-api: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; each sets `verb`, the function to call."""
    parser = _Parser(
        prog="icm-api",
        description="Label data with no human labels: Internal Coherence Maximization.",
        epilog="Exit codes: 0 done, 2 something to mend, 3 stopped short and can be resumed, 130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=version("icm-api"))
    parser.add_argument("--debug", action="store_true", help="log what happens, and show tracebacks")
    verbs: Verbs = parser.add_subparsers(required=True, metavar="VERB")
    add_demo(verbs)
    add_init(verbs)
    add_verbs(verbs)
    add_compare(verbs)
    add_export(verbs)
    add_queue(verbs)
    add_report(verbs)
    add_probe(verbs)
    add_generate(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.DEBUG if arguments.debug else logging.WARNING, format="%(message)s")
    try:
        arguments.verb(arguments)
        sys.stdout.flush()
    except IcmError as error:
        if arguments.debug:
            raise
        print(f"icm-api: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` has; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("icm-api: interrupted; every step taken is on disk", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
