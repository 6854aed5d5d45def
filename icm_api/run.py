"""From a configuration to a run folder: plan it, run it, resume it.

A run folder holds `config.toml` (resolved), `inputs.json` (fingerprints of data and model), `trace.jsonl` (a
line a step), and, once finished, `labels.jsonl` and `summary.json`. `sessions.jsonl` says what each process
that worked on it really sent. All but the last are the same bytes for the same configuration and seed.

To resume is to take the steps again from the first: answers come from the cache, every line already in the
trace is compared with what its step gives, and the search goes on where the trace ends. Nothing is shown here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

import tomli_w
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from icm_api.client import Client, Meter, check_endpoint, note_session, open_provider, sent_before
from icm_api.config import Config, ConstraintSection, load_config
from icm_api.consistency import Constraint, constraints
from icm_api.datasets import DataSource, fingerprint, load_examples
from icm_api.errors import ConfigError, DataError, RunError, StorageError
from icm_api.journal import Journal
from icm_api.objective import Objective
from icm_api.prompts import PromptTemplate
from icm_api.result import LABELS_FILE, SUMMARY_FILE, Result, write_whole
from icm_api.search import (
    Progress,
    Start,
    Task,
    build_kernel,
    build_objective,
    load_fixed,
    load_warm,
    make_start,
    result_of,
    search,
)
from icm_api.types import Dataset, Labeling, Verbalizer

CONFIG_FILE = "config.toml"
INPUTS_FILE = "inputs.json"
TRACE_FILE = "trace.jsonl"
SESSIONS_FILE = "sessions.jsonl"
_CONSTRAINT_KEYS = ("by", "to", "first", "second")
"""The settings of a constraint that name a key of the examples."""
FORMAT = 1
"""Of the run folder; raised when an older folder could no longer be resumed."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What a caller may want to hear of while a run goes on.

    Attributes:
        on_step: called after every step, those taken again in a resume included.
        on_resume: called once before a resume goes on, with the steps on disk and the torn bytes dropped.
        on_warning: called with what to know of the endpoint before the run begins.
    """

    on_step: Callable[[Progress], None] = lambda progress: None
    on_resume: Callable[[int, int], None] = lambda steps, torn: None
    on_warning: Callable[[str], None] = lambda warning: None


@dataclass(frozen=True, slots=True)
class Plan:
    """The most that a run can ask for.

    Attributes:
        examples: in the data set.
        relations: that the constraints came to.
        steps: the budget.
        requests: upper bound on requests.
        prompt_tokens: upper bound on prompt tokens.
        longest_prompt: tokens of the longest prompt that can occur.
        context_window: of the model.
    """

    examples: int
    relations: int
    steps: int
    requests: int
    prompt_tokens: int
    longest_prompt: int
    context_window: int


def build_task(config: Config) -> Task:
    """Template, labels and constraints as the configuration states them.

    Raises:
        ConfigError: the template, a form or a constraint is unusable.
    """
    prompt = config.prompt
    try:
        verbalizer = Verbalizer({label: prompt.forms.get(label, (f" {label}",)) for label in prompt.labels})
    except ValueError as error:
        raise ConfigError(f"prompt.labels, prompt.forms: {error}") from error
    template = PromptTemplate(prompt.template, prompt.instruction, prompt.separator)
    return Task(template, verbalizer, tuple(build_constraint(section) for section in config.constraints))


def build_constraint(section: ConstraintSection) -> Constraint:
    """The constraint that a `[[constraints]]` table describes."""
    values = section.model_dump()
    factory = getattr(constraints, values.pop("kind"))
    built: Constraint = factory(**values)
    return built


def load_dataset(config: Config) -> Dataset:
    """The unlabelled examples.

    Raises:
        DataError: the source is missing or has a bad row.
        ConfigError: `[data]` does not fit the source.
    """
    return load_examples(data_source(config))


def data_source(config: Config) -> DataSource:
    """Where the examples come from. Only keys that the prompt shows or a constraint names are loaded from rows."""
    data, sections = config.data, config.constraints
    named = ({getattr(section, key, None) for key in _CONSTRAINT_KEYS} for section in sections)
    shown = PromptTemplate(config.prompt.template).fields if data.task == "rows" else None
    return DataSource(
        str(data.path),
        data.task,
        data.fields or shown,
        id=data.id,
        group=data.group,
        answer=data.answer,
        metadata=tuple(sorted({key for keys in named for key in keys if key} - {"answer", "group"})),
        name=data.name,
        split=data.split,
        limit=data.limit,
        seed=data.seed,
    )


def load_start(config: Config, dataset: Dataset, task: Task) -> Start:
    """The labels that a person fixed, and those of the run to start from.

    Raises:
        DataError: the file of fixed labels is missing or has a bad row.
        RunError: the run to start from is missing or not finished.
        ConfigError: it has no label for any of the examples, or labels of another label set.
    """
    labels, path = task.verbalizer.labels, config.data.fixed
    fixed = Labeling() if path is None else load_fixed(path, dataset, labels)
    return make_start(dataset, labels, fixed, load_warm(config.search))


def default_cache_folder() -> Path:
    """Where answers are kept when a configuration names no other place: the user's own cache folder."""
    return user_cache_path("icm-api") / "responses"


def open_model(config: Config) -> Client:
    """The model, with its cache, its limits and its budget, on which earlier sessions of the run count.

    Raises:
        ConfigError: unknown provider.
        ProviderError: the model cannot be loaded.
        StorageError: the cache cannot be opened.
    """
    cache, folder = config.cache, config.cache.folder or default_cache_folder()
    meter = Meter(config.budget, config.prices, sent_before(_folder(config) / SESSIONS_FILE))
    return open_provider(
        config.model.provider,
        cache=folder if cache.enabled else None,
        settings=config.client,
        meter=meter,
        options=config.model.options,
    )


async def plan(config: Config) -> Plan:
    """How many requests and tokens a run may take at most; sends nothing.

    Raises:
        IcmError: whatever would stop the run before its first request.
    """
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    async with open_model(config) as model:
        objective = build_objective(dataset, model, task, config.search)
        steps = config.search.budget(len(dataset))
        can = model.capabilities
        requests = build_kernel(objective, config.search, start).most_requests(steps) * can.requests_per_prompt
        window = can.context_window
        longest = min(window, _longest_prompt(dataset, task, model))
        return Plan(len(dataset), len(objective.relations), steps, requests, requests * longest, longest, window)


def _longest_prompt(dataset: Dataset, task: Task, model: Client) -> int:
    template, verbalizer = task.template, task.verbalizer
    texts = [template.render(example) for example in dataset]
    answer = max((verbalizer.written(label) for label in verbalizer.labels), key=model.count_tokens)
    shown = sum(model.count_tokens(text + answer + template.separator) for text in texts)
    return shown + model.count_tokens(template.instruction + template.separator)


async def run(config: Config, watch: Watch = Watch()) -> Result:
    """Run a configuration in a new run folder.

    Raises:
        RunError: the run folder holds a run already.
        IcmError: whatever stops the run; what was paid for is kept, so that it can be resumed.
    """
    folder = _folder(config)
    if (folder / INPUTS_FILE).exists():
        state = "a finished run" if (folder / SUMMARY_FILE).exists() else "an unfinished run"
        raise RunError(
            f"{folder} holds {state}: go on with `icm-api resume {folder}`, or choose another folder with --out"
        )
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    with _locked(folder):
        async with open_model(config) as model:
            objective = build_objective(dataset, model, task, config.search)
            # A setting that does not fit the data leaves no run behind.
            build_kernel(objective, config.search, start)
            write_whole(folder / CONFIG_FILE, tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)))
            write_whole(folder / INPUTS_FILE, json.dumps(_inputs(config, dataset, model), indent=2) + "\n")
            return await _search(config, objective, start, model, watch)


async def resume(folder: Path, watch: Watch = Watch()) -> Result:
    """Go on with a run that stopped, to the same bytes as if it had not; a finished run is only checked.

    Raises:
        RunError: no run is there, it is damaged, in use, or its data or model changed since it began.
        IcmError: whatever stops the run again.
    """
    config = load_config(_existing(folder, CONFIG_FILE), environment=False)
    if _folder(config) != folder.resolve():
        config = config.model_copy(update={"run": config.run.model_copy(update={"folder": folder.resolve()})})
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    with _locked(folder):
        async with open_model(config) as model:
            _check_inputs(folder, _inputs(config, dataset, model))
            return await _search(config, build_objective(dataset, model, task, config.search), start, model, watch)


async def _search(config: Config, objective: Objective, start: Start, model: Client, watch: Watch) -> Result:
    folder, began = _folder(config), monotonic()
    with Journal(folder / TRACE_FILE) as journal:
        if journal.recorded or journal.torn:
            watch.on_resume(journal.recorded, journal.torn)

        def record(progress: Progress) -> None:
            journal.write(trace_record(progress))
            watch.on_step(progress)

        try:
            for warning in await check_endpoint(model, objective.prompts.verbalizer):
                watch.on_warning(warning)
            for warning in start.clashes(objective.relations):
                watch.on_warning(warning)
            found = await search(objective, config.search, start, record)
            result = result_of(found, config.search)
            journal.finish()
        finally:
            note_session(folder / SESSIONS_FILE, model, monotonic() - began)
    result.save(folder)
    return result


def trace_record(progress: Progress) -> dict[str, Any]:
    """One line of `trace.jsonl`."""
    info, usage = progress.info, progress.usage
    return {
        "step": info.step,
        "restart": info.restart,
        "move": info.move,
        "examples": list(info.examples),
        "old": list(info.old),
        "new": list(info.new),
        "utility_change": info.change,
        "temperature": info.temperature,
        "accepted": info.accepted,
        "utility": info.score.utility,
        "mutual_predictability": info.score.mutual_predictability,
        "inconsistency": info.score.inconsistency,
        "labelled": len(info.score.labeling),
        "requests": usage.requests,
        "prompt_tokens": usage.prompt_tokens,
    }


def _folder(config: Config) -> Path:
    if config.run.folder is None:
        raise ConfigError("run.folder is missing: read the configuration with load_config, which sets it")
    return config.run.folder


def _inputs(config: Config, dataset: Dataset, model: Client) -> dict[str, Any]:
    warm = config.search.start
    return {
        "format": FORMAT,
        "data_sha256": fingerprint(dataset) if config.data.from_hub else _sha256(config.data.path),
        "fixed_sha256": config.data.fixed and _sha256(config.data.fixed),
        "start_sha256": warm and _sha256(warm / LABELS_FILE),
        "model": model.identity,
    }


def _sha256(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_inputs(folder: Path, now: dict[str, Any]) -> None:
    path = _existing(folder, INPUTS_FILE)
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in now if then.get(key) != now[key]]
    except (ValueError, AttributeError) as error:
        raise RunError(f"{path}: damaged: {error}") from error
    if changed:
        raise RunError(
            f"{path}: {changed[0]} was {then.get(changed[0])!r} when the run began and is {now[changed[0]]!r} "
            "now; put back what changed, or begin a new run in another folder"
        )


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise RunError(f"{path} is missing: {folder} is not the folder of a run")
    return path


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise RunError(f"{folder} is in use: another process is working on this run") from error
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
