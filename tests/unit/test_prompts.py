"""PromptTemplate and PromptBuilder: whole texts, within the window, the same subset every time.

Tokens are counted by simple functions whose answers can be checked by hand; no tokenizer is loaded.
"""

import re
from collections import Counter
from itertools import combinations
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from icm_api.errors import ConfigError, PromptError
from icm_api.prompts import PromptBuilder
from icm_api.types import Example, Label, Prompt, PromptTemplate, Turn, Verbalizer

BINARY = Verbalizer.plain(["True", "False"])
Demonstrations = list[tuple[Example, Label]]


def words(text: str) -> int:
    """Splits as byte-pair tokenizers do before merging: a space belongs to the word after it."""
    return len(re.findall(r" ?\w+| ?[^\w\s]+|\s+", text))


def example(example_id: str, text: str, group: str | None = None) -> Example:
    return Example(example_id, {"text": text}, group)


def builder(window: int = 10_000, verbalizer: Verbalizer = BINARY, **words_of: str) -> PromptBuilder:
    return PromptBuilder(PromptTemplate(**words_of), verbalizer, len, window)


def used(prompt: Prompt, demonstrations: Demonstrations) -> list[int]:
    """Which demonstrations a prompt has, found by their texts, which must be unlike one another."""
    at = {item.fields["text"]: position for position, (item, _) in enumerate(demonstrations)}
    return [at[turn.text] for turn in prompt.turns]


# --- template


@pytest.mark.parametrize(
    ("template", "fields", "rendered"),
    [
        ("{text}", ("text",), "{x} {{y}}"),
        ("Q: {text} A: ", ("text",), "Q: {x} {{y}} A:"),
        ("{{{text}}}", ("text",), "{{x} {{y}}}"),
        ("{b c} {text} {b c}", ("b c", "text"), "B {x} {{y}} B"),
        ("{text}\t\n\u3000", ("text",), "{x} {{y}}"),
    ],
)
def test_a_template_fills_texts_in_literally(template: str, fields: tuple[str, ...], rendered: str) -> None:
    made = PromptTemplate(template)
    assert made.fields == fields
    assert made.render(Example("a", {"text": "{x} {{y}}", "b c": "B"})) == rendered


@pytest.mark.parametrize(
    "template",
    [
        "", "no field", "{{text}}", "{}", "{0}", "{text.upper}", "{text[0]}", "{text!r}", "{text:>9}",
        "{te{x}t}", "{text", "text}", '{"answer": {text}}', "{text:{width}}",
    ],
)  # fmt: skip
def test_a_template_that_is_more_than_named_fields_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match="template"):
        PromptTemplate(template)


def test_an_example_that_cannot_be_rendered_is_named() -> None:
    with pytest.raises(PromptError, match=r"'q7' has no field 'question'.* it has \['text'\]: change the template"):
        PromptTemplate("{question}").render(example("q7", "hello"))
    with pytest.raises(PromptError, match="example 'q7' gives an empty text"):
        PromptTemplate("{text} ").render(example("q7", " \n"))


PARTS = st.lists(st.sampled_from(["{text}", "{b}", "{{", "}}", "Q:", " ", "\n", "\u3000", "\x1f"]))


@given(before=PARTS, after=PARTS, text=st.text(), other=st.text(), separator=st.text(min_size=1))
def test_defect_6_prompt_never_ends_in_a_space(
    before: list[str], after: list[str], text: str, other: str, separator: str
) -> None:
    parts = [*before, "{text}", *after]
    by_hand = {"{text}": text, "{b}": other, "{{": "{", "}}": "}"}
    expected = "".join(by_hand.get(part, part) for part in parts).rstrip()
    query, demonstration = (Example(name, {"text": text, "b": other}) for name in ("q", "d"))
    built = builder(template="".join(parts), separator=separator)
    if not expected:
        with pytest.raises(PromptError, match="empty text"):
            built.prompt(query, [])
        return
    prompt = built.prompt(query, [(demonstration, "True")])
    assert prompt.query == prompt.turns[0].text == expected
    assert prompt.text == f"{expected} True{separator}{expected}"
    assert not prompt.text[-1].isspace()


@given(text=st.text(alphabet="ab1 .\n{}", min_size=1), ending=st.sampled_from(["", " ", "\n", ":", "? "]))
def test_defect_6_the_label_starts_at_a_token_boundary_as_it_does_in_demonstrations(text: str, ending: str) -> None:
    assume((text + ending).strip())
    template = "{text}" + ending
    verbalizer = Verbalizer({"True": (" True", " true"), "False": (" False",)})
    built = PromptBuilder(PromptTemplate(template), verbalizer, words, 10_000)
    prompt = built.prompt(example("q", text), [(example("d", text), "True"), (example("e", text), "False")])
    for form in (*verbalizer.forms("True"), *verbalizer.forms("False")):
        assert words(prompt.text + form) == words(prompt.text) + words(form) == words(prompt.text) + 1
    assert [turn.answer for turn in prompt.turns] == [" True", " False"]
    assert prompt.segments[0] == prompt.query + " True" + "\n\n"


# --- builder


def test_a_prompt_in_full() -> None:
    built = builder(template="Claim: {text}\nTrue? ", instruction="Judge.", separator="\n---\n")
    prompt = built.prompt(example("c", "C"), [(example("b", "B"), "False"), (example("a", "A"), "True")])
    assert prompt.text == ("Judge.\n---\nClaim: B\nTrue? False\n---\nClaim: A\nTrue? True\n---\nClaim: C\nTrue?")
    assert prompt.turns == (Turn("Claim: B\nTrue?", " False"), Turn("Claim: A\nTrue?", " True"))
    assert prompt.verbalizer == BINARY


def test_a_leaking_or_unknown_label_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' is among its own demonstrations"):
        builder().prompt(example("a", "A"), [(example("b", "B"), "True"), (example("a", "A"), "True")])
    with pytest.raises(ValueError, match="'b' has label 'true'"):
        builder().prompt(example("a", "A"), [(example("b", "B"), "true")])


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigError, match="context_window=0"):
        builder(window=0)
    with pytest.raises(ConfigError, match="separator is empty"):
        PromptTemplate(separator="")


def test_a_query_that_is_alone_too_long_is_an_error_to_the_token() -> None:
    # "Judge.\n\n" has 8 characters, "abc" 3, " False" 6: 17 in all.
    query = example("q7", "abc")
    assert builder(window=17, instruction="Judge.").prompt(query, []).text == "Judge.\n\nabc"
    with pytest.raises(PromptError, match=r"'q7' alone needs 17 tokens .* context window is 16"):
        builder(window=16, instruction="Judge.").prompt(query, [(example("a", "a"), "True")])


def test_all_demonstrations_are_used_up_to_the_last_token_of_the_window() -> None:
    demonstrations = [(example("a", "aaaa"), "True"), (example("b", "b"), "False")]
    size = len("aaaa True\n\n" + "b False\n\n" + "q" + " False")
    assert len(builder(window=size).prompt(example("q", "q"), demonstrations).turns) == 2
    assert len(builder(window=size - 1).prompt(example("q", "q"), demonstrations).turns) == 1


Crowd = tuple[PromptBuilder, Example, Demonstrations]


@st.composite
def _crowds(draw: st.DrawFn) -> Crowd:
    labels = draw(st.sampled_from([["True", "False"], ["A", "B", "C"]]))
    sizes = draw(st.lists(st.integers(1, 30), min_size=1, max_size=14))
    demonstrations = [
        (
            # The number keeps the texts unlike one another, so that `used` can tell them apart.
            example(f"d{i}", f"{i}:" + "x" * size, draw(st.sampled_from([None, "g", "h"]))),
            draw(st.sampled_from(labels)),
        )
        for i, size in enumerate(sizes)
    ]
    query = example("q", "query" + "q" * draw(st.integers(0, 10)), draw(st.sampled_from([None, "g"])))
    template = PromptTemplate(instruction=draw(st.sampled_from(["", "Judge."])))
    built = PromptBuilder(template, Verbalizer.plain(labels), len, draw(st.integers(40, 400)))
    return built, query, demonstrations


def _tokens(built: PromptBuilder, prompt: Prompt) -> int:
    longest = max(len(form) for label in built.verbalizer.labels for form in built.verbalizer.forms(label))
    return sum(map(len, prompt.segments)) + longest


def _sizes(built: PromptBuilder, demonstrations: Demonstrations) -> list[int]:
    separator = len(built.template.separator)
    return [len(item.fields["text"]) + len(f" {label}") + separator for item, label in demonstrations]


@given(_crowds())
def test_defect_3_prompt_is_never_truncated_on_the_right(crowd: Crowd) -> None:
    built, query, demonstrations = crowd
    prompt = built.prompt(query, demonstrations)
    assert prompt.text.endswith(query.fields["text"])
    assert prompt.query == query.fields["text"]
    assert prompt.text.startswith(built.template.instruction)
    chosen = used(prompt, demonstrations)
    assert chosen == sorted(chosen)
    whole = [f"{demonstrations[at][0].fields['text']} {demonstrations[at][1]}\n\n" for at in chosen]
    assert prompt.text.endswith("".join(whole) + prompt.query)


@given(_crowds())
def test_a_prompt_fits_the_window_and_leaves_out_nothing_that_would_fit(crowd: Crowd) -> None:
    built, query, demonstrations = crowd
    prompt = built.prompt(query, demonstrations)
    room = built.context_window - _tokens(built, prompt)
    assert room >= 0
    chosen = set(used(prompt, demonstrations))
    left_out = [size for at, size in enumerate(_sizes(built, demonstrations)) if at not in chosen]
    assert all(size > room for size in left_out)


@given(_crowds(), st.randoms(use_true_random=False))
def test_the_subset_is_the_same_every_time_and_in_every_order(crowd: Crowd, random: Random) -> None:
    built, query, demonstrations = crowd
    prompt = built.prompt(query, demonstrations)
    again = PromptBuilder(built.template, built.verbalizer, len, built.context_window)
    assert built.prompt(query, demonstrations) == again.prompt(query, demonstrations) == prompt
    shuffled = demonstrations.copy()
    random.shuffle(shuffled)
    other = built.prompt(query, shuffled)
    assert sorted(used(other, demonstrations)) == used(prompt, demonstrations)
    assert used(other, shuffled) == sorted(used(other, shuffled))


def _crowd_of_equals(labels: str, group_of: dict[int, str] | None = None) -> Demonstrations:
    """Demonstrations of 3 characters, their labels one letter each, so all of the same size."""
    return [(example(f"d{i}", f"{i:03d}", (group_of or {}).get(i)), label) for i, label in enumerate(labels)]


LETTERS = Verbalizer.plain(["A", "B", "C"])
ONE = len("000 A\n\n")


@given(labels=st.text(alphabet="ABC", min_size=1, max_size=40), slots=st.integers(0, 40))
def test_the_subset_is_balanced_over_labels(labels: str, slots: int) -> None:
    demonstrations = _crowd_of_equals(labels)
    built = builder(window=len("q") + len(" A") + slots * ONE, verbalizer=LETTERS)
    chosen = used(built.prompt(example("q", "q"), demonstrations), demonstrations)
    assert len(chosen) == min(slots, len(labels))
    have, got = Counter(labels), Counter(labels[at] for at in chosen)
    for one in have:
        # A label with demonstrations to spare is at most one behind any other.
        assert got[one] == have[one] or got[one] >= max(got.values(), default=0) - 1


def test_labels_take_turns_in_the_order_of_the_label_set() -> None:
    demonstrations = _crowd_of_equals("CCCBBBAAA")
    for slots, expected in [(1, "A"), (2, "AB"), (3, "ABC"), (4, "AABC"), (5, "AABBC")]:
        built = builder(window=len("q") + len(" A") + slots * ONE, verbalizer=LETTERS)
        prompt = built.prompt(example("q", "q"), demonstrations)
        assert "".join(sorted(turn.answer.strip() for turn in prompt.turns)) == expected


def test_the_query_s_group_comes_first_and_counts_for_the_balance() -> None:
    demonstrations = _crowd_of_equals("AAAAAABBBBBB", {4: "g", 5: "g", 0: "h"})
    built = builder(window=len("q") + len(" A") + 5 * ONE, verbalizer=LETTERS)
    near = built.prompt(example("q", "q", "g"), demonstrations)
    chosen = used(near, demonstrations)
    assert {4, 5} <= set(chosen)
    assert Counter(turn.answer for turn in near.turns) == {" A": 3, " B": 2}


def test_examples_without_a_group_are_no_group() -> None:
    demonstrations = _crowd_of_equals("AAAAAABBBBBB", dict.fromkeys(range(6), "g"))
    built = builder(window=len("q") + len(" A") + 6 * ONE, verbalizer=LETTERS)
    answers = Counter(turn.answer for turn in built.prompt(example("q", "q"), demonstrations).turns)
    assert answers == {" A": 3, " B": 3}


def test_nearly_the_same_subset_serves_every_query() -> None:
    everyone = _crowd_of_equals("AB" * 30)
    built = builder(window=3 + len(" A") + 20 * ONE, verbalizer=LETTERS)
    subsets = []
    for query, _ in everyone:
        others = [pair for pair in everyone if pair[0] is not query]
        subsets.append({turn.text for turn in built.prompt(query, others).turns})
    assert all(len(one) == 20 for one in subsets)
    # Two leave-one-out queries change at most one demonstration of each of the two labels.
    assert all(len(one - two) <= 2 for one, two in combinations(subsets, 2))


# --- what is remembered


def test_leave_one_out_counts_each_text_once_per_label_and_once_as_a_query() -> None:
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return len(text)

    built = PromptBuilder(PromptTemplate(), LETTERS, count, 10_000)
    before = len(counted)
    for _ in range(3):
        everyone = _crowd_of_equals("AB" * 20)  # equal examples, but other objects every time
        for query, _ in everyone:
            built.prompt(query, [pair for pair in everyone if pair[0] is not query])
    assert len(counted) - before == 2 * len(everyone)


@pytest.mark.parametrize("window", [10_000, 60, 25])
def test_some_of_what_is_shown_makes_the_prompt_that_it_would_make_alone(window: int) -> None:
    shown = [(example(name, f"claim {name}"), "True" if name in "ace" else "False") for name in "abcdef"]
    build = builder(window)
    all_of_them = build.after(shown)
    for places in ([5, 0, 3], [1, 2, 3, 4, 5], [], range(6)):
        alone = build.prompt(example("x", "asked"), [shown[at] for at in places])
        assert all_of_them.prompt_after(example("x", "asked"), places) == alone
        assert alone.text == alone.shown + "asked"
    assert all_of_them.prompt_after(shown[0][0], [1, 2]) == build.prompt(shown[0][0], shown[1:3])
    with pytest.raises(ValueError, match="'a' is among its own demonstrations"):
        all_of_them.prompt_after(shown[0][0], [1, 0])


def test_an_example_that_reuses_an_id_gets_its_own_text() -> None:
    built = builder()
    first = built.prompt(example("q", "Q"), [(example("a", "first"), "True")])
    second = built.prompt(example("q", "R"), [(example("a", "second"), "True")])
    third = built.prompt(example("q", "Q"), [(example("a", "first"), "True")])
    assert second.text == "second True\n\nR"
    assert first == third
    assert first.text == "first True\n\nQ"


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(alphabet="xy", min_size=1)), max_size=30))
def test_memory_is_bounded_by_examples_times_labels(steps: list[tuple[str, str]]) -> None:
    built = builder()
    for label in BINARY.labels:
        for example_id, text in steps:
            prompt = built.prompt(example("q", "q"), [(example(example_id, text), label)])
            assert prompt.text == f"{text} {label}\n\nq"
    assert len(built._pieces) <= 3 * 2 + 1
