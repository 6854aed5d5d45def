"""The made-up world: deterministic, honest groups, balanced gold, disjoint splits."""

from collections import Counter, defaultdict

import pytest

from icm_api.pocket.world import TASKS, Claim, make_claims, make_split, world_facts


def by_group(claims: tuple[Claim, ...]) -> dict[str, list[Claim]]:
    groups = defaultdict(list)
    for claim in claims:
        groups[claim.group].append(claim)
    return groups


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_fixes_every_claim(task: str) -> None:
    assert make_claims(task, 48, 7) == make_claims(task, 48, 7)
    assert make_claims(task, 48, 7) != make_claims(task, 48, 8)


def test_claims_do_not_depend_on_the_machine() -> None:
    assert [claim.text for claim in make_claims("comparisons", 4, 0)] == ["46>77", "19>15", "77>46", "15>19"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [0, 1, 24, 64, 128])
def test_sizes_ids_and_texts(task: str, size: int) -> None:
    claims = make_claims(task, size, 3)
    assert len(claims) == size
    assert len({claim.id for claim in claims}) == size
    assert len({claim.text for claim in claims}) == size
    assert all(claim.text and "\n" not in claim.text for claim in claims)


@pytest.mark.parametrize(("task", "low", "high"), [("sums", 0.4, 0.5), ("comparisons", 0.5, 0.5)])
def test_gold_is_balanced(task: str, low: float, high: float) -> None:
    truths = [claim.truth for seed in range(20) for claim in make_claims(task, 64, seed)]
    assert low <= sum(truths) / len(truths) <= high


@pytest.mark.parametrize("task", ["facts", "lucky"])
def test_gold_is_not_one_sided(task: str) -> None:
    truths = [claim.truth for seed in range(20) for claim in make_claims(task, 64, seed)]
    assert 0.38 <= sum(truths) / len(truths) <= 0.56


@pytest.mark.parametrize("task", TASKS)
def test_splits_share_no_group_and_no_id(task: str) -> None:
    train, test = make_split(task, 64, 64, 5)
    assert (len(train), len(test)) == (64, 64)
    assert not {claim.group for claim in train} & {claim.group for claim in test}
    assert len({claim.id for claim in train + test}) == 128
    assert train == make_claims(task, 64, 5)


def test_sums_have_at_most_one_right_answer_per_question() -> None:
    kinds: Counter[int] = Counter()
    for group, claims in by_group(make_claims("sums", 200, 1)).items():
        total = sum(int(number) for number in group.split("+"))
        assert {claim.answer for claim in claims if claim.truth} <= {str(total)}
        assert all(claim.truth == (claim.answer == str(total)) for claim in claims)
        assert all(
            sorted(map(int, claim.text.split("=")[0].split("+"))) == sorted(map(int, group.split("+")))
            for claim in claims
        )
        assert all(claim.text.endswith(f"={claim.answer}") for claim in claims)
        kinds[sum(claim.truth for claim in claims)] += 1
    assert kinds[2] > kinds[1] > 0


def test_comparisons_have_both_orders_of_every_pair() -> None:
    for claims in by_group(make_claims("comparisons", 64, 2)).values():
        first, second = claims
        assert (first.left, first.right) == (second.right, second.left)
        assert first.truth != second.truth
        assert all(claim.text == f"{claim.left}>{claim.right}" and claim.answer == claim.left for claim in claims)
        assert all(claim.truth == (int(claim.left) > int(claim.right)) for claim in claims)


def test_facts_have_one_true_value_and_say_it() -> None:
    facts = world_facts()
    for group, claims in by_group(make_claims("facts", 200, 2)).items():
        assert sum(claim.truth for claim in claims) <= 1
        assert len({claim.answer for claim in claims}) == len(claims)
        assert all(claim.text == f"{group} {claim.answer}" for claim in claims)
        assert all(claim.truth == (claim.answer == facts[group].value) for claim in claims)


def test_some_facts_are_commonly_believed_wrong() -> None:
    myths = [fact for fact in world_facts().values() if fact.myth]
    assert 0.15 < len(myths) / len(world_facts()) < 0.35
    assert all(fact.myth != fact.value for fact in myths)


@pytest.mark.parametrize("task", ["sums", "facts", "lucky"])
def test_only_comparisons_have_sides(task: str) -> None:
    assert all(claim.left == claim.right == "" for claim in make_claims(task, 32, 0))


def test_what_the_world_does_not_hold_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'poems'.*sums"):
        make_claims("poems", 4, 0)
    with pytest.raises(ValueError, match="too few claims"):
        make_claims("facts", 10_000, 0)
    with pytest.raises(ValueError, match="negative"):
        make_claims("sums", -1, 0)
