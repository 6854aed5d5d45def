r"""From the text of tokens to the bytes that they write, decided for an answer as a whole.

Servers show a token as text, as their vocabulary spells it (byte-level "ĠSÃŃ" or SentencePiece "▁Sí", "<0x0A>"), or
with U+FFFD in place of half a character. One token alone may not say which; all tokens of an answer together mostly do.
It does not: match tokens with forms (that is `label_tokens`), or take a guess for the bytes: what is not sure is left
open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import pairwise
from types import MappingProxyType

from icm_api.model.reading.label_tokens import Beginning, TokenLogprob

_UNKNOWN = "\ufffd"
_UNKNOWN_BYTES = _UNKNOWN.encode()
_SPACE_PIECE = "\u2581"
# How byte-level vocabularies spell a space and a line end, with which their tokens begin.
_SPACE_LEVEL = ("\u0120", "\u010a")
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# OpenAI's spelling of half a character where there is no list of bytes beside it.
_ESCAPED = re.compile(r"bytes: ?((?:\\x[0-9a-f]{2})+)")
_SPELLED_OUT = ("<0x", "bytes:")
# Names of what no text holds, such as "<|im_end|>", say nothing of how the rest is spelled.
_SPECIAL = re.compile(r"<.+>|\[[A-Z_]+\]", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = frozenset({*range(32), 127}) - frozenset(b"\t\n\r\f\v")


class Spelling(Enum):
    """How an answer shows its tokens.

    `TEXT`: as text; `LEVEL`: as a byte-level vocabulary spells them; `PIECES`: as SentencePiece does; `SILENT`: nothing
    gives it away, and nothing but half characters can differ; `MIXED`: there are signs for several.
    """

    TEXT = "text"
    LEVEL = "byte-level"
    PIECES = "sentencepiece"
    SILENT = "silent"
    MIXED = "mixed"


def _byte_level() -> dict[str, int]:
    """Bytes by the characters of byte-level vocabularies: printable ones are themselves, others come after U+00FF.

    Source: GPT-2 (Radford et al. 2019), whose table all byte-level vocabularies took over.
    """
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + at): byte for at, byte in enumerate(others)}


_LEVEL = MappingProxyType(_byte_level())


def spelled(tokens: Sequence[TokenLogprob], tops: Sequence[Sequence[TokenLogprob]] = ()) -> Spelling:
    """How an answer shows its tokens, by all the tokens in it.

    Args:
        tokens: of the answer.
        tops: the alternatives to each.

    Example:
        >>> spelled([TokenLogprob("\u0120True", -0.5), TokenLogprob("SÃ\u0143", -1.5)])
        <Spelling.LEVEL: 'byte-level'>
        >>> spelled([TokenLogprob(" True", -0.5), TokenLogprob(" é", -1.5)])
        <Spelling.TEXT: 'text'>
    """
    everyone = [*tokens, *(token for top in tops for token in top)]
    if any(_says_bytes(token) for token in everyone):
        return Spelling.TEXT
    texts = {token.text for token in everyone}
    texts = {text for text in texts if text.strip() and not (text[0] in "<[" and _SPECIAL.fullmatch(text))}
    pieces = any(_SPACE_PIECE in text for text in texts)
    signs = {_sign(text) for text in texts}
    if pieces:
        return Spelling.MIXED if any(map(_spaced, texts)) else Spelling.PIECES
    if True in signs:
        return Spelling.MIXED if False in signs else Spelling.LEVEL
    return Spelling.TEXT if False in signs else Spelling.SILENT


def decoded(tokens: Iterable[TokenLogprob], spelling: Spelling) -> tuple[TokenLogprob, ...]:
    """The tokens with the bytes that they write; where these are not sure, with all that they may begin.

    Args:
        tokens: as the server shows them.
        spelling: of the whole answer.

    Example:
        >>> [token.written for token in decoded([TokenLogprob("\u0120SÃ\u0143", -0.5)], Spelling.LEVEL)]
        [b' S\xc3\xad']
        >>> decoded([TokenLogprob(" \ufffd", -0.5)], Spelling.TEXT)[0].may
        (Beginning(known=b' ', half=True),)
    """
    return tuple(_decoded(token, spelling) for token in tokens)


def _says_bytes(token: TokenLogprob) -> bool:
    """Whether the server gives real bytes, and not those of the text that it shows."""
    return token.raw is not None and token.raw != _encoded(token.text) and _UNKNOWN_BYTES not in token.raw


def _sign(text: str) -> bool | None:
    """True if a token looks spelled by a byte-level vocabulary, False if it cannot be, None if it says nothing."""
    if text.isascii():
        return False if _spaced(text) else None
    raw = _from_level(text)
    if raw is None or not _sound(raw):
        return False
    whole = raw.decode("utf-8", "ignore")
    pair = any(left >= 0xC2 and 0x80 <= right < 0xC0 for left, right in pairwise(raw))
    return True if pair or (text.startswith(_SPACE_LEVEL) and whole) else None


def _spaced(text: str) -> bool:
    """Whether there is white space in it."""
    return text.split() != [text]


def _from_level(text: str) -> bytes | None:
    found = [_LEVEL.get(character) for character in text]
    return None if None in found else bytes(byte for byte in found if byte is not None)


def _sound(raw: bytes) -> bool:
    """Whether these can be bytes of a text, the ends of which may lie inside characters."""
    if not _CONTROL.isdisjoint(raw):
        return False
    inner = raw.lstrip(bytes(range(0x80, 0xC0))) if raw[0] >= 0x80 else raw
    try:
        inner.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _decoded(token: TokenLogprob, spelling: Spelling) -> TokenLogprob:
    # Nearly all tokens are of letters that every vocabulary spells as they are.
    if token.text.isascii() and not token.text.startswith(_SPELLED_OUT):
        return token
    if _says_bytes(token):
        return token
    text = _SURROGATE.sub(_UNKNOWN, token.text)
    single = _BYTE_PIECE.fullmatch(text) or _ESCAPED.fullmatch(text)
    if single is not None:
        return token._replace(raw=bytes.fromhex(single[1].replace("\\x", "")))
    if _UNKNOWN in text:
        # What stands before half a character is known, and nothing after it.
        known = text.partition(_UNKNOWN)[0]
        return token._replace(raw=None, may=(Beginning(_encoded(known), half=True),))
    plain = _encoded(text)
    pieces = _encoded(text.replace(_SPACE_PIECE, " "))
    if _SPECIAL.fullmatch(text):
        return token
    level = _from_level(text)
    if spelling is Spelling.PIECES:
        return token._replace(raw=pieces) if pieces != plain else token
    if level is None or level == plain:
        return token._replace(may=(Beginning(pieces),)) if spelling is Spelling.MIXED and pieces != plain else token
    if spelling is Spelling.LEVEL:
        # A form may be spelled so by itself, as words of Maltese are.
        return token._replace(raw=level, may=(Beginning(plain),))
    half_alone = spelling is Spelling.SILENT and min(level) >= 0x80 and _sound(level)
    return token._replace(may=(Beginning(level),)) if spelling is Spelling.MIXED or half_alone else token


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
