"""What spreadsheet programs do to cells: run some as formulas, and write others anew as dates or numbers."""

from __future__ import annotations

import re

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a cell begins that a spreadsheet program may run; the last four are the full-width = + - @."""
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_REWRITTEN = re.compile(
    rf"""
    [+-]?0\d+ | \+\d+ | [+-]?\d{{16,}} | [+-]?\d[\d,]*\.\d*0 | \d{{1,3}}(?:,\d{{3}})+ | [$€£]?\d+(?:\.\d+)?%
    | [+-]?\d+(?:\.\d*)?e[+-]?\d+                                           # 1E5
    | (?:\d{{1,2}}|\d{{4}})[-/](?:\d{{1,2}}|{_MONTH})(?:[-/]\d{{1,4}})? | \d{{1,2}}[.]\d{{1,2}}[.]\d{{2,4}}
    | {_MONTH}[ -]?\d{{1,4}} | \d{{1,2}}[ ]{_MONTH} | \d{{1,2}}:\d{{2}}(?::\d{{2}})? | true | false
    """,
    re.VERBOSE | re.IGNORECASE,
)


def escaped(text: str) -> str:
    """A cell that no spreadsheet program runs: with an apostrophe before what would be a formula.

    Args:
        text: of the cell.

    Example:
        >>> escaped("=1+1"), escaped("one")
        ("'=1+1", 'one')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def unescaped(text: str) -> str:
    """What `escaped` was given.

    Args:
        text: of the cell.

    Example:
        >>> unescaped("'=1+1"), unescaped("'one'")
        ('=1+1', "'one'")
    """
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULA) else text


def is_rewritten(text: str) -> bool:
    """Whether a spreadsheet program may take a text for a date, a number or a truth value, and write it anew.

    Args:
        text: of a cell, such as an id.

    Example:
        >>> [is_rewritten(text) for text in ("3-4", "007", "MAR1", "1E5", "c7", "12")]
        [True, True, True, True, False, False]
    """
    return _REWRITTEN.fullmatch(text.strip()) is not None
