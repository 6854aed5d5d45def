"""What a probe says of providers that misbehave in known ways, against the embedded model as the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log

import pytest

from icm_api.config import Budget
from icm_api.errors import BudgetError, LogprobsUnavailableError, RequestError
from icm_api.model import Meter, open_endpoint, open_model
from icm_api.model.checking import check_endpoint
from icm_api.model.findings import Finding, Findings, Probe
from icm_api.model.probe import probe
from icm_api.model.probe_echo import echo_agreement
from icm_api.model.probe_prompts import long_prompt, short_prompt
from icm_api.model.reading.reading import Below, Readers, Reading, forms_of
from icm_api.model.request import Asks, Body, Request, Response
from icm_api.types import Answers, Capabilities, Prompt, Usage, Verbalizer
from tests.models import as_model

TWO = Verbalizer.plain(["True", "False"])
TRUE, FALSE = log(0.6), log(0.3)


def _check(body: Body) -> None:
    if None in body.values():
        raise LogprobsUnavailableError("scripted/x: null")


class Scripted:
    """A hosted provider whose answers are a list of values per form; the last one is given for ever after."""

    def __init__(self, *answers: Mapping[str, float | None], echo: Sequence[float] = (), bounded: bool = False) -> None:
        self._answers = list(answers)
        self._echo = list(echo)
        self._bounded = bounded
        self.sent = 0
        self.closed = False

    @property
    def identity(self) -> str:
        return "scripted/x"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(1000, "top_k", deterministic=False, top_logprobs=5, prompt_logprobs=bool(self._echo))

    def count_tokens(self, text: str) -> int:
        return len(text)

    @property
    def readers(self) -> Readers:
        return Readers(self, self if self._echo else None)

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        answers = await client.ask([Request({"prompt": prompt.text}, check=_check) for prompt in prompts])
        found = [Reading({form: self._value(body[form]) for form in forms_of(TWO)}, "top_k") for body in answers]
        return Answers(tuple(found), answers.costs)

    def _value(self, value: float) -> float | Below:
        return Below(value) if self._bounded and value < TRUE else value

    async def read_inside(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Sequence[Reading]]:
        values = dict(zip(forms_of(TWO), self._echo, strict=True))
        found = [[Reading(values, "prompt_logprobs") for _ in prompt.turns] for prompt in prompts]
        return Answers(tuple(found))

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.sent += 1
        return [Response(answer, Usage(1, 10, 1, 7), {"requests_per_minute": 60.0})]

    async def close(self) -> None:
        self.closed = True


async def probed(scripted: Scripted, meter: Meter | None = None) -> Probe:
    return await probe(scripted, scripted.readers, TWO, meter=meter)


FINE = {" True": TRUE, " False": FALSE}


def test_the_short_prompt_alternates_and_labels_by_position() -> None:
    three = Verbalizer.plain(["Yes", "No", "Perhaps"])
    assert [turn.answer for turn in short_prompt(three).turns] == [" Yes", " No", " Yes", " No"]


def test_the_long_prompt_fits_and_is_true() -> None:
    prompt = long_prompt(TWO, len, 3000)
    assert 2950 < len(prompt.text) <= 3000
    for turn in prompt.turns:
        left, right = map(int, turn.text.split(" > "))
        assert turn.answer == f" {left > right}"
    answers = [turn.answer for turn in prompt.turns]
    assert 0.3 < answers.count(" True") / len(answers) < 0.7


async def test_the_embedded_model_is_usable_and_its_numbers_are_exact() -> None:
    opened = open_endpoint("pocket")
    found = await probe(*opened, TWO)
    async with as_model(opened) as client:
        (truth,) = await client.label_distributions([short_prompt(TWO)])
    assert found.verdict == "usable"
    assert found.findings.coverage.value == truth.coverage
    assert found.findings.difference.value == 0
    assert found.findings.single_tokens.value == {" True": True, " False": True}
    assert found.findings.limits == Finding(None, "the server's headers say nothing")
    assert found.usage.requests == 4


async def test_every_question_is_sent_and_the_provider_is_left_open() -> None:
    provider = Scripted(FINE)
    found = await probed(provider)
    assert provider.sent == found.usage.requests == 4
    assert not provider.closed
    assert found.findings.cached == Finding(7, "of 10")
    assert found.findings.limits.value == {"requests_per_minute": 60.0}


async def test_answers_that_change_are_measured_and_warned_of() -> None:
    found = await probed(Scripted(FINE, {" True": FALSE, " False": TRUE}))
    assert found.findings.difference.value == pytest.approx(1 / 3)
    assert found.verdict == "usable with warnings"
    assert "differ by 0.33" in found.warnings[0]


async def test_a_question_that_fails_the_second_time_is_a_warning() -> None:
    found = await probed(Scripted(FINE, {" True": None}, FINE))
    assert found.findings.difference.value is None
    assert "failed when asked again: scripted/x: null" in found.warnings[0]


async def test_null_logprobs_are_the_verdict_and_nothing_is_made_up() -> None:
    found = await probed(Scripted({" True": None, " False": None}))
    assert found.verdict == "unusable: scripted/x: null"
    assert found.findings.coverage == Finding(None, "not measured")
    assert found.as_json()["findings"]["coverage"]["value"] is None
    assert "  coverage            unknown (not measured)" in found.lines()


async def test_low_coverage_is_a_warning() -> None:
    found = await probed(Scripted({" True": log(0.2), " False": log(0.1)}))
    assert found.findings.coverage.value == pytest.approx(0.3)
    assert "30.0%" in found.warnings[0]


async def test_a_label_that_is_not_listed_shows_its_bounds() -> None:
    found = await probed(Scripted(FINE, bounded=True))
    assert found.findings.bounds.value is not None
    assert found.findings.bounds.value["False"] == pytest.approx((0.0, 1 / 3))
    assert "False (0 to 0.333)" in found.warnings[0]


@pytest.mark.parametrize(("echo", "kept"), [((TRUE, FALSE), True), ((log(0.63), FALSE), True), ((-0.01, -0.01), False)])
async def test_an_echo_that_disagrees_is_lost_with_both_numbers(echo: Sequence[float], kept: bool) -> None:
    found = await probed(Scripted(FINE, echo=echo))
    assert found.capabilities.prompt_logprobs == kept
    if not kept:
        assert "log p of ' False' is -0.010 in the echo, and -1.204 as next token" in found.warnings[0]


@pytest.mark.parametrize(("true", "kept"), [(-12.17, False), (-10.42, True)])
async def test_an_echo_of_unlikely_labels_is_judged_by_how_they_share_what_they_have(true: float, kept: bool) -> None:
    """What llama-cpp-python echoes without a BOS token, beside what the model says."""
    found = await probed(Scripted({" True": -10.42, " False": -11.0}, echo=(true, -11.0)))
    assert found.capabilities.prompt_logprobs == kept


@pytest.mark.parametrize(("false", "kept"), [(log(0.1), True), (log(0.35), True), (log(0.5), False)])
async def test_an_echo_must_keep_to_the_bounds_of_what_is_not_listed(false: float, kept: bool) -> None:
    found = await probed(Scripted(FINE, echo=(TRUE, false), bounded=True))
    assert found.capabilities.prompt_logprobs == kept
    assert kept or "is -0.693 in the echo, and at most -1.204 as next token" in " ".join(found.warnings)


async def test_an_echo_with_nothing_to_compare_stays_unknown() -> None:
    class Never:
        async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
            raise AssertionError

    found = await echo_agreement(Scripted(FINE, echo=(TRUE,)).readers, short_prompt(TWO), {}, Never())
    assert found.value is None
    assert "nothing to compare" in found.note


async def test_the_budget_holds() -> None:
    provider = Scripted(FINE)
    with pytest.raises(BudgetError):
        await probed(provider, meter=Meter(Budget(requests=2)))
    assert provider.sent == 2


async def test_refusals_for_the_rate_are_counted() -> None:
    class Slow(Scripted):
        async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
            if self.sent == 0:
                self.sent += 1
                raise RequestError("slow down", kind="rate_limit", retry_after=0.0)
            return await super().send(requests)

    found = await probed(Slow(FINE))
    assert found.warnings == ("1 of these few questions were refused for their rate",)


async def test_the_check_before_a_run_asks_once_and_warns() -> None:
    # Its claims are not the user's: what little labels of another kind get there is no news.
    async with as_model(Scripted({" True": log(0.2), " False": log(0.1)})) as client:
        assert await check_endpoint(client, TWO) == []
    provider = Scripted({" True": log(0.002), " False": log(0.001)})
    async with as_model(provider) as client:
        (warning,) = await check_endpoint(client, TWO)
        assert "0.3%" in warning
        assert await check_endpoint(client, TWO) == [warning]
    assert provider.sent == 1


async def test_the_check_raises_what_is_wrong() -> None:
    async with as_model(Scripted({" True": None})) as client:
        with pytest.raises(LogprobsUnavailableError, match="null"):
            await check_endpoint(client, TWO)


async def test_models_of_this_machine_are_not_checked() -> None:
    async with open_model("pocket") as client:
        assert await check_endpoint(client, TWO) == []
        assert client.sent == Usage()


def test_a_report_names_everything_once() -> None:
    lines = Probe("x/y", Capabilities(10, "top_k", deterministic=False), Findings(Finding("top_k")), Usage()).lines()
    assert lines[:2] == ["x/y", "  labels read by      top_k"]
    assert lines[-1] == "usable"
    assert len(lines) == len(set(lines)) == 13


class Thinking(Scripted):
    """A model that begins to think, and gives the labels next to nothing."""

    mark = "<think>"

    async def read(self, prompts: Sequence[Prompt], client: Asks) -> Answers[Reading]:
        found = await super().read(prompts, client)
        return Answers(tuple(replace(each, instead={self.mark: 0.999}) for each in found), found.costs)


async def test_a_model_that_thinks_first_is_unusable_and_its_thoughts_begin_the_advice() -> None:
    thinking = Thinking({" True": log(5e-7), " False": log(2e-7)})
    found = await probed(thinking)
    assert found.verdict.startswith("unusable: ")
    assert "'<think>' (99.9%): it thinks before it answers" in found.verdict
    with pytest.raises(LogprobsUnavailableError, match="'<think>'"):
        await check_endpoint(as_model(thinking), TWO)


async def test_a_model_that_writes_something_else_is_unusable_though_a_run_may_try_it() -> None:
    wordy = Thinking({" True": log(5e-4), " False": log(2e-4)})
    wordy.mark = "The"
    assert "it would write 'The' (99.9%)" in (await probed(wordy)).trouble
    (warning,) = await check_endpoint(as_model(wordy), TWO)
    assert "0.1% of the model's probability" in warning
