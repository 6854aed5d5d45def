"""A finished run labels another file as it labels the rest of its own data: same demonstrations, same calibration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import file_digest, sha256
from pathlib import Path
from time import monotonic

from icm_api.config import Config, CoreSection
from icm_api.data import HUB, fingerprint
from icm_api.errors import DataError, RunError
from icm_api.model import LanguageModel, note_session
from icm_api.runs.aside import allowed
from icm_api.runs.core import MOST_PARTS, Rows, Split, units_of
from icm_api.runs.cutting import frozen_of
from icm_api.runs.executing import Executor
from icm_api.runs.executors import executing
from icm_api.runs.finished import FinishedRun
from icm_api.runs.folder import CONFIG_FILE, SESSIONS_FILE, folder_of, locked
from icm_api.runs.frozen import FROZEN_FILE
from icm_api.runs.parts import data_source, open_model
from icm_api.runs.rest import Rest
from icm_api.runs.rest_parts import label_parts
from icm_api.runs.searching import UNWATCHED, Watch
from icm_api.runs.spill import spill
from icm_api.search import build_objective
from icm_api.types import Dataset, Labeling

MORE_FOLDER = "more"


async def label_more(run: Path, data: str, out: Path | None = None, watch: Watch = UNWATCHED) -> Path:
    """Label another file from a finished run, one request an example; what was cut short goes on when called again.

    Args:
        run: folder of the finished run.
        data: a file whose rows are as those of the run's data, or "hub:OWNER/NAME".
        out: folder of the labels; by default `more/NAME` in the run folder.
        watch: what to hear of.

    Returns:
        The folder: `0000.jsonl` and so on, a line an example, and `rest.json` with counts.

    Raises:
        RunError: the run is not finished, or the folder is that of a run or holds labels of other data.
        IcmError: whatever stops it; what is done is on disk.
    """
    finished = FinishedRun.open(run)
    config = finished.config.changed(run=finished.config.run.changed(folder=run.resolve()))
    rows = Rows.open(replace(data_source(config).elsewhere(data), limit=None))
    total = sum(1 for _ in rows)
    parts = min(MOST_PARTS, -(-total // (config.core or CoreSection()).part))
    split = Split(0, frozenset(), 0, total, parts)
    unit = units_of(rows, config.constraints, config.data.seed, single=False)
    folder = out or run / MORE_FOLDER / Path(data.removeprefix(HUB)).name.partition(".")[0]
    if folder.is_file() or (folder / CONFIG_FILE).exists():
        what = "a file" if folder.is_file() else "the folder of a run"
        raise RunError(f"{folder} is {what}, and nothing was written: choose another folder with --out")
    async with executing(config) as executor, asked_again(config, executor) as model:
        watch.on_model(model)
        core = Dataset(finished.dataset.get(row.id) for row in finished.result.examples)
        objective = build_objective(core, model, finished.task, config.search)
        frozen = await frozen_of(config, objective, finished.result)
        index = spill(rows, split, unit, folder, f"{_digest(rows, data)}/{_frozen_digest(run)}")
        rest = Rest(objective, core, finished.task.constraints, frozen, Labeling(), config.diagnostics.abstain_below)
        await label_parts(rest, folder, index, allowed(config.run.tolerate, total), watch.on_part, executor)
    return folder


@asynccontextmanager
async def asked_again(config: Config, executor: Executor | None = None) -> AsyncIterator[LanguageModel]:
    """A model for a finished run, whose folder is held: what it sends counts on the run's budget, and is noted there.

    Args:
        config: of the run, with its folder.
        executor: whose workers ask too, if there are any.

    Yields:
        The model that the configuration names.

    Raises:
        RunError: the run is in use, or its ledger is damaged.
        ConfigError, ProviderError, StorageError: as for `open_model`.
    """
    folder, began = folder_of(config), monotonic()
    line = None if executor is None else executor.line
    with locked(folder):
        async with open_model(config, meter=line, limits=None if line is None else line.limits) as model:
            try:
                yield model
            finally:
                if executor is not None:
                    await executor.refresh()
                note_session(folder / SESSIONS_FILE, model, monotonic() - began)


def _digest(rows: Rows, data: str) -> str:
    if data.startswith(HUB):
        return fingerprint(rows)
    try:
        with Path(data).open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{data}: cannot be read: {error.strerror or error}") from error


def _frozen_digest(run: Path) -> str:
    return sha256((run / FROZEN_FILE).read_bytes()).hexdigest()
