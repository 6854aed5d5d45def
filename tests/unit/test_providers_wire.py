"""The shapes in which servers write logprobs, and echoed text."""

from typing import Any

import pytest

from icm_api.errors import LogprobsUnavailableError, RequestError
from icm_api.model.endpoints.usage import charged
from icm_api.model.reading.echo import form_logprob, inside_places, inside_readings
from icm_api.model.reading.label_tokens import TokenLogprob
from icm_api.model.reading.openai_bodies import echoed, next_place
from icm_api.model.reading.places import Columns, Places, placed
from icm_api.model.request import Request
from icm_api.types import Prompt, Turn, Usage, Verbalizer

CHAT = {
    "content": [
        {
            "token": " True",
            "bytes": [32, 84, 114, 117, 101],
            "logprob": -0.5,
            "top_logprobs": [
                {"token": " True", "bytes": [32, 84, 114, 117, 101], "logprob": -0.5},
                {"token": "\ufffd", "bytes": [195], "logprob": -2.0},
            ],
        }
    ]
}
LEGACY = {
    "tokens": [" True"],
    "token_logprobs": [-0.5],
    "top_logprobs": [{" True": -0.5, " False": -2.0}],
    "text_offset": [0],
}
FLAT = {**LEGACY, "top_logprobs": {" True": -0.5, " False": -2.0}}
WITH_IDS = {
    "tokens": ["token_id:7"],
    "token_logprobs": [-0.5],
    "top_logprobs": [{"token_id:7": -0.5, "token_id:9": -2.0}],
}


def answer(logprobs: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"logprobs": logprobs, **more}]}


@pytest.mark.parametrize(
    ("shape", "second"),
    [
        (CHAT, TokenLogprob("\ufffd", -2.0, b"\xc3")),
        (LEGACY, TokenLogprob(" False", -2.0)),
        (FLAT, TokenLogprob(" False", -2.0)),
        (WITH_IDS, TokenLogprob("", -2.0, id=9)),
    ],
)
@pytest.mark.parametrize("kind", [{"text": " True"}, {"message": {"content": " True"}}])
def test_every_shape_wherever_it_stands(shape: Any, second: TokenLogprob, kind: dict[str, Any]) -> None:
    place = next_place(answer(shape, **kind))
    assert [token.logprob for token in place.listed] == [-0.5, -2.0]
    assert place.listed[1] == second


def test_a_token_that_is_not_among_the_alternatives_is_listed_too() -> None:
    shape = {"tokens": [" z"], "token_logprobs": [-5.0], "top_logprobs": [{" a": -0.1}]}
    assert [token.text for token in next_place(answer(shape)).listed] == [" a", " z"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        answer(None),
        answer({"content": None}),
        answer({"content": []}),
        answer({"tokens": [" a"], "token_logprobs": None}),
        answer({"tokens": [], "token_logprobs": [], "top_logprobs": []}),
    ],
)
def test_missing_logprobs_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(LogprobsUnavailableError):
        next_place(body)


def test_the_answer_is_the_one_with_the_first_index() -> None:
    choices = [{"index": at, **answer(shape)["choices"][0]} for at, shape in ((1, WITH_IDS), (0, LEGACY))]
    assert next_place({"choices": choices}).token.text == " True"


@pytest.mark.parametrize(
    "kind", [{"message": {"content": None, "refusal": "No."}}, {"finish_reason": "content_filter"}]
)
def test_a_refusal_is_named(kind: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="declined") as caught:
        next_place(answer(CHAT, **kind))
    assert caught.value.kind == "refused"


ASKED = Request({}, tokens=40, completion_tokens=2)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}, (9, 1, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 5}, (9, 1, 5)),
        ({"input_tokens": 9, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 3}}, (9, 1, 3)),
        ({"prompt_tokens": 9.0, "completion_tokens": "1"}, (9, 1, 0)),
        ({"prompt_tokens": "9", "completion_tokens": 0}, (9, 0, 0)),
        ({"prompt_tokens": 8.5, "completion_tokens": 1, "prompt_tokens_details": None}, (9, 1, 0)),
    ],
)
def test_usage_of_many_names_and_types(usage: object, expected: tuple[int, int, int]) -> None:
    assert charged({"usage": usage}, ASKED) == (Usage(1, *expected), "")


@pytest.mark.parametrize(
    ("usage", "expected", "doubt"),
    [
        (None, (40, 2, 0), "prompt tokens None, completion tokens None"),
        ([9, 1], (40, 2, 0), "prompt tokens None, completion tokens None"),
        ({"prompt_tokens": 0, "completion_tokens": 1}, (40, 1, 0), "prompt tokens 0"),
        ({"prompt_tokens": -9, "completion_tokens": 1}, (40, 1, 0), "prompt tokens -9"),
        ({"prompt_tokens": 2, "completion_tokens": 1}, (40, 1, 0), "prompt tokens 2"),
        (
            {"prompt_tokens": "many", "completion_tokens": True},
            (40, 2, 0),
            "prompt tokens 'many', completion tokens True",
        ),
        ({"prompt_tokens": "NaN", "completion_tokens": 10**40}, (40, 2, 0), None),
        ({"prompt_tokens": [9], "completion_tokens": {"all": 1}}, (40, 2, 0), None),
        (
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10}},
            (9, 1, 0),
            "cached tokens 10",
        ),
        ({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": -3}, (9, 1, 0), "cached tokens -3"),
    ],
)
def test_usage_that_is_none_is_estimated_and_said(
    usage: object, expected: tuple[int, int, int], doubt: str | None
) -> None:
    found, said = charged({"usage": usage}, ASKED)
    assert found == Usage(1, *expected)
    assert said
    assert doubt is None or said == doubt


def echo_of(tokens: list[str], logprobs: list[float | None], **more: Any) -> dict[str, Any]:
    return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": None, **more}


@pytest.mark.parametrize(
    "body",
    [
        answer(echo_of(["Is", " so", "!"], [None, -0.5, -1.0])),
        # A beginning-of-text token that the text doesn't show, and the generated token.
        answer(echo_of(["<s>", "Is", " so", "!"], [None, -9.0, -0.5, -1.0], text_offset=[0, 3, 5, 8])),
        # Together's place for a prompt.
        {"prompt": [{"text": "Is so", "logprobs": echo_of(["Is", " so"], [None, -0.5])}], "choices": [{"text": "!"}]},
    ],
)
def test_the_echo_without_what_surrounds_it(body: dict[str, Any]) -> None:
    assert form_logprob(echoed(body, "Is so"), 2, " so") == -0.5


def test_characters_that_tokens_cut_are_stepped_over() -> None:
    tokens = ["<s>", "\ufffd", "\ufffd", "\ufffd", " o", "\ufffd", "\ufffd", " so", "!"]
    body = answer(echo_of(tokens, [None, -4.0, -4.0, -4.0, -4.0, -4.0, -4.0, -0.5, -4.0]))
    assert form_logprob(echoed(body, "人 oé so"), 4, " so") == -0.5


def test_an_echo_of_another_text_is_refused() -> None:
    with pytest.raises(LogprobsUnavailableError, match="not those of the prompt"):
        echoed(answer(echo_of(["Is", " not"], [None, -0.5])), "Is so")


def at_places(*tokens: str) -> Places:
    return placed(Columns(tokens, [-0.5] * len(tokens), [()] * len(tokens), TokenLogprob), "".join(tokens))


@pytest.mark.parametrize(
    ("tokens", "start"), [(("It is", " so"), 2), (("I", "t is so"), 5), (("It", " is", " so."), 5)]
)
def test_tokens_that_melt_with_a_form_are_refused(tokens: tuple[str, ...], start: int) -> None:
    with pytest.raises(LogprobsUnavailableError, match="shares a token"):
        form_logprob(at_places(*tokens), start, " so" if start == 5 else " is")


def test_a_form_of_several_tokens_is_their_sum() -> None:
    assert form_logprob(at_places("It", " is", " so", "\n"), 2, " is so") == -1.0


def test_answers_inside_a_prompt() -> None:
    verbalizer = Verbalizer.plain(["True", "False"])
    prompt = Prompt("", (Turn("a", " True"), Turn("b", " False")), "c", verbalizer, "\n")
    text, starts = inside_places(prompt)
    tops = [(), ((" True", -0.25), (" False", -2.0)), (), (), ((" True", -3.0),)]
    columns = Columns(["a", " True", "\n", "b", " False"], [-0.25] * 5, tops, TokenLogprob)
    first, second = inside_readings(prompt, placed(columns, text), starts)
    assert first.forms == {" True": -0.25, " False": -2.0}
    assert second.forms == {" True": -3.0, " False": -0.25}
