"""The command line, called in this process as a user calls it."""

from __future__ import annotations

import pytest

from icm_api.cli.main import main

Printed = pytest.CaptureFixture[str]


def mistake(printed: Printed, *arguments: object) -> str:
    """The one line that a mistake gets; exit code 2, nothing on standard output, no traceback.

    Args:
        printed: takes what is printed; what was before is not looked at.
        arguments: of the command line.
    """
    printed.readouterr()
    try:
        code: object = main([str(argument) for argument in arguments])
    except SystemExit as left:
        code = left.code
    out, err = printed.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("icm-api: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err
