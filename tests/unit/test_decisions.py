"""Decision endpoints in both wires: many questions in one request, bounds, and what a probe asks of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from random import Random
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.config import Budget, SearchSettings
from icm_api.errors import CapabilityError, LogprobsUnavailableError, RequestError
from icm_api.model import Meter
from icm_api.model.client.cache import ResponseCache
from icm_api.model.decision_hosts import DECISION_ENTRIES, DecisionHost
from icm_api.model.endpoints.decisions import apart
from icm_api.model.open import Opened, open_endpoint
from icm_api.model.probe import probe
from icm_api.model.probe_decisions import demonstrations_found
from icm_api.model.probe_prompts import short_prompt
from icm_api.model.reading.decisions import Decisions
from icm_api.model.reading.reading import label_distribution
from icm_api.model.request import Body, Request
from icm_api.search import build_objective, search_labels
from icm_api.testing import Server, serve
from icm_api.types import (
    Answers,
    Dataset,
    Example,
    LabelDistribution,
    Labeling,
    Prompt,
    PromptTemplate,
    Task,
    Turn,
    Usage,
    Verbalizer,
)
from tests.hosted import write_config
from tests.models import as_model

TWO = Verbalizer.plain(["True", "False"])
TURNS = (Turn("27>82", " False"), Turn("82>27", " True"), Turn("15>16", " False"), Turn("61>20", " True"))
WIRES = {"openai-decisions": "/v1/decisions", "systemone": "/v1/systemone"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-test")


def fold(count: int, turns: Sequence[Turn] = TURNS) -> list[Prompt]:
    return [Prompt("", tuple(turns), f"{at}>{23 - at}", TWO, "\n") for at in range(count)]


def opened(server: Server, provider: str, **options: Any) -> Opened:
    return open_endpoint(f"{provider}:{server.model}@{server.url}", options)


async def asked(
    both: Opened, prompts: Sequence[Prompt], cache: Path | None = None, meter: Meter | None = None
) -> tuple[Answers[LabelDistribution], Usage]:
    async with as_model(both, None if cache is None else ResponseCache(cache), meter=meter) as model:
        return await model.label_distributions(prompts), model.sent


@pytest.mark.parametrize("provider", WIRES)
async def test_a_fold_after_one_set_of_demonstrations_is_one_request_and_its_text_counts_once(
    provider: str, tmp_path: Path
) -> None:
    with serve() as server:
        one_fold, two_folds = fold(12, TURNS * 8), [*fold(12, TURNS * 8), *fold(12, TURNS * 7)]
        alone, one_by_one = await asked(opened(server, provider, questions=1), one_fold)
        before = server.log.requests[WIRES[provider]]
        together, in_two = await asked(opened(server, provider), two_folds, tmp_path)
        assert before == 12
        assert server.log.requests[WIRES[provider]] - before == 2
        again, nothing = await asked(opened(server, provider, questions=1), one_fold, tmp_path)
    assert list(together)[:12] == list(alone) == list(again)
    assert nothing == Usage()
    assert alone.costs.keys() == again.costs.keys()
    assert in_two.requests == 2
    assert together.usage.requests == 24
    assert in_two.prompt_tokens < one_by_one.prompt_tokens
    assert {each.method for each in together} == {"decisions"}
    assert {each.coverage for each in together} == {None}


async def test_a_search_asks_two_requests_a_scoring_and_no_leave_one_out_unless_it_is_stated() -> None:
    claims = [Example(str(at), {"text": f"{at}>{31 - 2 * at % 31}"}) for at in range(24)]
    task, found = Task(PromptTemplate(separator="\n")), []
    for settings in (SearchSettings(steps=3), SearchSettings(steps=3, exact=24)):
        with serve() as server:
            async with as_model(opened(server, "openai-decisions")) as model:
                found.append((await search_labels(Dataset(claims), model, task=task, settings=settings), server.log))
    (result, log), (exact, more) = found
    # Zero-shot, four labelings, and one before all that says how the endpoint is.
    assert log.requests["/v1/decisions"] <= 1 + 2 * 4 + 1
    assert more.requests["/v1/decisions"] == log.requests["/v1/decisions"] + 24
    assert (result.about["method"], exact.about["method"]) == ("shared", "leave_one_out")
    assert dict(result.labeling) == dict(exact.labeling)


async def test_after_random_labels_those_without_one_are_questions_of_one_request() -> None:
    claims = Dataset(Example(str(at), {"text": f"{at}>{17 - at}"}) for at in range(18))
    shown = Labeling({"3": "True", "11": "False", "17": "True"})
    with serve() as server:
        async with as_model(opened(server, "openai-decisions")) as model:
            objective = build_objective(claims, model, Task(PromptTemplate(separator="\n")), SearchSettings())
            read = await objective.conditionals(claims.ids, shown)
        assert read.keys() == set(claims.ids)
        assert server.log.requests["/v1/decisions"] == 1 + len(shown)


async def test_a_budget_counts_a_shared_text_once() -> None:
    turns = TURNS * 10
    with serve() as server:
        _, cost = await asked(opened(server, "systemone"), fold(10, turns))
        meter = Meter(Budget(tokens=4 * cost.prompt_tokens))
        await asked(opened(server, "systemone"), fold(10, turns), meter=meter)
        assert server.log.requests["/v1/systemone"] == 2


def host(name: str = "systemone", **changes: Any) -> Decisions:
    entry = replace(DECISION_ENTRIES[name], **changes)
    return Decisions(DecisionHost(entry, "m", "m"))


class Says:
    """Answers every question with the same body; implements `Asks`."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.body = {"answers": {"label": {"type": "choice", **answer}}}

    async def ask(self, requests: Sequence[Request]) -> Answers[Body]:
        for request in requests:
            request.accept(self.body)
        return Answers(tuple(self.body for _ in requests))


async def read(reader: Decisions, answer: Mapping[str, Any]) -> LabelDistribution:
    (reading,) = await reader.read(fold(1), Says(answer))
    return label_distribution(TWO, reading)


async def test_clamped_probabilities_are_bounds() -> None:
    found = await read(host(clamp=0.01), {"probabilities": {"True": 0.99, "False": 0.01}})
    assert found.intervals["True"] == pytest.approx((0.99, 1.0), abs=1e-3)
    assert found.intervals["False"] == pytest.approx((0.0, 0.01), abs=1e-3)
    found = await read(host(clamp=0.01), {"probabilities": {"True": 0.7, "False": 0.3}})
    assert found.intervals == {}
    assert found.probability("True") == pytest.approx(0.7)


async def test_a_rounded_zero_is_a_bound_too() -> None:
    found = await read(host(), {"probabilities": {"True": 1.0, "False": 0.0}})
    low, high = found.intervals["False"]
    assert (low, 0 < high < 0.01) == (0.0, True)


async def test_where_a_server_says_how_much_the_labels_had_the_coverage_is_known() -> None:
    found = await read(host(), {"probabilities": {"True": 0.75, "False": 0.25}, "label_mass": 0.4})
    assert found.coverage == pytest.approx(0.4)
    assert found.logprob("True") == pytest.approx(log(0.75))


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"True": 1.0},
        {"True": 0.9, "False": 0.9},
        {"True": 0.1, "False": 0.1},
        {"True": "NaN", "False": 1.0},
        {"True": -0.1, "False": 1.1},
        {"True": 0.5, "False": 0.25, "Maybe": 0.25},
        {"True": True, "False": 0},
        [{"value": "True", "probability": 0.5}, {"value": "True", "probability": 0.5}],
        [{"value": True, "probability": 0.5}, {"value": "False", "probability": 0.5}],
    ],
)
async def test_what_is_no_distribution_over_the_labels_is_refused(said: object) -> None:
    with pytest.raises(LogprobsUnavailableError):
        await read(host(), {"probabilities": said})


async def test_a_question_that_is_refused_leaves_the_others_their_answers() -> None:
    requests = [host().request(prompt) for prompt in fold(2)]
    fine = {"type": "choice", "probabilities": {"True": 0.5, "False": 0.5}}
    parts = apart({"q1": {"type": "refusal", "name": None}, "q0": fine}, requests)
    assert parts == [{"label": fine}, {"label": {"type": "refusal", "name": None}}]
    requests[0].accept({"answers": parts[0]})
    with pytest.raises(RequestError) as caught:
        requests[1].accept({"answers": parts[1]})
    assert caught.value.kind == "refused"


@pytest.mark.parametrize("answers", [None, [], [{}], {"q0": {}}, {"q0": {}, "q2": {}}, {"label": {}}])
def test_answers_that_belong_to_no_question_are_noticed(answers: object) -> None:
    assert apart(answers, [host().request(prompt) for prompt in fold(2)]) is None


async def test_more_labels_than_a_host_takes_or_two_alike_are_named() -> None:
    many = Verbalizer.plain([f"l{at:02}" for at in range(30)])
    with pytest.raises(CapabilityError, match="at most 26 options, and there are 30 labels"):
        host("sglang-decisions").request(Prompt("", (), "x", many))
    alike = Verbalizer({"a": [" yes"], "b": ["\nyes"]})
    with pytest.raises(CapabilityError, match="written alike"):
        host().request(Prompt("", (), "x", alike))


@pytest.mark.parametrize("provider", WIRES)
async def test_a_probe_sees_that_demonstrations_count_and_that_their_text_is_billed_once(provider: str) -> None:
    with serve() as server:
        both = opened(server, provider, context_window=800)
        found = await probe(*both, TWO)
        await both.endpoint.close()
    assert found.trouble == ""
    assert (found.findings.demonstrations.value or 0) > 0.1
    assert 1 < (found.findings.questions.value or 0) < 1.5
    assert found.findings.difference.value == 0
    lines = "\n".join(found.lines())
    assert "coverage            unknown (the server divides by the labels' own sum)" in lines
    assert "two questions       cost 1." in lines


class Unsteady:
    """Answers that are noise around what the labels of the demonstrations move."""

    def __init__(self, seed: int, moves: float) -> None:
        self._noise, self._moves, self.asked = Random(seed), moves, 0

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        self.asked += len(prompts)
        return Answers(tuple(map(self._answer, prompts)), {})

    def _answer(self, prompt: Prompt) -> LabelDistribution:
        p = 0.5 + self._moves / 2 * (1 if prompt.turns[0].answer == " True" else -1) + self._noise.gauss(0, 0.12)
        p = min(max(p, 0.01), 0.99)
        return LabelDistribution(("True", "False"), (log(p), log(1 - p)), None, "decisions")


async def test_noise_is_not_taken_for_answers_that_move_with_the_demonstrations() -> None:
    shown = short_prompt(TWO)
    refused = {0.0: 0, 0.6: 0}
    for moves in refused:
        for seed in range(100):
            model = Unsteady(seed, moves)
            one, two = [(await model.label_distributions([shown]))[0].probability("True") for _ in range(2)]
            found = await demonstrations_found(model, shown, abs(one - two))  # type: ignore[arg-type]
            refused[moves] += bool(found.warning)
    assert refused[0.0] >= 97
    assert refused[0.6] <= 3


async def test_a_probe_refuses_a_model_that_ignores_demonstrations_and_says_what_two_questions_cost() -> None:
    with serve(instant=True) as server:
        # It answers the same whatever it is shown.
        both = opened(server, "systemone", questions=1)
        found = await probe(*both, TWO)
        await both.endpoint.close()
    assert "does not follow demonstrations" in found.verdict
    assert found.verdict.startswith("unusable")
    assert "billed for every question" in found.findings.questions.warning


@pytest.mark.slow
def test_a_run_by_decisions_says_that_coverage_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve() as server:
        config = write_config(tmp_path, f"systemone:{server.model}@{server.url}", search="steps = 4")
        assert main(["run", str(config)]) == 0
    assert "coverage: not known" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "run" / "labels.jsonl").read_text().splitlines()]
    assert {row["coverage"] for row in rows} == {None}
    assert main(["export", str(tmp_path / "run"), "--to", "csv"]) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
