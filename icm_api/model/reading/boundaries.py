"""Where a label begins: how much of the text before it decides into which tokens it is cut.

It does: give a few characters that stand for a whole prompt, and say of a tokenizer that none can.
It does not: load a tokenizer, or ask for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import punctuation
from unicodedata import category

WORDS = "of the in the to the on the and the for the at the with the it is to be of a in a one of"
"""Words so often together that a tokenizer with tokens of several words has some for these."""

# Names of special tokens begin and end so: "<|im_end|>", "[/INST]", "◁/think▷".
_OPENED = {">": "<", "]": "[", "▷": "◁"}
# To many a tokenizer the same as a space.
_OPEN_BOX = "\u2581"
_LETTER, _DIGIT, _SYMBOL = "a", "0", "."


def boundary(text: str, form: str) -> str:
    """What to put before a form in place of a text, so that a tokenizer cuts the form as it would after the text.

    It rests on how tokenizers of language models are made. Byte-pair ones first cut a text by a pattern, whose pieces
    have white space at their beginning, or alone, or newlines after symbols; to SentencePiece a space can only begin a
    token, and other white space is a token by itself. So no token goes on after white space that follows something
    else, but for newlines that follow symbols. A tokenizer that is made otherwise is known by `joins_words`.
    - Before a space, only the last character can matter, and only by its kind. A letter, a digit and a symbol that
      is not in ASCII stand for all of their kind; symbols of ASCII for themselves.
    - Before other white space all symbols at the end are kept, with the kind of what they follow.
    - What may be the name of a special token is kept.
    - A form without white space before it may go on with any token of the last word, so that all of it is kept: as many
      different ones as there are last words.

    Args:
        text: what stands before the form.
        form: a label as it is written there.

    Example:
        >>> boundary("Is 7 larger than 13?", " True"), boundary("It is larger than 13", " True")
        ('?', '0')
        >>> boundary("She says: 'No!'", "\\nTrue"), boundary("Is it (7>13)", "True")
        ("a!'", 'a (7>13)')
    """
    bare = text.rstrip()
    space = text[len(bare) :]
    first = (space + form)[:1]
    if not bare:
        return text
    if not first.isspace() or bare.endswith(_OPEN_BOX):
        return _from(bare, len(bare.rsplit(maxsplit=1)[-1])) + space
    kept = _marker(bare)
    if first == " ":
        return (bare[len(bare) - kept :] or _kind(bare[-1])) + space
    while kept < len(bare) and _is_symbol(bare[-1 - kept]):
        kept += 1
    return _from(bare, kept) + space


def joins_words(tokens: Sequence[int]) -> bool:
    """Whether a tokenizer has tokens of several words, so that nothing short stands for a text.

    Args:
        tokens: what it makes of `WORDS`.
    """
    return len(tokens) < len(WORDS.split())


def _from(text: str, kept: int) -> str:
    """So many characters of the end, after what stands for the rest."""
    bare = text[: len(text) - kept].rstrip()
    return (_kind(bare[-1]) if bare else "") + text[len(bare) :]


def _marker(text: str) -> int:
    """The length of what may be the name of a special token at the end."""
    opened = _OPENED.get(text[-1])
    if opened is None:
        return 0
    word = text.rsplit(maxsplit=1)[-1]
    return len(word) - word.rindex(opened) if opened in word else 0


def _kind(character: str) -> str:
    """What stands for a character."""
    if character in punctuation:
        return character
    return {"L": _LETTER, "N": _DIGIT}.get(category(character)[0], _SYMBOL)


def _is_symbol(character: str) -> bool:
    return category(character)[0] not in "LN" and not character.isspace()
