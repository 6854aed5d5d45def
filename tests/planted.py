"""Planted data sets of the embedded model's world: for each it is known beforehand what a judge of labels must say.

Claims the model knows are `icm_api.pocket.world`'s own; what it cannot know is built here of the same vocabulary.
Gold is at hand for checking the data, and for labels that are handed in; no search and no judge sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from icm_api.config import SearchSettings
from icm_api.consistency import asymmetric, equivalent, exactly_one, mutually_exclusive
from icm_api.evaluation.diagnostics import Diagnosis, diagnose
from icm_api.evaluation.distance import agreement
from icm_api.evaluation.measures import Judged
from icm_api.objective import Objective
from icm_api.pocket.world import ATTRIBUTES, PEOPLE, Claim, make_claims
from icm_api.search import build_objective, make_start, search
from icm_api.types import Constraint, Dataset, Example, Labeling, Model, PromptTemplate, Task

SIZE = 32
EXCLUSIVE = (mutually_exclusive("True"),)
SUMS = (mutually_exclusive("True"), equivalent())
HEAVY = (asymmetric("True", total=True, weight=5.0),)
"""Sixteen broken relations then cost more than the most that labels all alike can gain."""
ONE_RIGHT = (exactly_one("True", weight=10.0),)
"""No question may be left without an answer."""
SUMMANDS = tuple((a, b) for a in range(4, 13) for b in range(a, 13))
FOUND = 0.8
"""Labels that agree with gold on fewer examples than this, or on fewer than one label for all, are not the concept."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A data set, how it gets its labels, and what may be said of them.

    Attributes:
        claims: the examples, with their gold.
        constraints: between them.
        allowed: verdicts that are right.
        if_missed: verdicts that are right where the search did not find the concept, see `FOUND`.
        labels: handed in instead of searched for.
        fixed: labels that a person gave.
    """

    claims: tuple[Claim, ...]
    constraints: tuple[Constraint, ...]
    allowed: tuple[str, ...]
    if_missed: tuple[str, ...] = ()
    labels: Labeling | None = None
    fixed: Labeling = field(default_factory=Labeling)

    @property
    def dataset(self) -> Dataset:
        """The examples, without their gold."""
        return Dataset(
            Example(c.id, {"text": c.text, "left": c.left, "right": c.right}, c.group, c.answer) for c in self.claims
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """A planted case, labelled and judged; `search_requests` is 0 where its labels were handed in."""

    planted: Planted
    objective: Objective
    judged: Judged
    diagnosis: Diagnosis
    search_requests: int

    @property
    def found(self) -> bool:
        """Whether the labels are the concept's."""
        truth = gold(self.planted.claims)
        alike = max(Counter(truth.values()).values()) / len(truth)
        return agreement(self.judged.score.labeling, truth) >= max(FOUND, alike)

    @property
    def right(self) -> bool:
        """Whether the verdict is right of the labels that there are."""
        missed = self.planted.if_missed and not self.found
        return self.diagnosis.verdict.name in (self.planted.if_missed if missed else self.planted.allowed)


async def outcome(planted: Planted, model: Model, seed: int) -> Outcome:
    """Label a planted case, by the default search or as handed in, and judge the labels."""
    settings = SearchSettings(seed=seed)
    task = Task(PromptTemplate(separator="\n"), constraints=planted.constraints)
    objective = build_objective(planted.dataset, model, task, settings)
    if planted.labels is None:
        found = await search(objective, settings, make_start(planted.dataset, objective.labels, planted.fixed))
        judged, requests = Judged(found.score, found.ends, planted.fixed), found.usage.requests
    else:
        judged, requests = Judged(await objective(planted.labels), fixed=planted.fixed), 0
    return Outcome(planted, objective, judged, await diagnose(objective, judged, seed=seed), requests)


def numbered(claims: Sequence[Claim], rng: Random) -> tuple[Claim, ...]:
    """The claims in random order, under ids that say nothing of the label."""
    return tuple(replace(claim, id=f"c{at:03d}") for at, claim in enumerate(rng.sample(claims, len(claims))))


def gold(claims: Sequence[Claim]) -> Labeling:
    """What is so."""
    return Labeling({claim.id: str(claim.truth) for claim in claims})


def inverse(claims: Sequence[Claim]) -> Labeling:
    """The opposite of what is so: a coherent rule, and a wrong one."""
    return Labeling({claim.id: str(not claim.truth) for claim in claims})


def on_a_third(labels: Labeling) -> Labeling:
    """Every third label."""
    return Labeling({key: labels[key] for key in sorted(labels)[::3]})


def lucky_pairs(size: int, seed: int) -> tuple[Claim, ...]:
    """Both orders of lucky pairs, of which the corpus says nothing."""
    rng, claims = Random(f"planted/lucky/{seed}"), []
    for low, high in _number_pairs(size // 2, rng):
        for left, right in ((low, high), (high, low)):
            text, group = f"lucky {left},{right}", f"{low},{high}"
            claims.append(
                Claim("", text, group, str(left), str(left), str(right), (left < right) == rng.choice((True, False)))
            )
    return numbered(claims, rng)


def _number_pairs(count: int, rng: Random) -> list[tuple[int, int]]:
    return rng.sample([(low, high) for low in range(10, 100) for high in range(low + 1, 100)], count)


def wrong_sums(questions: int, seed: int, right: int = 0) -> tuple[Claim, ...]:
    """Four candidates for each of some sums, all of them wrong, but for one in each of the first `right` sums."""
    rng, claims = Random(f"planted/sums/{seed}"), []
    for at, (a, b) in enumerate(rng.sample(SUMMANDS, questions)):
        answers = [a + b + error for error in rng.sample((-10, -2, -1, 1, 2, 10), 6) if a + b + error >= 2][:4]
        if at < right:
            answers[0] = a + b
        claims += [Claim("", f"{a}+{b}={x}", f"{a}+{b}", str(x), "", "", x == a + b) for x in answers]
    return numbered(claims, rng)


def unknown_people(questions: int, seed: int, values: int = 3) -> tuple[Claim, ...]:
    """Facts about people that the corpus never names: two names run together. One value of each is called true."""
    rng, claims = Random(f"planted/people/{seed}"), []
    for _ in range(questions):
        first, second = rng.sample(PEOPLE, 2)
        attribute = rng.choice(list(ATTRIBUTES))
        group = f"{first}{second.lower()} {attribute}"
        for at, value in enumerate(rng.sample(ATTRIBUTES[attribute], values)):
            claims.append(Claim("", f"{group} {value}", group, value, "", "", at == 0))
    return numbered(claims, rng)


def mostly_true(size: int, seed: int, false: int = 2) -> tuple[Claim, ...]:
    """Comparisons, one order of each pair, nearly all of them true: nothing to contrast them with."""
    rng, claims = Random(f"planted/skewed/{seed}"), []
    for at, (low, high) in enumerate(_number_pairs(size, rng)):
        left, right = (low, high) if at < false else (high, low)
        claims.append(Claim("", f"{left}>{right}", f"{low},{high}", str(left), str(left), str(right), left > right))
    return numbered(claims, rng)


def answerable(claims: Sequence[Claim]) -> frozenset[str]:
    """The groups that have a right answer."""
    return frozenset(claim.group for claim in claims if claim.truth)


Case = Callable[[int], Planted]


def _collapsed_labels(task: str, constraints: tuple[Constraint, ...]) -> Case:
    def case(seed: int) -> Planted:
        claims = make_claims(task, SIZE, seed)
        return Planted(claims, constraints, ("collapsed",), labels=Labeling({claim.id: "True" for claim in claims}))

    return case


def _all_true_of_few_false(seed: int) -> Planted:
    claims = mostly_true(40, seed)
    return Planted(claims, (), ("collapsed", "unsure"), labels=Labeling({claim.id: "True" for claim in claims}))


def _searched(task: str, constraints: tuple[Constraint, ...], allowed: str, *if_missed: str) -> Case:
    return lambda seed: Planted(make_claims(task, SIZE, seed), constraints, (allowed,), if_missed)


def _wrongly_fixed(task: str, constraints: tuple[Constraint, ...]) -> Case:
    def case(seed: int) -> Planted:
        claims = make_claims(task, SIZE, seed)
        return Planted(claims, constraints, ("unsure",), fixed=on_a_third(inverse(claims)))

    return case


NO_ANSWER = ("not coherent", "unsure")

CASES: Mapping[str, Case] = {
    "1 all True, comparisons": _collapsed_labels("comparisons", ()),
    "1 all True, sums": _collapsed_labels("sums", SUMS),
    "1 all True, facts": _collapsed_labels("facts", EXCLUSIVE),
    "1 comparisons unconstrained": _searched("comparisons", (), "coherent", "collapsed"),
    "2 lucky": _searched("lucky", (), "not coherent"),
    "2 lucky pairs": lambda seed: Planted(lucky_pairs(SIZE, seed), HEAVY, ("not coherent",)),
    "3 fixed wrong, comparisons": _wrongly_fixed("comparisons", HEAVY),
    "3 fixed wrong, sums": _wrongly_fixed("sums", SUMS),
    "3 fixed wrong, facts": _wrongly_fixed("facts", EXCLUSIVE),
    "4 95:5, few true": lambda seed: Planted(wrong_sums(10, seed, right=2), SUMS, ("coherent",), NO_ANSWER),
    "4 95:5, few false, all True": _all_true_of_few_false,
    "4 95:5, few false": lambda seed: Planted(mostly_true(40, seed), (), ("collapsed", "unsure"), NO_ANSWER),
    "5 sums, no right answer": lambda seed: Planted(wrong_sums(8, seed), ONE_RIGHT, NO_ANSWER),
    "5 unknown people": lambda seed: Planted(unknown_people(11, seed), ONE_RIGHT, NO_ANSWER),
    "5 mixed sums": lambda seed: Planted(wrong_sums(9, seed, right=6), ONE_RIGHT, ("unsure",)),
    "6 comparisons": _searched("comparisons", HEAVY, "coherent", "unsure", "collapsed"),
    "6 sums": _searched("sums", SUMS, "coherent", "unsure", "collapsed"),
    "6 facts": _searched("facts", EXCLUSIVE, "coherent", "unsure", "collapsed"),
}
