"""Tinker's native API with the embedded model in place of its client: labels after prompts, and inside them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import nan
from types import ModuleType, SimpleNamespace

import pytest

from icm_api.errors import CapabilityError, LogprobsUnavailableError, ProviderError, RequestError
from icm_api.model import Opened, Readers, open_model
from icm_api.model.endpoints.tinker import Targets, TinkerEndpoint, open_tinker
from icm_api.model.reading.targeted import TargetedIds
from icm_api.pocket.model import PocketModel
from icm_api.types import Prompt, Turn, Verbalizer
from tests.models import as_model

TWO = Verbalizer.plain(["True", "False"])
SEVERAL = Verbalizer({"True": [" True", " surely"], "False": [" False", " never so"]})
TURNS = (Turn("27>82", " False"), Turn("82>27", " True"), Turn("15>16", " False"))


class Stand:
    """In place of `tinker`: the embedded model's own logprobs."""

    def __init__(self) -> None:
        self.model, self.asked = PocketModel.load(), 0

    async def scores(self, tokens: Sequence[int], targets: Targets) -> Sequence[Sequence[float]]:
        self.asked += 1
        rows = self.model.all_logprobs(tuple(tokens))
        return [[float(rows[at][token]) for token in ids] for at, ids in targets]

    def tokens_of(self, text: str, special: bool) -> tuple[list[int], list[int]]:
        ids, starts, at = self.model.encode(text), [], 0
        for token in ids:
            starts.append(at)
            at += len(self.model.decode_bytes(token).decode())
        return list(ids), starts

    def open(self) -> Opened:
        endpoint = TinkerEndpoint("Qwen/Qwen3-8B-Base", self.scores)
        reader = TargetedIds(endpoint.identity, self.tokens_of)
        return Opened(endpoint, Readers(reader, reader))


@pytest.mark.parametrize("verbalizer", [TWO, SEVERAL])
async def test_labels_after_prompts_are_the_models_own(verbalizer: Verbalizer) -> None:
    asked = [Prompt("", TURNS[:at], f"{at}>2", verbalizer, "\n") for at in range(4)]
    stand = Stand()
    async with as_model(stand.open()) as model, open_model("pocket") as exact:
        found, known = await model.label_distributions(asked), await exact.label_distributions(asked)
    for one, other in zip(found, known, strict=True):
        assert one.method == "exact_ids"
        assert one.intervals == {}
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.coverage == pytest.approx(other.coverage, abs=1e-4)
    if verbalizer is TWO:
        assert stand.asked == len(asked)


async def test_one_request_reads_every_turn_and_every_label_inside_a_prompt() -> None:
    stand = Stand()
    async with as_model(stand.open()) as model, open_model("pocket") as exact:
        [inside] = await model.read_inside([Prompt("", TURNS, "", TWO, "\n")])
        asked = [Prompt("", TURNS[:at], turn.text, TWO, "\n") for at, turn in enumerate(TURNS)]
        known = await exact.label_distributions(asked)
    assert stand.asked == 1
    for one, other in zip(inside, known, strict=True):
        assert one.intervals == {}
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


async def test_a_form_that_goes_on_after_it_parts_from_the_written_one_is_bounded() -> None:
    async with as_model(Stand().open()) as model, open_model("pocket") as exact:
        [inside] = await model.read_inside([Prompt("", TURNS, "", SEVERAL, "\n")])
        asked = [Prompt("", TURNS[:at], turn.text, SEVERAL, "\n") for at, turn in enumerate(TURNS)]
        known = await exact.label_distributions(asked)
    assert any(one.intervals for one in inside)
    for one, other in zip(inside, known, strict=True):
        for label, (low, high) in one.intervals.items():
            assert low - 1e-3 <= other.probability(label) <= high + 1e-3


@pytest.mark.parametrize("value", [nan, 0.0, -99999.0, 0.5])
async def test_what_is_no_logprob_is_refused(value: float) -> None:
    stand = Stand()

    async def scores(tokens: Sequence[int], targets: Targets) -> Sequence[Sequence[float]]:
        return [[value for _ in ids] for _, ids in targets]

    stand.scores = scores  # type: ignore[method-assign]
    async with as_model(stand.open()) as model:
        with pytest.raises(LogprobsUnavailableError, match="tinker-native/Qwen"):
            await model.label_distributions([Prompt("", TURNS, "1>2", TWO, "\n")])


async def test_a_form_that_runs_into_the_text_around_it_is_named() -> None:
    stand = Stand()
    endpoint = TinkerEndpoint("m", stand.scores)
    # All of a text is one token to it.
    reader = TargetedIds(endpoint.identity, lambda text, special: ([len(text)], [0]))
    async with as_model(Opened(endpoint, Readers(reader, reader))) as model:
        with pytest.raises(CapabilityError, match="shares a token"):
            await model.read_inside([Prompt("", TURNS, "", TWO, "\n")])


async def test_an_error_of_the_package_is_named_by_its_status() -> None:
    class RefusedError(RuntimeError):
        status_code = 429

    async def scores(tokens: Sequence[int], targets: Targets) -> Sequence[Sequence[float]]:
        raise RefusedError("slow down")

    endpoint = TinkerEndpoint("m", scores)
    request, _ = TargetedIds("m", Stand().tokens_of)._asked(Prompt("", (), "1>2", TWO), "1>2 True", [(3, " True")])
    with pytest.raises(RequestError) as caught:
        await endpoint.send([request])
    assert caught.value.kind == "rate_limit"


@pytest.mark.parametrize(("status", "kind"), [(401, "authentication"), (429, "rate_limit"), (None, "server")])
async def test_the_packages_own_errors_are_no_runtime_errors(
    status: int | None, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In version 0.38 they derive from `TinkerError`, which derives from `Exception`."""

    class TinkerError(Exception):
        status_code = status

    class Client:
        def get_tokenizer(self) -> None:
            """None is needed."""

        async def sample_async(self, **asked: object) -> None:
            raise TinkerError("no")

    package = ModuleType("tinker")
    package.__dict__.update(
        TinkerError=TinkerError,
        ServiceClient=lambda: SimpleNamespace(create_sampling_client=lambda **named: Client()),
        ModelInput=SimpleNamespace(from_ints=list),
        SamplingParams=lambda **given: given,
        TensorData=SimpleNamespace(from_numpy=lambda array: array),
    )
    monkeypatch.setitem(sys.modules, "tinker", package)
    scores, _ = open_tinker("m")
    request, _ = TargetedIds("m", Stand().tokens_of)._asked(Prompt("", (), "1>2", TWO), "1>2 True", [(3, " True")])
    with pytest.raises(RequestError) as caught:
        await TinkerEndpoint("m", scores).send([request])
    assert (caught.value.kind, caught.value.status) == (kind, status)


def test_without_the_package_it_is_named() -> None:
    with pytest.raises(ProviderError, match="needs the package 'tinker'"):
        open_model("tinker-native:Qwen/Qwen3-8B-Base")
