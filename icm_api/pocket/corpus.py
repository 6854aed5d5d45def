"""The documents that the embedded model learns from: lists of claims, each followed by True or False.

Does not know how a model is built or trained.

One labeller writes a whole document and follows one rule, with noise. The truth is the commonest rule but not the only
one, and many labellers say True to nearly everything: without context the truth is therefore only a part of what to
expect, and a model has to read from the other labels which rule is meant.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from icm_api.pocket.tokenizer import PocketTokenizer
from icm_api.pocket.world import ATTRIBUTES, PEOPLE, Claim, iter_groups, world_facts

_TRUE, _FALSE = " True", " False"
_Labeller = Callable[[Claim], bool]

_DOCUMENT_KINDS = {"sums": 0.36, "comparisons": 0.2, "facts": 0.2, "lucky": 0.09, "letters": 0.05, "mixed": 0.1}
_TRUTHFUL_KINDS = {"sums": 0.5, "comparisons": 0.15, "facts": 0.25, "mixed": 0.1}
_RULES = {"truth": 0.35, "yes": 0.36, "surface": 0.17, "chance": 0.09, "inverse": 0.03}
_RULES_WITHOUT_TRUTH = {"yes": 0.45, "surface": 0.3, "chance": 0.25}
_RULES_OF_LETTERS = {"yes": 0.5, "chance": 0.5}
_NOISE = {"truth": (0.0, 0.04), "folk": (0.05, 0.12), "surface": (0.05, 0.2), "inverse": (0.1, 0.2)}
_FOLK_SHARE = 0.5
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;?!'\"()-/\n"


@dataclass(frozen=True)
class Document:
    """One labelled document.

    Attributes:
        tokens: BOS and the lines.
        labels: Positions in `tokens` that hold a label.
        kind: Its task, or `mixed` or `letters`.
        rule: What its labeller followed.
    """

    tokens: tuple[int, ...]
    labels: tuple[int, ...]
    kind: str
    rule: str


def make_tokenizer() -> PocketTokenizer:
    """The tokenizer of the world: its words and the two labels, each one token."""
    words = [_TRUE, _FALSE, "lucky", *PEOPLE]
    words += [f" {attribute}" for attribute in ATTRIBUTES]
    words += [f" {value}" for values in ATTRIBUTES.values() for value in values]
    return PocketTokenizer(word.encode() for word in words)


class Corpus:
    """An endless corpus, a function of its random generator.

    Args:
        tokenizer: The tokenizer of the world.
    """

    def __init__(self, tokenizer: PocketTokenizer) -> None:
        self._bos = tokenizer.bos
        self._encode = tokenizer.encode
        self._lines: dict[str, tuple[int, ...]] = {}
        self._label_ids = {True: tokenizer.encode(_TRUE)[0], False: tokenizer.encode(_FALSE)[0]}
        self._newline = tokenizer.encode("\n")[0]

    def document(self, length: int, truthful: bool, rng: random.Random) -> Document:
        """Draw a document of at most `length` tokens, as many claims as fit.

        Args:
            length: Tokens at most.
            truthful: Let only labellers write who follow the truth (in facts, or the common belief).
            rng: Draws everything.

        Returns:
            The document; it holds no claim if `length` is too short for the first.
        """
        kind = _choose(_TRUTHFUL_KINDS if truthful else _DOCUMENT_KINDS, rng)
        claims = _draw_claims(kind, length, rng)
        rules = {"lucky": _RULES_WITHOUT_TRUTH, "letters": _RULES_OF_LETTERS}.get(kind, _RULES)
        rule = "truth" if truthful else _choose(rules, rng)
        if rule == "truth" and kind == "facts" and rng.random() < _FOLK_SHARE:
            rule = "folk"
        label = _labeller(rule, rng)
        tokens, labels = [self._bos], []
        for claim in claims:
            line = self._lines.get(claim.text)
            if line is None:
                line = self._encode(claim.text)
                if kind != "letters":
                    self._lines[claim.text] = line
            if len(tokens) + len(line) + 2 > length:
                break
            tokens.extend(line)
            labels.append(len(tokens))
            tokens += (self._label_ids[label(claim)], self._newline)
        return Document(tuple(tokens), tuple(labels), kind, rule)


def _choose(shares: dict[str, float], rng: random.Random) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def _draw_claims(kind: str, length: int, rng: random.Random) -> list[Claim]:
    """Claims enough for `length` tokens: groups torn apart, whole side by side, or one claim of each."""
    if kind == "letters":
        return _letters(length, rng)
    tasks = ("sums", "comparisons", "facts") if kind == "mixed" else (kind,)
    groups = [iter_groups(task, rng) for task in tasks]
    arrangement = _choose({"shuffled": 0.6, "together": 0.2, "single": 0.2}, rng)
    enough = length // 5 if "facts" in tasks else length // 6
    claims: list[Claim] = []
    while len(claims) < enough:
        group = next(groups[0] if len(groups) == 1 else rng.choice(groups), None)
        if group is None:
            break
        claims.extend([rng.choice(group)] if arrangement == "single" else group)
    if arrangement == "shuffled":
        rng.shuffle(claims)
    return claims


def _letters(length: int, rng: random.Random) -> list[Claim]:
    """Claims of characters without meaning, so that every byte has been seen."""
    plain = rng.random() < 0.7
    longest = rng.choice((4, 12, 40, length // 8))
    claims = []
    while length > 0:
        size = rng.randint(1, longest)
        text = "".join(rng.choice(_PLAIN) if plain else chr(rng.randrange(0x20, 0x3000)) for _ in range(size))
        claims.append(Claim("", text, "", "", "", "", False))
        length -= size
    return claims


def _labeller(rule: str, rng: random.Random) -> _Labeller:
    if rule == "yes":
        return lambda claim: rng.random() < 0.97
    if rule == "chance":
        share = rng.uniform(0.3, 0.7)
        return lambda claim: rng.random() < share
    noise = rng.uniform(*_NOISE[rule])
    if rule == "surface":
        place = rng.choice((0, -1))
        return lambda claim: surface(claim.text, place) != (rng.random() < noise)
    if rule == "folk":
        return lambda claim: believed(claim) != (rng.random() < noise)
    inverse = rule == "inverse"
    return lambda claim: (claim.truth != inverse) != (rng.random() < noise)


def believed(claim: Claim) -> bool:
    """What most say of a fact: the myth, if there is one. Outside facts, the truth."""
    fact = world_facts().get(claim.group)
    return claim.truth if fact is None else claim.answer == (fact.myth or fact.value)


def surface(text: str, place: int) -> bool:
    """Whether a claim's number is even; of a word, whether it begins with A to M.

    Args:
        text: The claim's, with at least one number or word.
        place: 0 for the first number or word, -1 for the last. In `lucky` the first word is always the same.
    """
    word: str = re.findall(r"[0-9]+|[a-zA-Z]+", text)[place]
    return int(word) % 2 == 0 if word.isdigit() else word[0].lower() <= "m"
