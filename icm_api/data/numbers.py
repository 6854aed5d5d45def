"""Numbers in running text, read exactly: which are there, where, and each as one canonical text.

It does: signs, thousands, scales (5k, 2 dozen), decimals, fractions, powers of ten, clock times, and the LaTeX and
Unicode ways of writing them. It does not: know units, evaluate a sum, or say which number is an answer (that is
`answers`).
"""

# ruff: noqa: RUF001 - signs that look alike are what this file is about

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from unicodedata import normalize

# A model that repeats digits until it is stopped writes more than this; nobody means such a number.
_MOST_DIGITS = 40
_THIN = "\u2009"
_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "—": " - ", "﹣": "-", "\u00a0": _THIN, "\u202f": _THIN, "⁄": "/", "’": "'"}
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
)
_MARKUP = (
    (re.compile(r"(?<=\d)\{,\}|(?<=\d)\\,(?=\d{3})"), ","),
    (re.compile(r"(\d)\s*(?:[x×*]|\\times|\\cdot)\s*10\s*\^\s*\{?\s*(-?\d{1,3})\s*\}?"), r"\1e\2"),
    (re.compile(r"\\(?:text|textbf|mathbf|mathrm|textrm|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}"), r" \1/\2"),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)"), r" \1/\2"),
    (re.compile(r"\\(?:times|cdot)"), "×"),
    (re.compile(r"\\(?:approx|simeq)"), "≈"),
    (re.compile(r"\\([$%{}#&])"), r"\1"),
    (re.compile(r"\\[,;:! ()\[\]]|~|`"), " "),
    (re.compile(r"(?<![\w)*])(\*{1,3}|_{1,2})(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])"), r"\2"),
)
_SCALES = {
    "dozen": 12, "hundred": 100, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7,
    "billion": 10**9, "trillion": 10**12, "k": 10**3, "m": 10**6, "mn": 10**6, "mln": 10**6, "mio": 10**6,
    "b": 10**9, "bn": 10**9, "bln": 10**9, "t": 10**12, "tn": 10**12,
}  # fmt: skip
_WHOLE = rf"(?:[1-9]\d{{0,2}}(?:,\d{{3}})+(?!\d)|[1-9]\d{{0,2}}(?:{_THIN}\d{{3}})+(?!\d)|\d+)"
_NUMBER = re.compile(
    rf"""
    (?P<sign>(?<![\w)%.\]]) - (?=[$€£¥]?\s*[.\d]))?         # a minus that touches what follows, and nothing before
    (?P<currency>[$€£¥]\s*)?
    (?P<late>(?<=[$€£¥\s])-(?=[.\d]))?                      # $-12
    (?<![\w])(?<!\d\.)(?<!\d,)
    (?:
      (?P<clock>\d+(?::\d+)+)
      | (?P<whole>\d+)[ ]+(?P<over>\d+)/(?P<under>\d+)
      | (?P<top>{_WHOLE})[ ]?/[ ]?(?P<bottom>{_WHOLE})(?!\.?\d)
      | (?P<decimal>(?:{_WHOLE}(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{{1,3}}(?!\w))?)
    )
    # Beside a number that is no money, a small m may be metres, and a capital apart any unit.
    (?P<scale>(?:[ -](?:dozen|hundred|thousand|lakh|million|crore|billion|trillion)s?(?![\w-]))+
      | [ ]?(?:(?-i:k)|mn|mln|mio|bn|bln|tn)(?![\w/^]) | (?-i:[KMB])(?![\w/^])
      | (?(currency)[mbt]|(?!))(?![\w/^]))?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text.

    Attributes:
        start: where it begins, its sign and currency included.
        end: where it ends, without its unit.
        text: its canonical text; None if it can't be read (1.2.3, 1,23, 12/25/2020, 3/0, the 3 of
            10 -3, more than forty digits).
    """

    start: int
    end: int
    text: str | None


def canonical(value: Fraction) -> str:
    """The one text of a number: an integer, else a decimal if that ends, else a fraction in lowest terms.

    Args:
        value: the number, exactly.

    Example:
        >>> [canonical(Fraction(text)) for text in ("3.0", "-6/8", "2/6", "1e3", "1/8")]
        ['3', '-0.75', '1/3', '1000', '0.125']
    """
    rest, places = value.denominator, 0
    twos = fives = 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    if not places:
        return str(value.numerator)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def plain(text: str) -> str:
    """The text with LaTeX, Markdown and Unicode ways of writing numbers turned into plain ones.

    Args:
        text: as a model or a person wrote it.

    Example:
        >>> plain("**−1½** or $\\\\frac{3}{4}$"), plain("1{,}234 \\\\text{eggs}"), plain("3 × 10^5")
        ('-1 1/2 or $3/4$', '1,234  eggs ', '3e5')
    """
    text = "".join(map(_unfolded, text)).translate(_SIGNS)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    # A fraction keeps its sign and its currency; what stood before it as a whole number stays apart.
    return re.sub(r"(?<=[-$€£¥(=]) (?=\d+/\d)", "", text) if "/" in text else text


def numbers(text: str) -> Iterator[Number]:
    """The numbers of a text that `plain` has made plain, in order.

    Clock times and ratios (3:30, 2:3:4) are no numbers: their text is as written, without leading zeros of the first
    part; a full hour is the hour, so that "5:00" is "5".

    Args:
        text: without LaTeX, Markdown and other ways of writing numbers.

    Yields:
        Each number with its place and its canonical text.

    Example:
        >>> [number.text for number in numbers("1,234,567 and 1, 2; 10-3; of -3; -$4.50; 1 1/2 of .5; at 3:30")]
        ['1234567', '1', '2', '10', '3', '-3', '-4.5', '1.5', '0.5', '3:30']
    """
    for found in _NUMBER.finditer(text):
        start, end = found.span()
        # "5 M" may be millions or a unit.
        broken = re.match(r"[.,/]\d|[ ][KMBT](?!\w)", text[end : end + 3]) is not None
        # In "10 -3" the minus is no sign either.
        minus = re.search(r"[\d)%]\s+$", text[:start]) is not None
        try:
            read = None if broken or (minus and found["sign"]) else _read(found)
        except ZeroDivisionError:
            read = None
        yield Number(start, end, read)


def _unfolded(char: str) -> str:
    """A vulgar fraction such as ½ as " 1/2"."""
    if char.isascii() or "⁄" not in (apart := normalize("NFKC", char)) or not apart[-1].isdigit():
        return char
    return f" {apart}"


def _read(found: re.Match[str]) -> str | None:
    parts = found.groupdict()
    if sum(char.isdigit() for char in found.group()) > _MOST_DIGITS:
        return None
    if parts["clock"]:
        first, *others = parts["clock"].split(":")
        return str(int(first)) if others == ["00"] else ":".join((str(int(first)), *others))
    if parts["whole"]:
        value = int(parts["whole"]) + Fraction(int(parts["over"]), int(parts["under"]))
    elif parts["top"]:
        value = Fraction(_whole(parts["top"]), _whole(parts["bottom"]))
    else:
        written = parts["decimal"].replace(",", "").replace(_THIN, "")
        power = re.search(r"e[+-]?(\d+)", written, re.IGNORECASE)
        if power and int(power[1]) > _MOST_DIGITS:
            return None
        value = Fraction(written)
    for scale in re.findall(r"[a-z]+", (parts["scale"] or "").lower()):
        value *= _SCALES.get(scale) or _SCALES[scale.removesuffix("s")]
    return canonical(-value if parts["sign"] or parts["late"] else value)


def _whole(text: str) -> int:
    return int(text.replace(",", "").replace(_THIN, ""))
