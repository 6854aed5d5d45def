"""Pieces of a run as a worker does them, without a cluster: the same as in one process, begun anew if it is lost."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.compare import searches
from icm_api.config import Config, load_config
from icm_api.errors import BudgetError, ClusterError, ConfigError, StorageError
from icm_api.model.client.line import Line
from icm_api.result import Result
from icm_api.runs import on_ray, ray_worker
from icm_api.runs import running as run_module
from icm_api.runs.aside import Aside
from icm_api.runs.executing import MOST_LOST, Executor, Heard, Here, WorkerLostError
from icm_api.runs.parts import open_models
from icm_api.runs.pieces import ANEW, STEP, BatchPiece, PartPiece, Shown, Tell
from icm_api.runs.rest import Labelled, Rest, Stretch
from icm_api.runs.searching import Work
from tests.worlds import write_world

NAMES = ("labels.jsonl", "summary.json", "trace.jsonl", "parts/0000.jsonl", "parts/0001.jsonl", "frozen.json")
MORE = "\n[batches]\nsize = 16\ncount = 2\noverlap = 4\n\n[core]\npart = 10\n\n[diagnostics]\nenabled = false\n"
Printed = pytest.CaptureFixture[str]


@dataclass
class Apart:
    """Does pieces as a worker does: by plain values, with a model of its own. Some workers are lost on the way.

    Attributes:
        config: of the run.
        lost: how many words each of the first workers says before it is lost.
        pieces: that were given out.
    """

    config: Path
    lost: list[int] = field(default_factory=list)
    pieces: list[BatchPiece | PartPiece] = field(default_factory=list)
    line: Line | None = None
    side_by_side: int = 2

    async def _told(self, piece: BatchPiece | PartPiece, shown: Shown | None = None) -> list[tuple[str, Any]]:
        """What a piece says, as `ray_worker.streamed` gives it."""
        self.pieces.append(piece)
        config = load_config(self.config)
        # One process at a time may write a ledger.
        own = config.run.changed(folder=self.config.parent / f"worker-{len(self.pieces)}")
        config = config.changed(run=own)

        async def work(tell: Tell) -> Any:
            async with open_models(config) as models:
                if isinstance(piece, BatchPiece):
                    return await piece.done(config, models, tell)
                assert shown is not None
                return await piece.done(config, models[0], shown, tell)

        # Another process has a loop of its own.
        return await asyncio.to_thread(lambda: list(ray_worker.streamed(work)))

    async def search(self, work: Work, aside: Aside, heard: Heard) -> Result:
        words = await self._told(BatchPiece.of(work, aside))
        most = self.lost.pop(0) if self.lost else len(words)
        for kind, value in words[:most]:
            if kind == STEP:
                heard.record(json.loads(json.dumps(value)))
            elif kind == ANEW:
                heard.anew(value)
            elif kind == "done":
                return value  # type: ignore[no-any-return]
            elif kind == "failed":
                raise value
        raise WorkerLostError("killed")

    async def label(self, rest: Rest, stretches: Sequence[Stretch], aside: Aside) -> AsyncGenerator[Labelled]:
        words = await self._told(PartPiece.of(stretches, aside), Shown.of(rest))
        most = self.lost.pop(0) if self.lost else len(words)
        for kind, value in words[:most]:
            if kind == "failed":
                raise value
            if kind != "done":
                yield value
        if most < len(words):
            raise WorkerLostError("killed")

    async def refresh(self) -> None:
        pass


def through(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def executing(config: object) -> AsyncGenerator[Executor]:
        yield executor

    monkeypatch.setattr(run_module, "executing", executing)


def configured(folder: Path) -> Path:
    config = write_world(folder, "comparisons", 48, 'engine = "bootstrap"\nrestarts = 1\nrounds = 1\n')
    config.write_text(config.read_text() + MORE)
    return config


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "run" / name).read_bytes() for name in NAMES}


@pytest.mark.parametrize("lost", [(), (1, 0, 2, 1)])
def test_pieces_done_elsewhere_give_the_same_bytes_also_if_workers_are_lost(
    lost: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here_config, apart_config = configured(tmp_path / "here"), configured(tmp_path / "apart")
    monkeypatch.setattr("icm_api.runs.rest_parts.STRETCH", 4)
    assert main(["run", str(here_config)]) == 0
    apart = Apart(apart_config, [*lost])
    through(apart, monkeypatch)
    assert main(["run", str(apart_config)]) == 0
    assert files(tmp_path / "apart") == files(tmp_path / "here")
    assert len(apart.pieces) == 2 + 2 + len(lost)
    for piece in apart.pieces:
        copy.deepcopy(piece)


def test_the_seeds_of_a_comparison_side_by_side_give_the_same_bytes_also_if_workers_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = '\n[compare]\nseeds = 2\nheld_out = 0.5\ncurve = false\nmethods = ["icm", "bootstrap"]\n'
    found = {}
    for name, executor in (("here", ""), ("apart", '\nexecutor = "ray"\n')):
        config = write_world(tmp_path / name, "comparisons", 16, 'engine = "bootstrap"\nrestarts = 1\nrounds = 1\n')
        config.write_text(config.read_text() + executor + compared)
        apart = Apart(config, [1, 0])

        @asynccontextmanager
        async def executing(config: Config, apart: Apart = apart) -> AsyncGenerator[Executor]:
            assert config.run.folder == tmp_path / "apart" / "run-compare"
            assert not config.diagnostics.enabled
            yield apart

        monkeypatch.setattr(searches, "executing", executing)
        assert main(["compare", str(config), "--gold", str(config.parent / "gold.jsonl"), "--json"]) == 0
        place = tmp_path / name / "run-compare"
        runs = [path for run in place.glob("runs/*") for path in map(run.joinpath, NAMES[:3])]
        names = [place / "comparison.json", place / "table.csv", *runs]
        found[name] = {path.relative_to(place): path.read_bytes() for path in names}
    assert found["here"] == found["apart"]
    # Two files of the comparison, three of each of four runs.
    assert len(found["here"]) == 2 + 3 * 4
    assert len(apart.pieces) == 4 + 2


def test_a_piece_that_loses_worker_after_worker_ends_the_run_which_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    config = configured(tmp_path)
    through(Apart(config, [0] * 2 * MOST_LOST), monkeypatch)
    assert main(["run", str(config)]) == ClusterError.exit_code == 3
    assert "to go on: icm-api resume" in capsys.readouterr().err
    through(Apart(config), monkeypatch)
    assert main(["resume", str(tmp_path / "run")]) == 0


def test_what_a_piece_fails_with_is_told_with_its_own_words() -> None:
    async def work(tell: Tell) -> None:
        tell("step", 1)
        await asyncio.sleep(0)
        raise BudgetError("spent")

    first, second = list(ray_worker.streamed(work))
    assert first == ("step", 1)
    assert second[0] == "failed"
    assert str(second[1]) == "spent"


def test_a_warning_on_a_worker_is_heard_where_the_run_is() -> None:
    async def work(tell: Tell) -> None:
        with ray_worker.telling_warnings(tell):
            logging.getLogger("icm_api.model").warning("waiting %d s", 30)
            logging.getLogger("icm_api.model").info("nothing")
        logging.getLogger("icm_api.model").warning("too late")

    assert list(ray_worker.streamed(work)) == [("logged", "waiting 30 s"), ("done", None)]


def test_a_mistake_in_a_piece_is_no_silence() -> None:
    async def work(tell: Tell) -> None:
        tell("step", 1)
        raise ZeroDivisionError

    told = ray_worker.streamed(work)
    assert next(told) == ("step", 1)
    with pytest.raises(ZeroDivisionError):
        next(told)


def test_without_ray_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("ICM_RUN__EXECUTOR", "ray")
    config = configured(tmp_path)
    assert main(["run", str(config)]) == ConfigError.exit_code == 2
    assert "pip install 'icm-api[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_cluster_of_several_machines_needs_a_cache_for_all(tmp_path: Path) -> None:
    config, nodes = load_config(configured(tmp_path)), [{"Alive": True}] * 2
    with pytest.raises(ConfigError, match=r"2 machines.*cache\.url"):
        on_ray._check_cache(config, nodes)
    on_ray._check_cache(config, nodes[:1])
    shared = config.cache.changed(folder=None, url="redis://127.0.0.1:6379/0")
    on_ray._check_cache(config.changed(cache=shared), nodes)


def test_a_run_outside_of_the_cluster_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setenv("ICM_RUN__EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert main(["run", str(configured(tmp_path))]) == 2
    assert 'RAY_ADDRESS="auto"' in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("ICM_RUN__EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert main(["run", str(configured(tmp_path))]) == 3
    assert f"no Ray cluster answers at RAY_ADDRESS={address}" in capsys.readouterr().err


def test_the_table_knows_no_other_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.setenv("ICM_RUN__EXECUTOR", "dask")
    assert main(["run", str(configured(tmp_path))]) == 2
    assert "ICM_RUN__EXECUTOR" in capsys.readouterr().err
    assert Here().side_by_side == 1


async def test_an_error_of_another_process_is_told_in_its_own_words() -> None:
    exceptions = pytest.importorskip("ray.exceptions")

    async def failed() -> None:
        raise exceptions.RayTaskError("close", "Traceback: line 1", StorageError("no room")).as_instanceof_cause()

    with pytest.raises(StorageError) as caught:
        await ray_worker.in_own_words(failed())
    assert str(caught.value) == "no room"
