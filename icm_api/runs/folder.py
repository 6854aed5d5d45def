"""The run folder: its files, one process at a time, and the fingerprints by which a resume knows its inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from icm_api.config import Config
from icm_api.data import fingerprint
from icm_api.errors import ConfigError, DataError, IcmError, RequestError, RunError, StorageError
from icm_api.model import LanguageModel
from icm_api.result import LABELS_FILE, SUMMARY_FILE
from icm_api.runs.trace import TRACE_FILE
from icm_api.types import Example

CONFIG_FILE = "config.toml"
INPUTS_FILE = "inputs.json"
SESSIONS_FILE = "sessions.jsonl"
"""For people: a line for each process that worked on the run and was not killed."""
SPENDING_FILE = "spending.jsonl"
"""For the budget: a `Ledger`."""
SPENDING_LOCK = ".spending.lock"
"""Held by the process that writes it, if that is not the one that holds the run."""
JOBS_FOLDER = "jobs"
"""A file for each batch job that was sent."""
CONFIG_KEY = "config_sha256"
"""Of the inputs: the fingerprint of the configuration."""
CORE_KEY = "core"
"""Of the inputs: which examples are searched, if not all are."""
ORDER_KEY, HASHED = "order", "hashed"
"""Of the inputs: the order in which examples are shown. Runs of older versions say nothing, and have the file's."""
CHANGEABLE = ("run", "cache", "client", "budget")
"""Sections of a configuration that may change while a run goes on: no label depends on them."""
_NEWER = ("core", "batches")
"""Sections that older versions did not have."""
ASIDE_FILE = "set_aside.jsonl"
"""A line for each example that was set aside: id and reason. Missing if none was."""
ROUNDS_FOLDER = "rounds"
"""Batches and jobs of a run that was labelled by `icm-api iterate`: no search of its own goes on there."""
_LOCK_FILE = ".lock"
FORMAT = 1
"""Of the run folder; raised when an older folder could no longer be resumed."""


def folder_of(config: Config) -> Path:
    """Where a run of this configuration is kept."""
    if config.run.folder is None:
        raise ConfigError("run.folder is missing: read the configuration with load_config, which sets it")
    return config.run.folder


def has_run(folder: Path) -> bool:
    """Whether a run began in a folder, finished or not.

    Args:
        folder: of the run.
    """
    return (folder / INPUTS_FILE).exists()


def inputs_of(config: Config, examples: Iterable[Example], model: LanguageModel) -> dict[str, Any]:
    """Fingerprints of all that the search depends on beside its settings.

    Raises:
        DataError: a file cannot be read.
    """
    warm = config.search.earlier
    return {
        "format": FORMAT,
        "data_sha256": data_fingerprint(config, examples),
        "fixed_sha256": config.data.fixed and _sha256(config.data.fixed),
        "start_sha256": warm and _sha256(warm / LABELS_FILE),
        "model": model.identity,
        CONFIG_KEY: config_fingerprint(config),
    }


def config_fingerprint(config: Config) -> str:
    """A SHA-256 of all that shapes the labels or what is reported of them, wherever files and model are now.

    Args:
        config: resolved.
    """
    # What a path or a spec leads to has a fingerprint of its own among the inputs, so a run may be moved.
    places = {"data": {"path", "fixed"}, "model": {"provider"}} | (
        {"search": {"start"}} if config.search.earlier else {}
    )
    # Keys that older versions did not have are no part of it while they are not used, so that their runs go on.
    if config.diagnostics.witness is None:
        places["diagnostics"] = {"witness", "witness_options"}
    if config.prices is not None and not config.prices.tier:
        places["prices"] = {"tier"}
    unused = [name for name in _NEWER if getattr(config, name) is None]
    shaping = config.model_dump(mode="json", exclude={**dict.fromkeys([*CHANGEABLE, *unused], True), **places})
    return sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def check_config(folder: Path, inputs: Mapping[str, Any], config: Config) -> None:
    """Compare a run's configuration with the one that it began with.

    Args:
        folder: of the run.
        inputs: that the run began with; those of older runs say nothing of the configuration.
        config: as it is on disk now.

    Raises:
        RunError: another section changed than those that may.
    """
    if inputs.get(CONFIG_KEY, config_fingerprint(config)) != config_fingerprint(config):
        may = ", ".join(f"[{name}]" for name in CHANGEABLE)
        raise RunError(
            f"{folder / CONFIG_FILE} is not what this run began with; only {may} may change: put it back, or begin a "
            "new run in another folder"
        )


def data_fingerprint(config: Config, examples: Iterable[Example]) -> str:
    """A SHA-256 of the data: of the file's bytes, or of the examples where they come from no file.

    Raises:
        DataError: the file cannot be read.
    """
    return fingerprint(examples) if config.data.from_hub else _sha256(config.data.path)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_inputs(folder: Path) -> dict[str, Any]:
    """The inputs that a run began with. Raises RunError if the record of them is missing or damaged."""
    path = existing(folder, INPUTS_FILE)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged: {error}") from error
    return found


def check_inputs(folder: Path, config: Config, now: Mapping[str, Any]) -> None:
    """Compare the inputs with those that the run began with.

    Args:
        folder: of the run.
        config: as it is on disk now.
        now: as `inputs_of` gives them.

    Raises:
        RunError: they changed, or the record of them is missing or damaged.
    """
    path, then = folder / INPUTS_FILE, read_inputs(folder)
    changed = [key for key in now if key != CONFIG_KEY and then.get(key) != now[key]]
    check_config(folder, then, config)
    if changed:
        raise RunError(
            f"{path}: {changed[0]} was {then.get(changed[0])!r} when the run began and is {now[changed[0]]!r} "
            "now; put back what changed, or begin a new run in another folder"
        )


def existing(folder: Path, name: str) -> Path:
    """A file that every run folder has. Raises RunError where it is missing."""
    path = folder / name
    if not path.is_file():
        if any((folder / other).is_file() for other in (CONFIG_FILE, INPUTS_FILE, TRACE_FILE)):
            raise RunError(f"{path} is missing: put it back, or run again in another folder")
        raise RunError(no_run(folder))
    return path


def no_run(folder: Path) -> str:
    """What to say of a place where no run is.

    Args:
        folder: that was named as one of a run.
    """
    if (folder / LABELS_FILE).is_file():
        return (
            f"{folder} holds labels that `Result.save` wrote, and no run: `icm-api evaluate` reads them; for all else "
            "label with `icm-api run CONFIG`"
        )
    if folder.is_dir():
        return f"{folder} is not the folder of a run; `icm-api runs FOLDER` lists the runs in a folder"
    what = "is a file" if folder.exists() else "is not there"
    return f"{folder} is not the folder of a run: it {what}; `icm-api runs FOLDER` lists the runs in a folder"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK_FILE, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise RunError(f"{folder} is in use: another process is working on this run") from error
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def in_use(folder: Path) -> bool:
    """Whether a process is working on a run at the moment; nothing is written.

    Args:
        folder: of the run.
    """
    if not (folder / _LOCK_FILE).exists():
        return False
    lock = FileLock(folder / _LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def check_free(folder: Path, config: str) -> None:
    """Raise RunError if a new run in a folder would replace files that no run wrote.

    Args:
        folder: for the run; it need not be there.
        config: what the run will write as its configuration; a run that was killed at once may have left it.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: choose a folder for the run")
    written = folder / CONFIG_FILE
    same = written.is_file() and written.read_bytes() == config.encode()
    for name in (*([] if same else [CONFIG_FILE]), LABELS_FILE, SUMMARY_FILE, TRACE_FILE):
        if (folder / name).exists():
            raise RunError(f"{folder} has a file {name} that no run wrote, and a run would replace it: choose another")


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """The folder of a new run, for one process; it goes again if the run is refused before its first step.

    Raises:
        RunError, StorageError: as `locked` does.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    refused = False
    try:
        with locked(folder):
            try:
                yield
            except IcmError as error:
                refused = _refuses(error) and not _begun(folder)
                raise
    finally:
        if refused:
            _remove(folder, made)


def _refuses(error: IcmError) -> bool:
    """Whether the user has to mend something, and there is no run to go on with."""
    passing = isinstance(error, RequestError) and (error.retryable or error.kind == "quota")
    return error.exit_code == IcmError.exit_code and not passing


def _begun(folder: Path) -> bool:
    trace = folder / TRACE_FILE
    return trace.exists() and trace.stat().st_size > 0


def _remove(folder: Path, made: Sequence[Path]) -> None:
    """Remove the files of a run that did not begin, and then the folders that were made for it."""
    for name in (
        CONFIG_FILE,
        INPUTS_FILE,
        TRACE_FILE,
        SESSIONS_FILE,
        SPENDING_FILE,
        SPENDING_LOCK,
        ASIDE_FILE,
        _LOCK_FILE,
    ):
        (folder / name).unlink(missing_ok=True)
    # Jobs stay noted if any was sent.
    for lock in (folder / JOBS_FOLDER).glob(".*.lock"):
        lock.unlink(missing_ok=True)
    with suppress(OSError):
        (folder / JOBS_FOLDER).rmdir()
    with suppress(OSError):
        for each in made:
            each.rmdir()
