"""The final answer that a worked solution states, as one canonical text: equal answers, equal texts.

It does: find the last place that is marked as the answer, else the one number that a finished last sentence results in,
and read it exactly. It does not: solve, check or guess; a solution that was cut off states no answer.

The rules, the first that applies decides:

1. Thoughts (<think> and the like), and what follows a next turn or problem, are left out (`own_text`).
2. The last marker counts, whichever it is: `####`, a line with `A:` or `Answer:`, "the (final) answer is", <answer>,
   `\\boxed{}`. What follows it must be readable, or there is no answer: no other place is tried. A heading of a step
   (#### 2. Add) is no marker, nor are quantities named by letters (A = 5, and A: 5 beside B: 7). Two paragraphs whose
   markers state different answers state none, nor does a marker that is doubted later (Wait, ...).
3. With no marker, the last line must have ended: with a full stop, or as an equation, a label and a number (Total: 18)
   or a number alone. Its last sentence's answer is what follows the last "=", else a bold number, else its number, if
   it has but one. (Of 29 such sentences with several, in OpenAI's example solutions without their marked lines, the
   last was the answer in 21 and the first in 13: too few to take either.)

An answer is one number. Units, currencies and percent signs are dropped ($18, 18% and 18 eggs are "18"; nothing is
converted, so 0.18 is another answer, and so is 1/3 than 0.33). A scale is a part of the number (5k, 1.5M, 5 dozen).
Two numbers (1, 2; 3 to 4; 5 feet 3 inches), a sum that is not worked out (10 - 3; 10 + x) and a number that `numbers`
can't read are no answer. Clock times and ratios stay as they are written (3:30), without am or pm. Words for whole
numbers below 100 are read after a marker.

Why so strict: examples with different answers contradict each other. A missing answer costs one such relation; a wrong
answer makes a false relation.
"""

# ruff: noqa: RUF001 - signs that look alike are what this file is about

from __future__ import annotations

import re
from collections.abc import Sequence

from icm_api.data.numbers import Number, numbers, plain
from icm_api.data.own_text import own_part, without_thoughts

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_MARKER = re.compile(
    r"""
    (?P<hashes>\#{4}(?!\#)[ \t]*:?)(?!.*(?i:answer))
    | (?:^|(?<=[.!?][ ]))[ \t>*_\#-]*(?:(?P<letter>A)[ ]?[*_]*[ ]?:
        | (?i:(?:(?:the|my|our|final|correct)[ ])*answer)[ ]?[*_]*(?:[ ]?[:：]|[ ]=))[*_]*
    | (?i:<answer>)
    | (?i:\b(?:final|correct|total)?[ ]?answer(?:[ ]to[ ]th(?:e|is)[ ](?:question|problem))?
        [ ](?:is|would[ ]be|equals|comes[ ]to)\b:?)[*_]*
    | (?P<box>\\f?box(?:ed)?[ ]?\{)
    """,
    re.VERBOSE | re.MULTILINE,
)
_ENDED = re.compile(r"[.!?。][\"')\]*_$}]*$|[.!?]?\\\]$")
_SENTENCES = re.compile(r"(?<=[.!?])[*_\"')]*\s+(?=[A-Z*_$\"'(\\\d-])")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*|\\(?:textbf|mathbf)\{([^{}]*)\}")
_NEXT_LETTER = re.compile(r"(?:^|(?<=[,;.][ ]))[ \t>*_\#-]*[B-PR-Z][ ]?[*_]*[ ]?:", re.MULTILINE)
_PARAGRAPH = re.compile(r"\n\s*\n")
_DOUBT = re.compile(r"\b(?:[Ww]ait|[Hh]old on|[Aa]ctually,|[Cc]orrection:|[Ll]et me re-?(?:check|do|calculate))")
# How sure a model says that it is, after its answer.
_SURENESS = re.compile(r"\n[ \t>*_\#-]*(?:My )?(?:Confidence|Certainty)\b[^\n]*\Z", re.IGNORECASE)
# A line that #### begins is an answer if it is the last, or has no more than a number and its unit.
_HASHED = re.compile(r"[ \t]*[*_]*[$€£¥-]*[ ]?\d[\d,./:]*[ ]?[%°¢€£]?(?:[ ]?[a-z]+){0,3}[*_. \t]*\Z")
_STEP = re.compile(r"[ \t]*[*_]*(?:\d+[.)][*_]*[ \t]+[A-Za-z]|[A-Z][a-z]+[ ]\d+\b)")
_ITEM = re.compile(r"^[\#>*_ \t]*\d{1,2}[.)][*_]*[ \t]+(?=[*_$\\]*[A-Za-z])")
# What may be before the number of an answer that is a phrase: "about $18", "x = 18", "(a total of) 18".
_LEAD = re.compile(
    r"""^[\s:*_("'$€£¥]*(?:(?:US|CA|AU|approximately|approx\.?|about|around|roughly|exactly|only|just|simply
    |a[ ]total[ ]of|equal[ ]to|at[ ]least|at[ ]most|now|therefore|thus|so|:|≈|~
    |[A-Za-z][ ]?[=≈])[\s:,]*)*[*_("'$€£¥]*""",
    re.VERBOSE | re.IGNORECASE,
)
_NEGATIVE = re.compile(r"^(?:negative|minus|-)\s+(?=[$€£¥.\d])", re.IGNORECASE)
_OPERATOR_AFTER = re.compile(r"\s*(?:[%°]\s*)?(?:[+*×÷^<>²³]|[x/]\s*[$(\d]|-\s*[$(\d]|\s-\s|[xyn]\b|to[ ]the[ ]power)")
_OPERATOR_BEFORE = re.compile(r"(?:[+*×÷^/]|[\w)%]\s*-|\d\s*x)\s*[$(€£¥]?$")
# 5 and 6; 1, 2; 3 to 4; 5 feet 3 inches; 5 dollars and 25 cents.
_JOINED = re.compile(r"[^\w(=]*(?:[A-Za-z]+[^\w(=]+)??(?:(?:and|or|to|&)[^\w(=]+)?")
_PART = re.compile(
    r"\s*(?:and a )?(?:half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|eighths?|tenths?|hundredths?"
    r"|thousandths?|millionths?)\b"
)
_WORDS = {
    word: at
    for at, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
         "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
    )
}  # fmt: skip
_TEN_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {word: 10 * at for at, word in enumerate(_TEN_WORDS, 2)}
_WORD = re.compile(
    rf"(?:(?P<tens>{'|'.join(_TENS)})(?:[ -](?P<unit>{'|'.join([*_WORDS][1:10])}))?|(?P<word>{'|'.join(_WORDS)}))\b"
    r"(?![ -](?:hundred|thousand|million|billion|dozen|and\b|or\b|to\b|of\b))",
    re.IGNORECASE,
)


def final_answer(text: str) -> str | None:
    """The final answer that a worked solution states.

    Args:
        text: the solution, with or without calculator marks such as <<16-3=13>>.

    Returns:
        The answer as a canonical text (see `numbers.canonical`): an integer, a decimal, or a fraction in lowest
        terms; None if the solution states no single answer, or was cut off before it did.

    Example:
        >>> final_answer("16 - 3 = <<16-3=13>>13 eggs\\n13 * $2 = $26\\n#### 26"), final_answer("So it is $1,234.50.")
        ('26', '1234.5')
        >>> final_answer("The answer is \\\\boxed{\\\\frac{6}{8}}."), final_answer("A: **-3.0 degrees**")
        ('0.75', '-3')
        >>> final_answer("First, 12 * 70 = 840. Then 840 + 1") is None, final_answer("The answer is 1 or 2.") is None
        (True, True)
    """
    text = _SURENESS.sub("", own_part(without_thoughts(without_calculator(text))).strip()).rstrip()
    markers = [found for found in _MARKER.finditer(text) if _is_marker(text, found)]
    if not markers:
        return _unmarked(text)
    *others, last = markers
    if _DOUBT.search(text, last.end()):
        return None
    answer = _stated(text, last)
    apart = (each for each in others if _PARAGRAPH.search(text, each.end(), last.start()))
    # A model that goes on with another problem, in whatever way, states the answer of that one too.
    return answer if all(_stated(text, each) in (None, answer) for each in apart) else None


def without_calculator(text: str) -> str:
    """The solution as people read it: the official data's calculator marks (<<16-3=13>>) taken out.

    Args:
        text: the solution, with or without such marks.

    Example:
        >>> without_calculator("16 - 3 = <<16-3=13>>13 eggs")
        '16 - 3 = 13 eggs'
    """
    return _CALCULATOR.sub("", text)


def _is_marker(text: str, found: re.Match[str]) -> bool:
    """Whether what looks like a marker is one, and not the heading of a step or the name of a quantity."""
    if found["letter"]:
        return _NEXT_LETTER.search(text) is None
    if not found["hashes"]:
        return True
    line, _, rest = text[found.end() :].partition("\n")
    if not line.strip(" *_:$\t\r"):
        return True
    return not _STEP.match(line) and (not rest.strip() or _HASHED.match(line.rstrip()) is not None)


def _stated(text: str, marker: re.Match[str]) -> str | None:
    """The answer that a marker states."""
    if marker["box"]:
        inside = _braced(text, marker.end())
        return None if inside is None else _phrase(plain(inside), whole=True)
    return _marked(text[marker.end() :])


def _marked(rest: str) -> str | None:
    """The answer in what follows a marker: on its line, or on the next that has text."""
    line = next((line for line in rest.split("\n") if line.strip(" *_:$\t\r")), "").partition("</")[0]
    if "<<" in line:
        return None
    sentence = _SENTENCES.split(line.strip(), maxsplit=1)[0]
    if sentence.count("**") % 2:
        # Of "**A: 9**" the marker took the first.
        sentence = sentence.replace("**", "", 1)
    return _phrase(plain(sentence), whole=False)


def _unmarked(text: str) -> str | None:
    """The answer of a last sentence that has ended."""
    line = _ITEM.sub("", text.rsplit("\n", 1)[-1].strip())
    if "<<" in line:
        return None
    bold = [inside for inside in (one or two for one, two in _BOLD.findall(line)) if re.search(r"\d", inside)]
    if not _ENDED.search(line):
        alone = re.fullmatch(r"(?:.*(?:[=≈]|:[ ]))?\s*([^\w=≈]*[\d.,/\s]+[^\w=≈]*(?:[A-Za-z]+[.]?)?)", plain(line))
        return _phrase(alone[1], whole=True) if alone else None
    sentence = _SENTENCES.split(line)[-1]
    if "=" not in sentence and len(bold) == 1 and bold[0] in sentence:
        return _phrase(plain(bold[0]), whole=False)
    return _sentence(plain(sentence))


def _phrase(text: str, *, whole: bool) -> str | None:
    """The answer of a phrase, which begins with it; of a sentence, by the rules of sentences."""
    text = text.strip()
    start = _LEAD.match(text)
    begun = text[start.end() :] if start else text
    if start and (currency := re.search(r"[$€£¥]$", start.group())):
        # Beside money "5m" is a scale.
        begun = currency.group() + begun
    sign = _NEGATIVE.match(begun)
    found = [*numbers(begun)]
    at = sign.end() if sign else 0
    if found and "=" not in begun and not begun[at : found[0].start].strip(" $€£¥*("):
        read = _single(begun, found)
        return f"-{read}" if sign and read and not read.startswith("-") else read
    if (word := _WORD.match(begun)) and not _PART.match(begun, word.end()):
        value = _TENS.get((word["tens"] or "").lower(), 0) + _WORDS.get((word["unit"] or word["word"] or "").lower(), 0)
        return str(value)
    if re.match(r"not\b", begun, re.IGNORECASE) or (whole and "=" not in text and len(found) != 1):
        return None
    return _sentence(text)


def _sentence(text: str) -> str | None:
    """The number after the last equals sign, else the only number."""
    sides = re.split(r"[=≈]", text)
    if len(sides) > 1:
        return _phrase(sides[-1], whole=True)
    found = [*numbers(text)]
    return _single(text, found) if found and len({one.text for one in found}) == 1 else None


def _single(text: str, found: Sequence[Number]) -> str | None:
    """The text of the first of the numbers found, unless it is a part of a sum or of several numbers."""
    one = found[0]
    before, after = text[: one.start], text[one.end :]
    if _OPERATOR_AFTER.match(after) or _OPERATOR_BEFORE.search(before) or _PART.match(after):
        return None
    if len(found) > 1 and _JOINED.fullmatch(text[one.end : found[1].start]):
        return None
    return one.text


def _braced(text: str, start: int) -> str | None:
    """The text inside a brace that opened before `start`; None if it never closes."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return text[start:at]
    return None
