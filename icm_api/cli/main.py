"""The command `icm-api`: finds the verb, runs it, and turns what happened into an exit code.

Exit codes: 0 done; 2 something to mend (arguments, configuration, data, model); 3 stopped short by the disk or the
budget, to be resumed; 4 not begun, as nobody confirmed what it is likely to cost; 130 interrupted, to be resumed. No
traceback reaches a user who made a mistake. The verbs are listed in `verbs`.
"""

from __future__ import annotations

import codecs
import gc
import json
import logging
import os
import sys
from argparse import Action, ArgumentError, ArgumentParser, HelpFormatter, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from difflib import get_close_matches
from errno import ENOENT
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

from icm_api.cli.verbs import VERBS
from icm_api.errors import IcmError

INTERRUPTED = 130
STOPPED = 3


class _Parser(ArgumentParser):
    """Argument errors in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"icm-api: {message}; see {self.prog} --help\n")

    def _check_value(self, action: Action, value: Any) -> None:
        """As usual, and for a misspelt verb or choice with the nearest ones alone."""
        try:
            super()._check_value(action, value)
        except ArgumentError:
            near = get_close_matches(str(value), map(str, action.choices or ()))
            if not near:
                raise
            meant = " or ".join(map(repr, near))
            raise ArgumentError(action, f"there is no {value!r}; did you mean {meant}?") from None


class _Version(Action):
    """Looks the version up only if it is asked for."""

    def __call__(self, parser: ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        parser.exit(message=f"{version('icm-api')}\n")


def build_parser(asked: str | None = None) -> ArgumentParser:
    """The parser of all verbs, with the flags of one. It sets `work`, the function to run, by its name.

    Args:
        asked: the verb whose flags are needed; the other verbs get a summary only.
    """
    parser = _Parser(
        prog="icm-api",
        description="Label data with no human labels: Internal Coherence Maximization.",
        epilog="Exit codes: 0 done, 2 something to mend, 3 stopped short and can be resumed, 4 not confirmed, "
        "130 interrupted.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--debug", action="store_true", help="log what happens, and show tracebacks")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, verb in VERBS.items():
        child = verbs.add_parser(
            name,
            help=verb.summary,
            description=verb.description,
            epilog=None if verb.example is None else f"example:\n{verb.example}",
            formatter_class=HelpFormatter if verb.example is None else RawDescriptionHelpFormatter,
        )
        if name == asked:
            child.set_defaults(work=verb.work)
            verb.declare(child)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the arguments; those of the process if None.

    Returns:
        The exit code.
    """
    _escape_what_cannot_be_shown()
    if argv is None:
        # Rows come and go by the thousand, and few are in cycles: looking for these took a quarter of an audit's time.
        gc.set_threshold(50_000, 20, 100)
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            # There is none if it is closed.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` has.
        _drop_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        _drop_output()
        gone = error.errno == ENOENT
        what = "the working folder is gone" if gone else f"the output cannot be written: {error.strerror or error}"
        print(f"icm-api: {what}", file=sys.stderr)
        return STOPPED


def _run(argv: Sequence[str]) -> int:
    # No flag before the verb takes a value.
    asked = next((argument for argument in argv if not argument.startswith("-")), None)
    parser = build_parser(asked)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        # argparse knows no longer that they came after a verb, whose help lists what could have been meant.
        parser.exit(2, f"icm-api: icm-api {asked} takes no {unknown[0]!r}; see icm-api {asked} --help\n")
    logging.basicConfig(level=logging.DEBUG if arguments.debug else logging.WARNING, format="%(message)s")
    module, _, function = arguments.work.partition(":")
    try:
        getattr(import_module(module), function)(arguments)
    except IcmError as error:
        if arguments.debug:
            raise
        print(f"icm-api: {_by_flags(str(error), arguments)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("icm-api: interrupted; every step taken is on disk", file=sys.stderr)
        return INTERRUPTED
    return 0


def _by_flags(message: str, arguments: Namespace) -> str:
    """A message that names options of a model by the flag that states them, where no file does."""
    flag = ""
    if getattr(arguments, "judge", None):
        flag = "--judge-option"
    elif hasattr(arguments, "questions") or (hasattr(arguments, "spec") and not arguments.spec.endswith(".toml")):
        flag = "--option"
    # With a judge and a model that writes, either may be meant.
    both = hasattr(arguments, "judge") and hasattr(arguments, "option")
    return message.replace("under [model.options]", f"by {flag} NAME=VALUE") if flag and not both else message


def _escape_what_cannot_be_shown() -> None:
    """Have characters that the terminal's encoding lacks written as in JSON, so that output in JSON stays JSON."""

    def escaped(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        return "".join(json.dumps(each)[1:-1] for each in error.object[error.start : error.end]), error.end

    codecs.register_error("icm_api.escaped", escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="icm_api.escaped")


def _drop_output() -> None:
    """What could not be written has nowhere to go, and must not be tried again when the process ends."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
