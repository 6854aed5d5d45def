"""From what a server says of single tokens to what is known of surface forms: pure, and the same for every API.

It does: refuse numbers that cannot be logprobs, match tokens with surface forms by their bytes, bound what was not
listed.
It does not: know a wire format (that is `openai_bodies`), ask anything, or normalise over labels (that is `reading`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isnan, log, log1p
from typing import NamedTuple, TypeGuard

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.reading import Below
from icm_api.types import logsumexp

# Servers write -9999, -99999 or -1e9 where they have no number; no real token is as unlikely as that.
_PLACEHOLDER = -9999.0
_LARGEST_SUM = 1.02
_LARGEST_LOGPROB = log1p(1e-6)
# What rounding can hide from a sum of probabilities.
_ROUNDING = 1e-6
# Two labels can tie in half precision; that three tokens tie exactly happens only if nothing was computed.
_TOO_MANY_TIES = 3
_WHITE_SPACE = b" \t\r\n"
_SPACES = frozenset((b" ", b"\t", b"\r", b"\n"))
# The end of messages on numbers that are none.
_ELSEWHERE = "use a model and host that give real logprobs, or a provider that samples"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a token may write, if that is not sure.

    Attributes:
        known: its first bytes.
        half: a part of a character follows these, of which nothing is known.
    """

    known: bytes
    half: bool = False

    def of(self, form: bytes) -> bool:
        """Whether a form may begin so, or be no more than that.

        Example:
            >>> Beginning(b"S", half=True).of("Sí".encode()), Beginning(b"S", half=True).of(b"Si")
            (True, False)
        """
        return form.startswith(self.known) and (not self.half or form[len(self.known) :] >= b"\x80")


class TokenLogprob(NamedTuple):
    """One token of an answer.

    Attributes:
        text: as the server shows it; empty if it gives only an id.
        logprob: as the server gives it, which may be no number at all.
        raw: its bytes, None if the server doesn't give them.
        id: its number in the vocabulary, None if the server doesn't give it.
        may: what it may write besides, if its bytes are not sure (see `token_text`).
    """

    text: str
    logprob: object
    raw: bytes | None = None
    id: int | None = None
    may: tuple[Beginning, ...] = ()

    @property
    def written(self) -> bytes:
        """The bytes it writes: those given, else its text."""
        return self.text.encode("utf-8", "replace") if self.raw is None else self.raw

    def same(self, other: TokenLogprob) -> bool:
        """Whether both are one token, whatever their numbers.

        Some servers strip the space before a token among the alternatives alone: then it has the same number.
        """
        if self.text and self.text != other.text and self.logprob == other.logprob:
            return self.text.lstrip() == other.text.lstrip()
        return (self.text, self.raw) == (other.text, other.raw) and (bool(self.text) or self.id == other.id)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text.

    Attributes:
        token: the token that stands there.
        top: the likeliest tokens there, of which it may be one.
        start: the character at which it begins; negative for what a server put before the text.
    """

    token: TokenLogprob
    top: tuple[TokenLogprob, ...] = ()
    start: int = 0

    @property
    def listed(self) -> tuple[TokenLogprob, ...]:
        """The likeliest tokens, and the one that stands there."""
        return self.top if any(token.same(self.token) for token in self.top) else (*self.top, self.token)


@dataclass(frozen=True, slots=True)
class FormsRead:
    """What one list of alternatives says of the forms.

    Attributes:
        forms: log p of each form that was listed as one token; `Below` for the others.
        begun: of those others, the likeliest listed token that writes their beginning, and no more.
        stripped: no listed token begins with white space, though forms do: the server seems to leave it out.
    """

    forms: Mapping[str, float | Below]
    begun: Mapping[str, TokenLogprob]
    stripped: bool = False


def logprob_of(token: TokenLogprob) -> float | None:
    """The token's logprob; None for a placeholder such as -9999, which only says that it is very small.

    Raises:
        LogprobsUnavailableError: it is null, NaN, positive, or no number.

    Example:
        >>> logprob_of(TokenLogprob("a", -0.5)), logprob_of(TokenLogprob("a", -9999.0))
        (-0.5, None)
    """
    value = token.logprob
    if value == "-Infinity":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or isnan(value) or value > _LARGEST_LOGPROB:
        raise LogprobsUnavailableError(f"token {token.text!r} has logprob {value!r}, which is none; {_ELSEWHERE}")
    return None if value <= _PLACEHOLDER else float(value)


def is_plain(logprob: object) -> TypeGuard[float]:
    """Whether it is a number that `logprob_of` gives as it is; of any other, that says what it is."""
    return type(logprob) is float and _PLACEHOLDER < logprob <= 0.0


def alternatives(tokens: Iterable[TokenLogprob]) -> dict[TokenLogprob, float]:
    """The different tokens at one place that have a logprob.

    Tokens are the same where text, bytes and logprob are, or their ids if there is no text; these count once.

    Raises:
        LogprobsUnavailableError: there is none; or they are three or more and all equal; or their probabilities
            sum to more than 1.02; or one is no logprob (see `logprob_of`).

    Example:
        >>> a, b = TokenLogprob(" a", -1.0), TokenLogprob(" b", -9999.0)
        >>> list(alternatives([a, a, b]).values())
        [-1.0]
    """
    distinct: dict[object, tuple[TokenLogprob, float]] = {}
    for token in tokens:
        logprob = logprob_of(token)
        if logprob is not None:
            key = (token.text, token.raw, logprob) if token.text or token.id is None else token.id
            distinct.setdefault(key, (token, logprob))
    found = dict(distinct.values())
    if not found:
        raise LogprobsUnavailableError(f"the answer lists no token with a logprob, or placeholders alone; {_ELSEWHERE}")
    refuse_constant(list(found.values()))
    total = sum(map(exp, found.values()))
    if total > _LARGEST_SUM:
        raise LogprobsUnavailableError(
            f"the listed tokens' probabilities sum to {total:.3f}, more than 1: these are no logprobs; {_ELSEWHERE}"
        )
    return found


def refuse_constant(logprobs: Sequence[float]) -> None:
    """Refuse three or more logprobs that are all the same.

    Raises:
        LogprobsUnavailableError: they are.
    """
    if len(logprobs) >= _TOO_MANY_TIES and len(set(logprobs)) == 1:
        raise LogprobsUnavailableError(
            f"all {len(logprobs)} tokens have the same logprob {logprobs[0]}: the server fills in a placeholder; "
            f"{_ELSEWHERE}"
        )


def read_forms(place: Place, forms: Sequence[str], *, loose_space: bool = False) -> FormsRead:
    r"""What the listed alternatives say of each form.

    A token stands for the form whose bytes it writes. With `loose_space` a token that stands for none stands for the
    first form that differs from it in leading white space alone: chat models begin an answer with "True", while a
    text would go on with " True". So it is too if no listed token begins with white space, while one is a form without
    it. What several tokens write of one form is added up; no token counts twice.

    A form that no token writes is `Below` what it can have at most: as much as the least of the listed ones or as
    what all the listed ones leave, whichever is less, and besides that what the tokens have that write only its
    beginning. A token whose bytes are not sure bounds every form that it may begin, and counts for none.

    Args:
        place: the tokens listed at one place.
        forms: the surface forms.
        loose_space: for answers of chat models.

    Raises:
        LogprobsUnavailableError: the logprobs cannot be ones, see `alternatives`.

    Example:
        >>> listed = [TokenLogprob(" True", log(0.5)), TokenLogprob(" Fal", log(0.25)), TokenLogprob(" so", log(0.05))]
        >>> read = read_forms(Place(listed[0], tuple(listed)), [" True", " False", " Maybe"])
        >>> {form: round(exp(getattr(value, "logprob", value)), 3) for form, value in read.forms.items()}
        {' True': 0.5, ' False': 0.3, ' Maybe': 0.05}
        >>> read.begun[" False"].text
        ' Fal'
    """
    found = alternatives(place.listed)
    stripped = not loose_space and _is_stripped(found, forms)
    loose_space = loose_space or stripped
    owned, doubtful = _assigned(found, forms, loose_space=loose_space)
    left = max(1 - sum(map(exp, found.values())), _ROUNDING)
    # Servers list the token of the text even if it is none of the likeliest, so it bounds nothing.
    ceiling = min([left, *(exp(value) for token, value in found.items() if not token.same(place.token))])
    read: dict[str, float | Below] = {}
    begun = {}
    for form in forms:
        doubt = sum(map(exp, doubtful[form]))
        if form in owned:
            sure = min(logsumexp(owned[form]), 0.0)
            read[form] = Below(log(min(1.0, exp(sure) + doubt)), sure) if doubt else sure
            continue
        beginnings = {token: value for token, value in found.items() if begins(token, form, loose_space=loose_space)}
        if beginnings:
            begun[form] = max(beginnings, key=beginnings.__getitem__)
        read[form] = Below(log(min(1.0, ceiling + doubt + sum(map(exp, beginnings.values())))))
    return FormsRead(read, begun, stripped)


def _is_stripped(found: Mapping[TokenLogprob, float], forms: Sequence[str]) -> bool:
    written = {token.written for token in found}
    bare = {form.encode().lstrip(_WHITE_SPACE) for form in forms if form[:1].isspace()}
    return not bare.isdisjoint(written) and not any(each[:1] in _SPACES for each in written)


def _assigned(
    found: Mapping[TokenLogprob, float], forms: Sequence[str], *, loose_space: bool
) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]]]:
    """Per form the logprobs of the tokens that write it, and of those that may write or begin it."""
    owned: dict[str, list[float]] = defaultdict(list)
    doubtful: dict[str, list[float]] = defaultdict(list)
    exact = {form.encode(): form for form in reversed(forms)}
    loose = {form.encode().lstrip(_WHITE_SPACE): form for form in reversed(forms)} if loose_space else {}
    for token, logprob in found.items():
        form = exact.get(token.written, loose.get(token.written.lstrip(_WHITE_SPACE)))
        ways = [replace(way, known=way.known.lstrip(_WHITE_SPACE)) if loose_space else way for way in token.may]
        others = {other for whole, other in (loose or exact).items() if any(way.of(whole) for way in ways)} - {form}
        if form is not None and not others:
            owned[form].append(logprob)
        elif others:
            for other in others | ({form} if form is not None else set()):
                doubtful[other].append(logprob)
    return owned, doubtful


def begins(token: TokenLogprob, form: str, *, loose_space: bool = False) -> bool:
    """Whether the token writes a beginning of the form, and neither nothing nor the whole.

    Args:
        token: as listed.
        form: a surface form.
        loose_space: leading white space makes no difference.
    """
    start, whole = token.written, form.encode()
    if loose_space:
        start, whole = start.lstrip(_WHITE_SPACE), whole.lstrip(_WHITE_SPACE)
    return bool(start) and start != whole and whole.startswith(start)
