"""The plan that computes shared beginnings once, against a set of all prefixes."""

from hypothesis import given
from hypothesis import strategies as st

from icm_api.model.endpoints.prefix_tree import common, plan

SEQUENCES = st.sets(st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple), min_size=1, max_size=12)


@given(SEQUENCES, st.integers(1, 4))
def test_every_distinct_prefix_is_computed_exactly_once(sequences: set[tuple[int, ...]], batch_size: int) -> None:
    ordered = sorted(sequences)
    cache: tuple[int, ...] = ()
    computed: list[tuple[int, ...]] = []
    for step in plan(ordered, batch_size):
        assert step.start <= len(cache)
        cache = cache[: step.start]
        assert step.end is not None or len(step.rows) <= batch_size
        for row in step.rows:
            assert ordered[row][: step.start] == cache
        for row in step.rows if step.end is None else step.rows[:1]:
            end = len(ordered[row]) if step.end is None else step.end
            computed += [ordered[row][:at] for at in range(step.start + 1, end + 1)]
        if step.end is not None:
            cache = ordered[step.rows[0]][: step.end]
            assert all(ordered[row][: step.end] == cache for row in step.rows)
    distinct = {sequence[:at] for sequence in ordered for at in range(1, len(sequence) + 1)}
    assert sorted(computed) == sorted(distinct)


@given(SEQUENCES, st.integers(1, 4))
def test_without_sharing_every_sequence_is_computed_whole(sequences: set[tuple[int, ...]], batch_size: int) -> None:
    steps = list(plan(sorted(sequences), batch_size, share=False))
    assert sorted(row for step in steps for row in step.rows) == list(range(len(sequences)))
    assert {(step.start, step.end) for step in steps} == {(0, None)}
    assert len(steps) == -(-len(sequences) // batch_size)


def test_a_long_chain_of_prefixes_needs_no_recursion() -> None:
    chain = [tuple(range(length)) for length in range(1, 1500)]
    assert sum(1 for _ in plan(chain, 8)) == len(chain)


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_common_is_the_longest_shared_beginning(one: list[int], other: list[int]) -> None:
    at = common(one, other)
    assert one[:at] == other[:at]
    assert one[at : at + 1] != other[at : at + 1] or at == len(one) == len(other)
