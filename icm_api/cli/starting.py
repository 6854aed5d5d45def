"""The verb before all others: init, which writes a configuration for a task or for a file of one's own."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from icm_api.config import load_config
from icm_api.config.own_file import file_config
from icm_api.config.presets import task_config, task_names
from icm_api.data import HUB, find_format, read_rows
from icm_api.errors import ConfigError, StorageError


def init_verb(arguments: Namespace) -> None:
    """`icm-api init TASK`, `icm-api init FILE --text A --labels B,C`."""
    own = arguments.task not in task_names() and (arguments.task.startswith(HUB) or Path(arguments.task).suffix != "")
    name = Path(arguments.task).name.partition(".")[0] if own else arguments.task
    out: Path = arguments.out or Path(f"{name}.toml")
    if own and arguments.principle is not None:
        raise ConfigError("--principle is for the task principle: icm-api init principle --data FILE")
    if own:
        text = _of_file(arguments, out)
    elif given := [flag for flag in ("text", "labels", "id") if getattr(arguments, flag) is not None]:
        raise ConfigError(f"--{given[0]} is for a file of your own: icm-api init FILE --text A --labels B,C")
    else:
        data = _path_from(out, arguments.data)
        text = task_config(arguments.task, data=data, model=arguments.model, principle=arguments.principle)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{out} is there already, and nothing was written: choose another file with --out") from None
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
    config = load_config(out, environment=False)
    print(f"wrote {out}: data {config.data.path}, model {config.model.provider}")
    if not config.data.from_hub and not config.data.path.exists():
        print(f"the data are not there yet: put the file there, or change data.path in {out}")
    elif not own and not config.data.from_hub and find_format(config.data.format).by_columns:
        columns = list(next(iter(read_rows(str(config.data.path)))).values)
        print(f"columns of the data: {columns}")
        print(f"say in {out} which of them the prompt shows ([data] fields, [prompt] template)")
    print("next:")
    for step, why in (
        (f"icm-api probe {config.model.provider}", "whether the model gives logprobs"),
        (f"icm-api audit {out}", "what the constraints rule out"),
        (f"icm-api plan {out}", "how many requests and tokens it may take"),
        (f"icm-api run {out}", ""),
    ):
        print(f"  {step}" + (f"   # {why}" if why else ""))


def _of_file(arguments: Namespace, out: Path) -> str:
    """The configuration for a file, whose columns and ids are checked first."""
    if arguments.data is not None:
        raise ConfigError(f"--data {arguments.data}: the file is {arguments.task} already; leave --data out")
    columns = list(next(iter(read_rows(arguments.task))).values)
    if not arguments.text:
        raise ConfigError(f"--text is missing: say which columns the prompt shows, of {columns}")
    if not arguments.labels:
        raise ConfigError("--labels is missing: say which labels there are, e.g. --labels good,bad")
    for flag, column in [*(("text", name) for name in arguments.text), ("id", arguments.id)]:
        if column is not None and column not in columns:
            raise ConfigError(f"--{flag} {column}: no such column in {arguments.task}; it has {columns}")
    gaps = 0
    for row in read_rows(arguments.task, arguments.id or "id"):
        gaps += any(not str(row.values.get(name) or "").strip() for name in arguments.text)
    return file_config(
        _path_from(out, arguments.task) or arguments.task,
        arguments.text,
        arguments.labels,
        id_column=arguments.id,
        model=arguments.model,
        gaps=gaps > 0,
    )


def _path_from(out: Path, data: str | None) -> str | None:
    """The path as the configuration has to name it, since there a relative one starts at its own folder."""
    if data is None or data.startswith(HUB) or out.parent.resolve() == Path.cwd():
        return data
    return str(Path(data).expanduser().resolve())
