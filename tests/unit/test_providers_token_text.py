"""From token text as servers spell it to labels: the right one, or a bound, and never the wrong one for sure."""

from collections.abc import Mapping, Sequence
from math import exp, inf, log
from typing import Any

import pytest

from icm_api.model.reading.echo import inside_places, inside_readings
from icm_api.model.reading.gemini import first_place
from icm_api.model.reading.label_tokens import TokenLogprob, read_forms
from icm_api.model.reading.openai_bodies import echoed, next_place
from icm_api.model.reading.reading import Below, Reading, label_distribution
from icm_api.model.reading.token_text import Spelling, decoded, spelled
from icm_api.types import LabelDistribution, Prompt, Turn, Verbalizer


def byte_level(text: str) -> str:
    """A text as byte-level vocabularies spell it."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    names = {byte: chr(byte) for byte in own} | {byte: chr(256 + at) for at, byte in enumerate(others)}
    return "".join(names[byte] for byte in text.encode())


def answer(listed: Sequence[tuple[str, float]], *, utf8: bool = False) -> dict[str, Any]:
    """A chat answer; `utf8`: with the bytes of the text, as some servers give them in place of the token's own."""
    entries = [{"token": text, "logprob": log(p), "bytes": list(text.encode()) if utf8 else None} for text, p in listed]
    return {"choices": [{"logprobs": {"content": [entries[0] | {"top_logprobs": entries}]}}]}


def read(body: Mapping[str, Any], labels: Sequence[str], *, loose: bool = True) -> LabelDistribution:
    verbalizer = Verbalizer.plain(list(labels))
    forms = [form for label in verbalizer.labels for form in verbalizer.forms(label)]
    found = read_forms(next_place(body), forms, loose_space=loose).forms
    return label_distribution(verbalizer, Reading(found, "top_k"))


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("spell", [str, byte_level, lambda text: text.replace(" ", "\u2581")])
@pytest.mark.parametrize(
    ("labels", "other"),
    [(("Sí", "No"), "Tal"), (("да", "нет"), "он"), (("είναι", "όχι"), "το"), (("是", "不是"), "吗")],
)
def test_labels_with_accents_in_every_spelling(
    spell: Any, loose: bool, utf8: bool, labels: tuple[str, str], other: str
) -> None:
    listed = [(spell(f" {text}"), p) for text, p in ((labels[0], 0.7), (labels[1], 0.2), (other, 0.05))]
    found = read(answer(listed, utf8=utf8), labels, loose=loose)
    assert found.probability(labels[0]) == pytest.approx(0.7 / 0.9)
    assert not found.intervals


@pytest.mark.parametrize("text", ["SÃŃ", "ĠSÃŃ"])
def test_the_legacy_shape_in_a_vocabularys_spelling(text: str) -> None:
    top = {text: log(0.7), "No": log(0.2)}
    shape = {"tokens": [text], "token_logprobs": [log(0.7)], "top_logprobs": [top]}
    assert read({"choices": [{"logprobs": shape}]}, ["Sí", "No"]).probability("Sí") == pytest.approx(0.7 / 0.9)


def test_gemini_in_a_vocabularys_spelling() -> None:
    top = [{"token": text, "logProbability": log(p)} for text, p in (("\u2581Sí", 0.7), ("\u2581No", 0.2))]
    place = first_place({"candidates": [{"logprobsResult": {"topCandidates": [{"candidates": top}]}}]})
    forms = read_forms(place, [" Sí", " No"]).forms
    assert forms == {" Sí": pytest.approx(log(0.7)), " No": pytest.approx(log(0.2))}


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("half", ["\ufffd", " \ufffd", "\ufffd\ufffd"])
def test_half_a_character_bounds_every_label_that_it_could_begin(half: str, utf8: bool) -> None:
    listed = [(half, 0.8), ("不", 0.15), ("吗", 0.02)]
    found = read(answer(listed, utf8=utf8), ["龙", "不"])
    assert found.probability("不") < 0.6
    assert found.intervals["龙"][0] == 0
    assert found.intervals["龙"][1] > 0.8
    assert found.intervals["不"][1] > 0.9


def test_half_a_surrogate_pair_is_half_a_character() -> None:
    found = read(answer([(chr(0xD83D), 0.8), ("不", 0.15), ("x", 0.02)]), ["龙", "不"])
    assert found.probability("不") < 0.6


def test_half_a_character_says_nothing_of_labels_without_such_a_character() -> None:
    found = read(answer([("yes", 0.5), ("\ufffd", 0.3), ("no", 0.1)]), ["yes", "no"])
    assert found.probability("yes") == pytest.approx(0.5 / 0.6)
    assert not found.intervals


def test_half_a_character_after_letters_bounds_the_labels_with_those_letters() -> None:
    found = read(answer([("S\ufffd", 0.6), ("No", 0.3), ("x", 0.01)]), ["Sí", "No"])
    assert found.probability("Sí") > 0.4
    assert found.intervals["Sí"][1] > 0.65


def test_half_a_character_in_a_byte_level_spelling_is_known_by_its_bytes() -> None:
    # E9 BE, of 龙 E9 BE 99; 不 is E4 B8 8D.
    found = read(answer([("é¾", 0.8), (byte_level("不"), 0.15), ("x", 0.01)]), ["龙", "不"])
    assert found.intervals["龙"][1] > 0.8
    assert found.probability("不") < 0.3


def test_a_letter_that_may_be_half_a_character_is_left_open() -> None:
    # E9: é itself, or how a byte-level vocabulary spells the beginning of 龙.
    found = read(answer([("é", 0.8), ("no", 0.1), ("x", 0.01)]), ["龙", "no"])
    assert found.intervals["龙"][1] > 0.8


@pytest.mark.parametrize("spelling", [Spelling.PIECES, Spelling.TEXT])
def test_a_byte_of_sentencepiece(spelling: Spelling) -> None:
    assert decoded([TokenLogprob("<0x0A>", -0.5)], spelling)[0].written == b"\n"
    body = answer([("<0xE9>", 0.6), ("\u2581不", 0.3), ("\u2581x", 0.01)])
    assert read(body, ["龙", "不"]).intervals["龙"][1] > 0.6


def test_openais_own_spelling_of_half_a_character() -> None:
    [token] = decoded([TokenLogprob("bytes:\\xe9\\xbe", -0.5)], Spelling.TEXT)
    assert token.written == b"\xe9\xbe"


@pytest.mark.parametrize(
    "texts",
    [
        [" True", " é", "ół"],
        ["fałsz", "prawda"],
        ["člověk", "ne"],
        ["不", "Ġ"],
        ["naïve", " x"],
        ["“yes”", "no"],
    ],
)
def test_plain_text_stays_as_it_is(texts: list[str]) -> None:
    tokens = [TokenLogprob(text, -1.0) for text in texts]
    written = [token.written.decode() for token in decoded(tokens, spelled(tokens))]
    assert written == texts


def test_a_label_that_looks_like_a_spelling_is_left_open() -> None:
    # "Ġusta" is a word of Maltese, and to a byte-level vocabulary " usta".
    found = read(answer([("Ġusta", 0.7), ("Le", 0.2), ("x", 0.01)]), ["Ġusta", "Le"])
    assert found.probability("Ġusta") > 0.5
    assert found.intervals["Ġusta"][1] > 0.7


def test_signs_for_two_spellings_leave_open_what_they_read_apart() -> None:
    listed = [(byte_level(" Sí"), 0.7), (byte_level(" No"), 0.2), ("不", 0.01)]
    forms = read_forms(next_place(answer(listed)), [" Sí", " No"], loose_space=True).forms
    bounds = [value for value in forms.values() if isinstance(value, Below)]
    assert [round(exp(bound.logprob), 6) for bound in bounds] == [0.71, 0.21]


def test_real_bytes_are_believed_whatever_the_text_is() -> None:
    entries = [
        {"token": text, "logprob": log(p), "bytes": list(raw)}
        for text, p, raw in (("\ufffd", 0.6, b"\xe9\xbe"), ("Ġno", 0.3, b" no"))
    ]
    body = {"choices": [{"logprobs": {"content": [entries[0] | {"top_logprobs": entries}]}}]}
    place = next_place(body)
    assert [token.written for token in place.listed] == [b"\xe9\xbe", b" no"]


def test_a_bound_from_below_and_above() -> None:
    verbalizer = Verbalizer.plain(["a", "b"])
    forms: dict[str, float | Below] = {" a": Below(log(0.6), log(0.2)), " b": log(0.2)}
    found = label_distribution(verbalizer, Reading(forms, "top_k"))
    assert found.probability("a") == pytest.approx(0.4 / 0.6)
    assert [round(p, 6) for p in found.intervals["a"]] == [0.5, 0.75]
    assert Below(-1.0).least == -inf


@pytest.mark.parametrize("spell", [str, byte_level, lambda text: text.replace(" ", "\u2581")])
def test_an_echo_in_every_spelling(spell: Any) -> None:
    texts = ["Es", " así", " Sí"]
    tokens = [spell(text) for text in texts]
    shape = {"tokens": tokens, "token_logprobs": [None, -0.25, -0.5], "top_logprobs": None}
    places = echoed({"choices": [{"logprobs": shape}]}, "".join(texts))
    assert [place.start for place in places] == [0, 2, 6]


@pytest.mark.parametrize("apart", [[" "], [" ", "T"]])
def test_an_echoed_label_is_read_where_the_labels_differ(apart: list[str]) -> None:
    verbalizer = Verbalizer.plain(["True", "Talse"])
    prompt = Prompt("", (Turn("a", " True"),), "c", verbalizer, "\n")
    text, starts = inside_places(prompt)
    rest = text[1:].removeprefix("".join(apart))
    other = rest.replace("rue", "alse")
    shape = {
        "tokens": ["a", *apart, rest],
        "token_logprobs": [None, *[log(0.9)] * len(apart), log(0.7)],
        # No label is among the alternatives to the space.
        "top_logprobs": [None, *[{" ": log(0.9), "\n": log(0.05)}] * len(apart), {rest: log(0.7), other: log(0.2)}],
    }
    [reading] = inside_readings(prompt, echoed({"choices": [{"logprobs": shape}]}, text), starts)
    values = [value for value in reading.forms.values() if isinstance(value, float)]
    assert [round(exp(value), 6) for value in values] == [
        round(0.9 ** len(apart) * 0.7, 6),
        round(0.9 ** len(apart) * 0.2, 6),
    ]
