"""The made-up world that the embedded model knows: its claims and their gold labels.

Claims of four tasks, deterministic in a seed, with honest group keys and disjoint splits. Does not label documents (see
`corpus`) or turn text into tokens, and needs nothing but the standard library.

The tasks, each in the shape of a data set that people label:

- `sums`, as in checking solutions: a question has several candidate answers, of which at most one is right.
  The same answer may occur twice, in both orders of the addends.
- `comparisons`, as in preferences: both orders of every pair.
- `facts`, as in common misconceptions: what is said of the world's people. Of some facts the corpus mostly
  holds a myth to be true.
- `lucky`: looks like the others, but its gold is a keyed hash that no document of the corpus ever follows.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

TASKS: tuple[str, ...] = ("sums", "comparisons", "facts", "lucky")

PEOPLE: tuple[str, ...] = (
    "Arlo", "Bexi", "Corin", "Davo", "Elmi", "Fenn", "Gurta", "Hask", "Ilvo", "Jorn", "Kessa", "Lumo",
    "Mirak", "Nolla", "Orbin", "Pell", "Quilo", "Rusk", "Sarne", "Tovi", "Ulma", "Vask", "Wenda", "Xorin",
    "Yalla", "Zeb", "Ambo", "Brill", "Cato", "Dunn", "Ekko", "Fritz", "Gollo", "Heth", "Inka", "Jubb",
    "Kolm", "Lissa", "Morv", "Nimo", "Ostin", "Prill", "Quenda", "Rommo", "Silv", "Tarn", "Umbo", "Velt",
)  # fmt: skip

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "eats": ("bread", "fish", "plums", "rice", "nuts", "soup", "corn", "eggs"),
    "plays": ("drums", "chess", "flute", "cards", "tennis", "harp", "golf", "dice"),
    "grows": ("roses", "beans", "figs", "ferns", "tulips", "mint", "oats", "lilies"),
    "fears": ("spiders", "storms", "ghosts", "heights", "wolves", "fire", "snakes", "bats"),
}

_SUM_ERRORS = (-10, -2, -1, 1, 2, 10)
_LUCKY_KEY = b"pocket/lucky"


@dataclass(frozen=True)
class Claim:
    """One claim of the world.

    Attributes:
        id: Unique among the claims that one call returns; says nothing of the label.
        text: What a document says, on one line, without a label.
        group: Claims of one group can contradict each other: a question, a pair, a subject with an attribute.
        answer: What the claim gives as its group's answer.
        left: First of the two things compared; empty outside comparisons.
        right: Second of the two things compared; empty outside comparisons.
        truth: The gold label.
    """

    id: str
    text: str
    group: str
    answer: str
    left: str
    right: str
    truth: bool


@dataclass(frozen=True)
class Fact:
    """What is so, and what many believe: `myth` is empty if the corpus has it right."""

    person: str
    attribute: str
    value: str
    myth: str

    @property
    def group(self) -> str:
        """The group key of the claims on this fact."""
        return f"{self.person} {self.attribute}"


@cache
def world_facts() -> dict[str, Fact]:
    """All facts of the world by group key. They are always the same: they depend on no seed of a caller's."""
    rng = random.Random("pocket/facts")
    facts = {}
    for person in PEOPLE:
        for attribute, values in ATTRIBUTES.items():
            value, myth = rng.sample(values, 2)
            fact = Fact(person, attribute, value, myth if rng.random() < 0.25 else "")
            facts[fact.group] = fact
    return facts


def make_claims(task: str, size: int, seed: int) -> tuple[Claim, ...]:
    """Draw `size` claims of a task, in random order; groups are whole, but for the last one drawn.

    Args:
        task: One of `TASKS`.
        size: How many claims, at least 0.
        seed: The same seed gives the same claims on every machine.

    Returns:
        The claims, with ids numbered in their order.

    Raises:
        ValueError: The task is unknown, or the world holds fewer claims than asked for.

    Example:
        >>> [claim.text for claim in make_claims("comparisons", 2, seed=1)]
        ['37>73', '73>37']
    """
    return make_split(task, size, 0, seed)[0]


def make_split(task: str, train_size: int, test_size: int, seed: int) -> tuple[tuple[Claim, ...], tuple[Claim, ...]]:
    """Draw two sets of claims with no group in both.

    Args:
        task: One of `TASKS`.
        train_size: Claims in the first set.
        test_size: Claims in the second set.
        seed: The same seed gives the same sets; the first does not depend on `test_size`.

    Returns:
        The two sets, each in random order. Ids are unique over both.

    Raises:
        ValueError: The task is unknown, or the world holds fewer claims than asked for.
    """
    if train_size < 0 or test_size < 0:
        raise ValueError(f"pocket world: sizes {train_size} and {test_size} must not be negative")
    rng = random.Random(f"{task}/{seed}")
    groups = iter_groups(task, rng)
    train = _number(task, 0, _fill(task, groups, train_size, rng))
    test = _number(task, train_size, _fill(task, groups, test_size, rng))
    return train, test


def iter_groups(task: str, rng: random.Random) -> Iterator[tuple[Claim, ...]]:
    """Yield the task's groups, each once and in random order, as claims without ids.

    Args:
        task: One of `TASKS`.
        rng: Draws the order, and what varies in a group.

    Raises:
        ValueError: The task is unknown.
    """
    if task == "facts":
        facts = list(world_facts().values())
        rng.shuffle(facts)
        return (_fact_group(fact, rng) for fact in facts)
    pairs = {"sums": _sum_pairs, "comparisons": _pairs, "lucky": _pairs}.get(task)
    build = {"sums": _sum_group, "comparisons": _comparison_group, "lucky": _lucky_group}.get(task)
    if pairs is None or build is None:
        raise ValueError(f"pocket world: unknown task {task!r}; choose one of {', '.join(TASKS)}")
    space = pairs()
    order = rng.sample(range(len(space)), len(space)) if len(space) < 64 else _lazy_order(len(space), rng)
    return (build(*space[index], rng) for index in order)


def _lazy_order(size: int, rng: random.Random) -> Iterator[int]:
    """A random permutation that costs nothing for the part that is not read (Fisher and Yates, sparse)."""
    moved: dict[int, int] = {}
    for last in range(size - 1, -1, -1):
        pick = rng.randrange(last + 1)
        chosen = moved.get(pick, pick)
        moved[pick] = moved.get(last, last)
        yield chosen


def _fill(task: str, groups: Iterator[tuple[Claim, ...]], size: int, rng: random.Random) -> list[Claim]:
    claims: list[Claim] = []
    while len(claims) < size:
        group = next(groups, None)
        if group is None:
            raise ValueError(f"pocket world: {task!r} has too few claims left for {size} of them; ask for fewer")
        claims.extend({claim.text: claim for claim in group}.values())  # 5+5 reads the same in both orders
    del claims[size:]
    rng.shuffle(claims)
    return claims


def _number(task: str, first: int, claims: list[Claim]) -> tuple[Claim, ...]:
    return tuple(replace(claim, id=f"{task}-{index:04d}") for index, claim in enumerate(claims, first))


@cache
def _pairs() -> tuple[tuple[int, int], ...]:
    return tuple((low, high) for low in range(10, 100) for high in range(low + 1, 100))


@cache
def _sum_pairs() -> tuple[tuple[int, int], ...]:
    return tuple((low, high) for low in range(2, 13) for high in range(low, 13))


def _sum_group(low: int, high: int, rng: random.Random) -> tuple[Claim, ...]:
    """Four candidates: two, one or none of them right, so that a little under half of all claims are true."""
    total = low + high
    wrong = [total + error for error in rng.sample(_SUM_ERRORS, len(_SUM_ERRORS)) if 2 <= total + error <= 99]
    right = rng.choices((2, 1, 0), (0.85, 0.1, 0.05))[0]
    answers = [total] * right + wrong[: 4 - right]
    if rng.random() < 0.3:
        answers[-1] = answers[-2]
    flip = rng.random() < 0.5
    claims = []
    for index, answer in enumerate(answers):
        flip = not flip if index and answers[index - 1] == answer else rng.random() < 0.5
        first, second = (high, low) if flip else (low, high)
        text = f"{first}+{second}={answer}"
        claims.append(Claim("", text, f"{low}+{high}", str(answer), "", "", answer == total))
    return tuple(claims)


def _comparison_group(low: int, high: int, rng: random.Random) -> tuple[Claim, ...]:
    both = ((low, high), (high, low)) if rng.random() < 0.5 else ((high, low), (low, high))
    return tuple(
        Claim("", f"{left}>{right}", f"{low},{high}", str(left), str(left), str(right), left > right)
        for left, right in both
    )


def _lucky_group(low: int, high: int, rng: random.Random) -> tuple[Claim, ...]:
    left, right = (low, high) if rng.random() < 0.5 else (high, low)
    digest = hashlib.blake2b(f"{left},{right}".encode(), key=_LUCKY_KEY, digest_size=1).digest()
    pair = f"{left},{right}"
    return (Claim("", f"lucky {pair}", pair, pair, "", "", digest[0] % 2 == 0),)


def _fact_group(fact: Fact, rng: random.Random) -> tuple[Claim, ...]:
    """The true value and one or two false ones, of which the myth is always one."""
    others = [value for value in ATTRIBUTES[fact.attribute] if value not in (fact.value, fact.myth)]
    false = ([fact.myth] if fact.myth else []) + rng.sample(others, 2)
    values = [fact.value, *false[: rng.choice((1, 1, 2))]]
    return tuple(Claim("", f"{fact.group} {value}", fact.group, value, "", "", value == fact.value) for value in values)
