"""The testing server's parts that need no server: prefix counting, fault plans, distortions, the chat template."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_api.errors import ConfigError
from icm_api.testing import CONTENT, HARMLESS, RETRYABLE, UNRETRYABLE, Faults
from icm_api.testing.backend import Position, PrefixCache, Token, shared
from icm_api.testing.faults import FaultPlan, distort, error_of
from icm_api.testing.wire import DIALECTS, chat_text, get_dialect
from icm_api.types import Prompt, Turn, Verbalizer

_IDS = st.lists(st.integers(0, 2), max_size=6).map(tuple)
_WORDS = st.text(st.characters(categories=("L", "N", "S")), min_size=1, max_size=5)
_POSITION = Position(Token(9, b" True", -0.5), (Token(9, b" True", -0.5), Token(10, b"\n", -1.5)))


@given(st.lists(_IDS, max_size=20))
def test_a_prefix_cache_finds_the_longest_shared_beginning(sequences: list[tuple[int, ...]]) -> None:
    cache = PrefixCache()
    for at, ids in enumerate(sequences):
        assert cache.longest(ids) == max((shared(ids, before) for before in sequences[:at]), default=0)
        cache.add(ids)


def test_a_full_prefix_cache_forgets_the_oldest() -> None:
    cache = PrefixCache(most_tokens=6)
    for ids in [(1, 2, 3), (4, 5, 6), (7, 8, 9)]:
        cache.add(ids)
    assert [cache.longest(ids) for ids in [(1, 2, 3), (4, 5, 6), (7, 8, 9)]] == [0, 3, 3]


@given(st.integers(0, 3), st.floats(0, 1), st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=30))
def test_a_body_meets_a_fault_as_often_as_it_may_and_always_the_same(
    times: int, rate: float, bodies: list[bytes]
) -> None:
    faults = Faults(("500", "503"), rate, seed=7, times=times)
    drawn = [FaultPlan(faults).draw(bodies[0])] if bodies else []
    plan, again = FaultPlan(faults), FaultPlan(faults)
    kinds = [plan.draw(body) for body in bodies]
    assert kinds == [again.draw(body) for body in bodies]
    assert kinds[:1] == drawn
    for body in set(bodies):
        assert sum(kind is not None for kind, its in zip(kinds, bodies, strict=True) if its == body) <= times


def test_other_bodies_in_between_change_no_fault() -> None:
    faults = Faults(("500", "503", "529"), rate=0.5, times=None)
    alone, among = FaultPlan(faults), FaultPlan(faults)
    expected = [alone.draw(b"a") for _ in range(20)]
    assert None in expected
    assert len(set(expected)) > 2
    found = []
    for _ in range(20):
        among.draw(b"b")
        found.append(among.draw(b"a"))
    assert found == expected


def test_faults_hit_at_their_rate_and_only_the_first_n() -> None:
    bodies = [str(at).encode() for at in range(4000)]
    plan = FaultPlan(Faults(("500",), rate=0.2))
    hits = sum(plan.draw(body) is not None for body in bodies)
    assert abs(hits - 800) < 4 * (4000 * 0.2 * 0.8) ** 0.5
    plan = FaultPlan(Faults(("500",), first_n=3))
    assert [plan.draw(body) for body in bodies[:5]] == ["500", "500", "500", None, None]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Faults(("418",)),
        lambda: Faults(()),
        lambda: Faults(rate=1.5),
        lambda: Faults(delay=-1.0),
        lambda: get_dialect("klingon"),
    ],
)
def test_what_cannot_be_served_is_named(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match=r"choose|must be"):
        make()


def test_every_fault_is_either_an_error_answer_or_spoils_a_sound_one() -> None:
    errors = {kind: error_of(kind) for kind in (*RETRYABLE, *UNRETRYABLE, *HARMLESS)}
    sound = {kind for kind, error in errors.items() if error is None}
    assert sound == {"slow", "cut", "truncated-json", *CONTENT}
    statuses = {kind: error.status for kind, error in errors.items() if error is not None}
    assert statuses["insufficient-quota"] == statuses["429-date"] == 429
    assert statuses.pop("filter") == 400
    assert all(
        str(status) == kind[:3] for kind, status in statuses.items() if kind not in ("insufficient-quota", "200-error")
    )


def test_distortions() -> None:
    assert distort(None, (_POSITION,)) == (_POSITION,)
    assert distort("null-logprobs", (_POSITION,)) is None
    for kind, value in (("-9999", -9999.0), ("zeros", 0.0), ("all-equal", -3.0)):
        (position,) = distort(kind, (_POSITION,)) or ()
        assert {token.logprob for token in (position.chosen, *position.top)} == {value}
    (position,) = distort("nan", (_POSITION,)) or ()
    assert all(token.logprob is not None and isnan(token.logprob) for token in (position.chosen, *position.top))
    (position,) = distort("duplicates", (_POSITION,)) or ()
    assert [token.id for token in position.top] == [9, 9, 10, 10]
    assert distort("missing-label", (_POSITION,)) == (Position(_POSITION.top[1], _POSITION.top[1:]),)
    unknown = Position(Token(9, b"x", None), ())
    assert distort("zeros", (unknown,)) == (unknown,)


@given(_WORDS | st.just(""), st.lists(st.tuples(_WORDS, _WORDS), max_size=4), _WORDS)
def test_the_chat_template_writes_what_a_completions_prompt_is(
    instruction: str, turns: list[tuple[str, str]], query: str
) -> None:
    verbalizer = Verbalizer.plain(["True", "False"])
    separator = DIALECTS["openai"].separator
    prompt = Prompt(
        instruction, tuple(Turn(text, f" {answer}") for text, answer in turns), query, verbalizer, separator
    )
    messages = [("system", instruction)] if instruction else []
    for text, answer in turns:
        messages += [("user", text), ("assistant", answer)]
    assert chat_text([*messages, ("user", query)], separator, prefill=False) == prompt.text
    spaced = [(role, f" {content}" if role == "assistant" else content) for role, content in messages]
    assert chat_text([*spaced, ("user", query)], separator, prefill=False) == prompt.text
    assert (
        chat_text([*messages, ("user", query), ("assistant", "Fal")], separator, prefill=True) == prompt.text + " Fal"
    )
