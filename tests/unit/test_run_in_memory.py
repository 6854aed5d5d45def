"""A run on values, without any file: the same labels, verdict and usage as the search and the judge give."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest

import icm_api as icm
from icm_api.config import DiagnosticsSettings, SearchSettings, load_config
from icm_api.consistency import asymmetric
from icm_api.runs import FinishedRun, run_config
from icm_api.testing import serve
from icm_api.types import Capabilities, Dataset, Example, Labeling, PromptTemplate, Task
from tests.bayes import BayesModel, pairs
from tests.benchmarks.price.ruler import usage_of
from tests.worlds import write_world

TASK = Task(PromptTemplate(separator="\n"), constraints=(asymmetric("True", total=True),))


class Local(BayesModel):
    """Of this process, as `batches` says: such models are not asked whether they can be trusted."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(super().capabilities, batches=True)


async def test_labels_are_found_and_judged_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset, truth = pairs(8)
    settings = SearchSettings(engine="bootstrap", seed=1)
    found = await icm.run(dataset, TASK, Local(truth), search=settings)
    alone = await icm.search_labels(dataset, Local(truth), task=TASK, settings=settings)
    assert found.labeling == alone.labeling
    assert found.about["diagnosis"]["coherent"] == "coherent"
    assert found.usage.requests == alone.usage.requests + found.about["diagnosis"]["measures"]["requests"]
    assert list(tmp_path.iterdir()) == []


async def test_labels_can_be_left_unjudged_and_fixed_ones_stay() -> None:
    dataset, truth = pairs(8)
    fixed = Labeling({key: "True" if truth[key] else "False" for key in dataset.ids[:4]})
    steps: list[int] = []
    found = await icm.run(
        dataset,
        TASK,
        Local(truth),
        search=SearchSettings(engine="bootstrap"),
        diagnostics=DiagnosticsSettings(enabled=False),
        fixed=fixed,
        watch=icm.Watch(on_step=lambda progress: steps.append(progress.info.step)),
    )
    assert all(found.labeling[key] == label for key, label in fixed.items())
    assert "diagnosis" not in found.about
    assert steps == list(range(len(steps)))
    assert len(steps) > 1


async def test_without_await_in_a_running_event_loop_and_again() -> None:
    dataset, truth = pairs(4)
    model, settings = Local(truth), SearchSettings(engine="bootstrap")
    found = [icm.run_sync(icm.search_labels(dataset, model, task=TASK, settings=settings)) for _ in range(2)]
    assert found[0] == found[1] == await icm.search_labels(dataset, Local(truth), task=TASK, settings=settings)


def test_without_await_and_without_an_event_loop_errors_are_those_of_the_work() -> None:
    async def work() -> None:
        raise icm.DataError("row 3")

    async def inside() -> None:
        icm.run_sync(work())

    for way in (work, inside):
        with pytest.raises(icm.DataError, match="row 3"):
            icm.run_sync(way())


def test_an_interrupt_cancels_the_work() -> None:
    left: list[str] = []

    async def work() -> None:
        try:
            Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
            await asyncio.sleep(60)
        finally:
            left.append("cancelled")

    async def cell() -> None:
        icm.run_sync(work())

    # As a notebook does: a loop that takes no signals for itself.
    loop = asyncio.new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(cell())
    loop.close()
    assert left == ["cancelled"]


async def test_a_witness_of_a_configuration_scores_the_labels_once_more_under_the_same_budget(tmp_path: Path) -> None:
    path = write_world(tmp_path, "facts", 8, 'engine = "bootstrap"\nrestarts = 1')
    plain = path.read_text()
    with serve(dialect="vllm") as server:
        path.write_text(f'{plain}\n[diagnostics]\nwitness = "vllm:{server.model}@{server.url}"\n')
        found = await run_config(load_config(path))
        asked = server.log.total
    witness = found.about["diagnosis"]["measures"]["witness"]
    assert server.model in witness["model"]
    assert asked >= 8
    assert any(reason.startswith("a witness, vllm/") for reason in found.about["diagnosis"]["reasons"])
    sent = FinishedRun.open(tmp_path / "run").sent
    assert sent is not None
    # The model that searched is in this process, and counts as one request each too.
    assert sent.usage.requests >= asked


@pytest.mark.slow
async def test_judging_takes_at_most_a_tenth_of_the_requests_and_tokens_of_the_default_search() -> None:
    dataset = Dataset(Example(f"e{at}", {"text": f"claim {at}: {at * 7919 % 1000} is odd"}) for at in range(64))
    search = SearchSettings().changed(estimator="shared")
    # What is made up at once cannot be read inside a prompt, as the default would.
    with serve(instant=True) as server:
        async with icm.open_model(f"vllm:{server.model}@{server.url}", options={"prompt_list": 1}) as model:
            await icm.run(dataset, Task(), model, search=search, diagnostics=DiagnosticsSettings(enabled=False))
            searching = usage_of(server.log)
            # The model remembers all that the search asked for.
            result = await icm.run(dataset, Task(), model, search=search)
        judging = usage_of(server.log) - searching
    measures = result.about["diagnosis"]["measures"]
    # Asking how a text is cut into tokens is a request too, which `usage_of` leaves out.
    assert 0 < judging.requests <= measures["requests"] <= 0.1 * searching.requests
    # What is said of the cost is what the server counted.
    assert 0 < judging.prompt_tokens == measures["tokens"] <= 0.1 * searching.prompt_tokens
