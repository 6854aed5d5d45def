"""Orders that say nothing: texts ranked by a hash, so that where something stands cannot give its gold label away."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256


def rank(purpose: str, *texts: str) -> bytes:
    """A number, as bytes to sort by, that depends on the texts and on what it is for, and looks random.

    Example:
        >>> rank("order", "a") == rank("order", "a"), rank("order", "a") == rank("sample", "a")
        (True, False)
    """
    state = sha256()
    for text in (purpose, *texts):
        raw = text.encode("utf-8")
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        state.update(f"{len(raw)}:".encode() + raw)
    return state.digest()


def ranked(purpose: str, texts: Iterable[str], *beside: str) -> list[str]:
    """Different texts in the order of their ranks; `beside` are texts of the place, such as the question.

    Example:
        >>> ranked("order", ["yes", "no", "yes"], "Is it?") == ranked("order", ["no", "yes"], "Is it?")
        True
    """
    return sorted(dict.fromkeys(texts), key=lambda text: rank(purpose, *beside, text))
