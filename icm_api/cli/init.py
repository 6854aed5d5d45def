"""`icm-api init`: write a task's configuration, to be changed by hand, and name the columns. Asks no model."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from icm_api.cli.verbs import Verbs
from icm_api.config import load_config
from icm_api.config.presets import task_config, task_names
from icm_api.data import HUB, find_format, read_rows
from icm_api.errors import ConfigError, StorageError

EXAMPLE = """\
example:
  icm-api init truthfulqa --data TruthfulQA.csv --model vllm:meta-llama/Llama-3.1-8B@http://127.0.0.1:8000/v1
  icm-api plan truthfulqa.toml
  icm-api run truthfulqa.toml
"""


def add_init(verbs: Verbs) -> None:
    """Declare the verb and its flags."""
    parser: ArgumentParser = verbs.add_parser(
        "init",
        help="write a task's configuration, to be changed by hand",
        description="Write a task's configuration, with comments, to be changed by hand.",
        epilog=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=init_verb)
    parser.add_argument("task", metavar="TASK", choices=task_names(), help=", ".join(task_names()))
    parser.add_argument("--data", metavar="PATH", help="the data: a file, or hub:OWNER/NAME")
    parser.add_argument("--model", metavar="SPEC", help="the model, e.g. openai:gpt-6-luna or pocket")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: TASK.toml)")


def init_verb(arguments: Namespace) -> None:
    """`icm-api init TASK`."""
    out: Path = arguments.out or Path(f"{arguments.task}.toml")
    text = task_config(arguments.task, data=_path_from(out, arguments.data), model=arguments.model)
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
    elif not config.data.from_hub and find_format(config.data.format).by_columns:
        columns = list(next(iter(read_rows(str(config.data.path)))).values)
        print(f"columns of the data: {columns}")
        print(f"say in {out} which of them the prompt shows ([data] fields, [prompt] template)")
    print("next:")
    for step, why in (
        (f"icm-api probe {config.model.provider}", "whether the model gives logprobs"),
        (f"icm-api audit {out}", "what the constraints come to"),
        (f"icm-api plan {out}", "how many requests and tokens it may take"),
        (f"icm-api run {out}", ""),
    ):
        print(f"  {step}" + (f"   # {why}" if why else ""))


def _path_from(out: Path, data: str | None) -> str | None:
    """The path as the configuration has to name it, since there a relative one starts at its own folder."""
    if data is None or data.startswith(HUB) or out.parent.resolve() == Path.cwd():
        return data
    return str(Path(data).expanduser().resolve())
