"""The plan that computes shared beginnings once, against a set of all prefixes."""

from hypothesis import given
from hypothesis import strategies as st

from icm_api.model.endpoints.prefix_tree import common, plan, without_beginnings

SEQUENCES = st.sets(st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple), min_size=1, max_size=12)


@given(SEQUENCES, st.integers(1, 4))
def test_every_distinct_prefix_is_computed_exactly_once(sequences: set[tuple[int, ...]], batch_size: int) -> None:
    ordered = list(without_beginnings(sequences))
    cache: tuple[int, ...] = ()
    computed: list[tuple[int, ...]] = []
    seen: dict[int, list[tuple[int, int]]] = {row: [] for row in range(len(ordered))}
    for step in plan(ordered, batch_size):
        assert step.start <= len(cache)
        assert len(step.rows) == 1 if step.others else len(step.rows) <= batch_size
        cache = cache[: step.start]
        for row in step.rows:
            assert ordered[row][: step.start] == cache
            computed += [ordered[row][:at] for at in range(step.start + 1, len(ordered[row]) + 1)]
            seen[row].append((step.start, len(ordered[row])))
        if step.others:
            cache = ordered[step.rows[0]]
        for rows, end in step.others:
            for row in rows:
                assert ordered[row][:end] == cache[:end]
                seen[row].append((step.start, end))
    distinct = {sequence[:at] for sequence in ordered for at in range(1, len(sequence) + 1)}
    assert sorted(computed) == sorted(distinct)
    # What a step says of a sequence is all of it, without a gap and nothing twice.
    for row, parts in seen.items():
        assert [0, *(end for _, end in parts)] == [*(start for start, _ in parts), len(ordered[row])]


@given(SEQUENCES)
def test_what_begins_a_sequence_is_held_by_it(sequences: set[tuple[int, ...]]) -> None:
    held = without_beginnings(sequences)
    assert list(held) == sorted(held)
    assert sorted(part for parts in held.values() for part in parts) == sorted(sequences)
    assert all(whole[: len(part)] == part for whole, parts in held.items() for part in parts)
    assert not any(a != b and b[: len(a)] == a for a in held for b in held)


@given(SEQUENCES, st.integers(1, 4))
def test_without_sharing_every_sequence_is_computed_whole(sequences: set[tuple[int, ...]], batch_size: int) -> None:
    ordered = list(without_beginnings(sequences))
    steps = list(plan(ordered, batch_size, share=False))
    assert sorted(row for step in steps for row in step.rows) == list(range(len(ordered)))
    assert {(step.start, len(step.others)) for step in steps} == {(0, 0)}
    assert len(steps) == -(-len(ordered) // batch_size)


def test_a_long_chain_of_forks_is_one_pass_and_one_for_each_fork() -> None:
    text = tuple(range(1500))
    forks = [(*text[:at], -1) for at in range(1, 1500)]
    steps = list(plan(list(without_beginnings([text, *forks])), 8))
    assert [len(step.rows) for step in steps] == [1] * 1500
    assert steps[0].start == 0
    assert sum(1 for step in steps if step.others) == 1


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_common_is_the_longest_shared_beginning(one: list[int], other: list[int]) -> None:
    at = common(one, other)
    assert one[:at] == other[:at]
    assert one[at : at + 1] != other[at : at + 1] or at == len(one) == len(other)
