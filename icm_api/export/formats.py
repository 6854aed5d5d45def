"""Every format by its name: what a row becomes, who reads it, and what it can hold.

What each reader documents beside the shape of a row, as of November 2026. OpenAI:
https://developers.openai.com/api/docs/guides/supervised-fine-tuning and /direct-preference-optimization (10 examples
at least, files up to 512 MB). Azure: https://learn.microsoft.com/azure/ai-services/openai/how-to/fine-tuning (the same
shape, UTF-8 with a byte-order mark, less than 512 MB). Together:
https://docs.together.ai/docs/fine-tuning/data-preparation (`messages` and nothing beside it, up to 100 GB). Fireworks:
https://docs.fireworks.ai/fine-tuning/fine-tuning-models (3 to 3 million examples, a system message only in first
place). TRL: https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from icm_api.errors import ConfigError
from icm_api.export import records
from icm_api.export.rows import Options
from icm_api.types import Example

FormatName: TypeAlias = Literal[
    "openai-sft",
    "azure-sft",
    "together-sft",
    "fireworks-sft",
    "openai-dpo",
    "azure-dpo",
    "together-dpo",
    "fireworks-dpo",
    "trl-sft",
    "trl-dpo",
    "trl-reward",
    "hf-dataset",
    "csv",
    "parquet",
    "cleanlab",
    "argilla",
    "label-studio",
]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Host:
    """Who reads the files.

    Attributes:
        name: for people.
        next_steps: command lines, or Python; `{train}` is the training file in them, `{folder}` the folder.
        fewest: rows that a training file needs; 1 if nothing is said.
        most_rows, most_bytes: of one file; None if nothing is said.
    """

    name: str
    next_steps: tuple[str, ...]
    fewest: int = 1
    most_rows: int | None = None
    most_bytes: int | None = None

    def steps(self, folder: str, train: str) -> tuple[str, ...]:
        """What to do next with the files, ready for a shell or for Python.

        Args:
            folder: of the export.
            train: path of the training file.
        """
        names = {
            "{train!r}": repr(train),
            "{folder!r}": repr(folder),
            "{train}": quote(train),
            "{folder}": quote(folder),
        }
        steps = list(self.next_steps)
        for mark, name in names.items():
            steps = [step.replace(mark, name) for step in steps]
        return tuple(steps)

    def complaints(self, name: str, rows: int, size: int) -> Sequence[str]:
        """What the host would refuse a file for.

        Args:
            name: of the file.
            rows: how many it has.
            size: bytes.
        """
        found = []
        if rows < self.fewest:
            found.append(f"{self.name} takes no file of fewer than {self.fewest} rows, and {name} has {rows}")
        if self.most_rows is not None and rows > self.most_rows:
            found.append(f"{self.name} takes at most {self.most_rows:,} rows, and {name} has {rows:,}")
        if self.most_bytes is not None and size > self.most_bytes:
            found.append(f"{self.name} takes at most {self.most_bytes:,} bytes, and {name} has {size:,}")
        return found


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Attributes:
        name: after --to.
        about: one line for --help.
        kind: how it is written: one JSON object a line, a table, a table with a data card, arrays, or what a tool
            imports that people annotate with.
        host: who reads it.
        record: what a row becomes, if it is a JSON object.
        preferences: whether a row is a preference: pairs of texts become one row each.
        fits: whether it can hold a pair of replies; by default it can hold any.
        mark: whether the files begin with a byte-order mark.
    """

    name: FormatName
    about: str
    kind: Literal["jsonl", "csv", "parquet", "card", "arrays", "argilla", "label-studio"]
    host: Host
    record: records.Maker = records.chat_record
    preferences: bool = False
    fits: Callable[[Example], bool] = lambda pair: True
    mark: bool = False

    @property
    def training(self) -> bool:
        """Whether the rows are for training alone, so that labels that the run left open have no place in it."""
        return self.kind == "jsonl"

    @property
    def ending(self) -> str:
        """How the names of its files end."""
        json_lists = {"argilla": ".json", "label-studio": ".json"}
        return {"jsonl": ".jsonl", "csv": ".csv", "arrays": ".npz", **json_lists}.get(self.kind, ".parquet")

    @property
    def annotating(self) -> bool:
        """Whether people look at the labels in it."""
        return self.kind in ("argilla", "label-studio")

    @property
    def tabular(self) -> bool:
        """Whether it has columns to choose from."""
        return self.kind in ("csv", "parquet", "card")

    def check(self, options: Options) -> None:
        """Check what is asked for.

        Args:
            options: what to write, and how.

        Raises:
            ConfigError: the format has no place for it.
        """
        if options.soft and (self.training or self.annotating):
            raise ConfigError(
                f"--soft: {self.name} has no place for the probability of every label; "
                + ", ".join(name for name, other in FORMATS.items() if not (other.training or other.annotating))
                + " have"
            )
        if options.split is not None and self.annotating:
            raise ConfigError(f"--split is for training, and {self.name} is for people who annotate")
        if options.blind and not self.annotating:
            raise ConfigError(f"--blind is for --to argilla and label-studio, not for {self.name}")
        if options.fields is not None and not self.tabular:
            raise ConfigError(
                f"--fields: the fields of {self.name} are given; columns can be chosen for "
                + ", ".join(name for name, other in FORMATS.items() if other.tabular)
            )
        if options.spreadsheet and self.kind != "csv":
            raise ConfigError(f"--spreadsheet is for --to csv, not for {self.name}")


_OPENAI = Host(
    "OpenAI",
    (
        'curl https://api.openai.com/v1/files -H "Authorization: Bearer $OPENAI_API_KEY" -F purpose=fine-tune '
        "-F file=@{train}",
    ),
    fewest=10,
    most_bytes=512 * _MEGABYTE,
)
_AZURE = Host(
    "Azure OpenAI",
    (
        'curl "$AZURE_OPENAI_ENDPOINT/openai/files?api-version=2024-10-21" -H "api-key: $AZURE_OPENAI_API_KEY" '
        "-F purpose=fine-tune -F file=@{train}",
    ),
    fewest=10,
    most_bytes=512 * _MEGABYTE,
)
_TOGETHER = Host("Together", ("tg files upload {train}",), most_bytes=100_000 * _MEGABYTE)
_FIREWORKS = Host(
    "Fireworks",
    (
        "firectl dataset create NAME {train}",
        "firectl supervised-fine-tuning-job create --base-model MODEL --dataset NAME --output-model TUNED",
    ),
    fewest=3,
    most_rows=3_000_000,
)
_TRL_SFT, _TRL_DPO, _TRL_REWARD = (
    Host("TRL", (f"trl {verb} --model_name_or_path MODEL --dataset_name {{folder}} --output_dir TUNED",))
    for verb in ("sft", "dpo", "reward")
)
_HUB = Host("the Hugging Face Hub", ("hf upload OWNER/NAME {folder} . --repo-type dataset",))
_PANDAS_CSV = Host("pandas", ("in Python: pandas.read_csv({train!r}, dtype=str, keep_default_na=False)",))
_PANDAS_PARQUET = Host("pandas", ("in Python: pandas.read_parquet({train!r})",))
_CLEANLAB = Host(
    "cleanlab",
    (
        "in Python: d = numpy.load({train!r}); cleanlab.filter.find_label_issues(d['labels'], d['pred_probs'], "
        "return_indices_ranked_by='self_confidence')",
    ),
)
_ANSWERED = "then, with the file of answers: icm-api check RUN FILE, or [data] fixed in a configuration"
_ARGILLA = Host(
    "Argilla",
    (
        "in Python: argilla.Dataset.from_disk({folder!r}, name='labels', workspace='argilla', "
        "client=argilla.Argilla(api_url, api_key))",
        "after annotating: dataset.records.to_json('answers.json')",
        _ANSWERED,
    ),
)
_LABEL_STUDIO = Host(
    "Label Studio",
    (
        "in a new project: Settings, Labeling Interface, Code: the text of {folder}/config.xml; then Import: {train}",
        "after annotating: Export, JSON",
        _ANSWERED,
    ),
)
_PREFERENCES: tuple[tuple[FormatName, str, Host], ...] = (
    ("openai-dpo", "preferences as OpenAI, Together and Fireworks read them", _OPENAI),
    ("azure-dpo", "the same for Azure OpenAI, with a byte-order mark", _AZURE),
    ("together-dpo", "the same, within Together's limits", _TOGETHER),
    ("fireworks-dpo", "the same, within Fireworks' limits", _FIREWORKS),
)
_ALL = (
    Format("openai-sft", "chat messages, for fine-tuning at OpenAI", "jsonl", _OPENAI),
    Format("azure-sft", "the same for Azure OpenAI, with a byte-order mark", "jsonl", _AZURE, mark=True),
    Format("together-sft", "chat messages, for Together", "jsonl", _TOGETHER),
    Format("fireworks-sft", "chat messages, for Fireworks", "jsonl", _FIREWORKS),
    *(
        Format(
            name,
            about,
            "jsonl",
            host,
            records.openai_preference,
            preferences=True,
            fits=records.one_reply,
            mark=host is _AZURE,
        )
        for name, about, host in _PREFERENCES
    ),
    Format(
        "trl-sft",
        "prompt and completion as plain text, for TRL's SFTTrainer",
        "jsonl",
        _TRL_SFT,
        records.trl_completion,
    ),
    Format(
        "trl-dpo",
        "prompt, chosen, rejected, for TRL's DPOTrainer",
        "jsonl",
        _TRL_DPO,
        records.trl_preference,
        preferences=True,
    ),
    Format(
        "trl-reward",
        "chosen, rejected and margin, for TRL's RewardTrainer",
        "jsonl",
        _TRL_REWARD,
        records.trl_reward,
        preferences=True,
    ),
    Format("hf-dataset", "Parquet files with a data card, for datasets.load_dataset and the hub", "card", _HUB),
    Format("csv", "a table", "csv", _PANDAS_CSV),
    Format("parquet", "a table with types", "parquet", _PANDAS_PARQUET),
    Format("cleanlab", "labels and pred_probs as arrays, to look for label errors", "arrays", _CLEANLAB),
    Format(
        "argilla", "records with the labels as suggestions, for people who annotate in Argilla", "argilla", _ARGILLA
    ),
    Format("label-studio", "tasks with the labels as predictions, for Label Studio", "label-studio", _LABEL_STUDIO),
)
FORMATS: Mapping[FormatName, Format] = MappingProxyType({one.name: one for one in _ALL})
