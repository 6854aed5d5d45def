"""Texts of data sets, made fit to be shown: no control characters, no halves of characters, of bounded length.

Escaping is not done here: the page's template and the SVG writer escape everything that they are given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a text.

    Attributes:
        text: what is shown.
        left: characters that are not.
    """

    text: str
    left: int = 0


def clean(text: str) -> str:
    """The text, with a visible character for each character that neither HTML nor XML can hold.

    Args:
        text: of any origin.

    Example:
        >>> clean("a\\x00b\\r\\nc"), clean("\\x1b[31m"), clean("\\ud800")
        ('a\u2400b\\nc', '\u241b[31m', '\ufffd')
    """
    return _UNSHOWABLE.sub(_stand_in, text.replace("\r\n", "\n").replace("\r", "\n"))


def _stand_in(found: re.Match[str]) -> str:
    code = ord(found.group())
    return chr(0x2400 + code) if code < 0x20 else _REPLACEMENT


def excerpt(text: str, most: int) -> Excerpt:
    """The beginning of a text, cleaned.

    Args:
        text: of any origin.
        most: characters to keep.

    Example:
        >>> excerpt("abcdef", 4), excerpt("abc", 4)
        (Excerpt(text='abcd', left=2), Excerpt(text='abc', left=0))
    """
    shown = clean(text)
    return Excerpt(shown[:most], max(0, len(shown) - most))


def shortened(text: str, most: int) -> str:
    """One line of at most `most` characters, an ellipsis at its end if there was more.

    Args:
        text: of any origin.
        most: characters, the ellipsis included.

    Example:
        >>> shortened("one\\ntwo three", 8)
        'one two…'
    """
    line = " ".join(clean(text).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
