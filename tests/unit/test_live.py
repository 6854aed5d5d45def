"""What a run shows while it works: on a terminal, in a notebook, and where there is neither."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import IO, Any

import pytest
from rich.console import Console

import icm_api as icm
from icm_api.model import Client, LanguageModel, Readers
from icm_api.model.endpoints.pocket import PocketEndpoint, load_model
from icm_api.model.reading.local import ReadsForms
from icm_api.model.request import Request, Response
from icm_api.types import Model
from tests.bayes import BayesModel, pairs

SETTINGS = icm.SearchSettings(engine="bootstrap", rounds=3, restarts=2)


async def shown(console: Console, **given: Any) -> str:
    dataset, truth = pairs(4)
    with icm.LiveView(console, **given) as view:
        await icm.run(dataset, icm.Task(), BayesModel(truth), search=SETTINGS, watch=view.watch)
        assert isinstance(console.file, io.StringIO)
        while given and " of at most " not in console.file.getvalue():
            view._over.wait(0.01)
    return console.file.getvalue()


async def test_neither_terminal_nor_notebook_gets_a_line_now_and_then() -> None:
    said = await shown(Console(file=io.StringIO()), every=0.005)
    assert any("step " in line and "8 labelled, U " in line and "after 0:00:0" in line for line in said.splitlines())


async def test_what_comes_after_a_search_shows_nothing_of_it() -> None:
    console = Console(file=io.StringIO())
    dataset, truth = pairs(4)
    with icm.LiveView(console, every=0.005) as view:
        await icm.run(dataset, icm.Task(), BayesModel(truth), search=SETTINGS, watch=view.watch)
        view.doing("measuring, golden")
        until_shown(console.file, "measuring, golden, after 0:00:0")
    assert isinstance(console.file, io.StringIO)
    assert " of at most " not in console.file.getvalue().splitlines()[-1]


def until_shown(file: IO[str], words: str) -> None:
    # A terminal is told colours between the words.
    assert isinstance(file, io.StringIO)
    while words not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue()):
        time.sleep(0.01)


class Slow(PocketEndpoint):
    """A model on this machine that is never done with its second batch of three."""

    under_way = (2, 3)

    async def send(self, requests: Sequence[Request]) -> Sequence[Response]:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("console", [Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True)])
async def test_a_round_of_a_local_model_says_which_batch_it_is_at(console: Console) -> None:
    dataset, _ = pairs(4)
    endpoint = Slow(load_model(None))
    file = console.file
    assert isinstance(file, io.StringIO)
    with icm.LiveView(console, every=0.005) as view:
        model = LanguageModel(Readers(ReadsForms(endpoint)), Client(endpoint))
        work = asyncio.create_task(icm.run(dataset, icm.Task(), model, search=SETTINGS, watch=view.watch))
        await asyncio.to_thread(until_shown, file, "batch 2 of 3")
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await model.close()


async def test_a_short_run_says_nothing() -> None:
    assert await shown(Console(file=io.StringIO())) == ""


async def test_a_terminal_gets_a_panel_that_goes_away() -> None:
    said = await shown(Console(file=io.StringIO(), force_terminal=True, width=100))
    assert "judging them without gold" in said or "of at most" in said


async def test_a_notebook_gets_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Cell:
        def update(self, data: dict[str, str], *, raw: bool) -> None:
            seen.append(data["text/plain"])

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        seen.append(data["text/plain"])
        return Cell()

    seen: list[str] = []
    notebook = ModuleType("IPython.display")
    notebook.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    assert await shown(Console(file=io.StringIO(), force_jupyter=True)) == ""
    assert seen[0].startswith("starting")
    assert "judging them without gold" in seen[-1]


async def test_how_far_it_is_within_a_step_is_what_the_model_answered() -> None:
    opened: list[Model] = []
    view = icm.LiveView(Console(file=io.StringIO()))
    view.opened(icm.open_model("pocket"))
    assert view._line().startswith("starting, 0 requests answered, after 0:00:0")
    dataset, truth = pairs(4)
    model = BayesModel(truth)
    await icm.run(dataset, icm.Task(), model, search=SETTINGS, watch=icm.Watch(on_model=opened.append))
    assert opened == [model]
    assert not isinstance(model, LanguageModel)
