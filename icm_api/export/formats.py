"""Every format by its name: what a row becomes, who reads it, and what it can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from icm_api.errors import ConfigError
from icm_api.export import hosts, records
from icm_api.export.hosts import Host
from icm_api.export.options import Options

FormatName: TypeAlias = Literal[
    "openai-sft",
    "azure-sft",
    "together-sft",
    "fireworks-sft",
    "openai-dpo",
    "trl-sft",
    "trl-dpo",
    "trl-reward",
    "hf-dataset",
    "csv",
    "parquet",
    "cleanlab",
]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)


@dataclass(frozen=True, slots=True)
class Format:
    """A format.

    Attributes:
        name: after --to.
        about: one line for --help.
        kind: how it is written: one JSON object a line, a table, a table with a data card, or arrays.
        host: who reads it.
        record: what a row becomes, where it is a JSON object.
        preferences: whether a row is a preference: pairs of texts become one row each.
        mark: whether the files begin with a byte-order mark.
    """

    name: FormatName
    about: str
    kind: Literal["jsonl", "csv", "parquet", "card", "arrays"]
    host: Host
    record: records.Maker = records.chat_record
    preferences: bool = False
    mark: bool = False

    @property
    def training(self) -> bool:
        """Whether the rows are for training alone, so that labels that the run left open have no place in it."""
        return self.kind == "jsonl"

    @property
    def ending(self) -> str:
        """Of its files' names."""
        return {"jsonl": ".jsonl", "csv": ".csv", "arrays": ".npz"}.get(self.kind, ".parquet")

    @property
    def tabular(self) -> bool:
        """Whether it has columns to choose from."""
        return self.kind in ("csv", "parquet", "card")

    def check(self, options: Options) -> None:
        """Raises ConfigError where the format has no place for what is asked for."""
        if options.soft and self.training:
            raise ConfigError(
                f"--soft: {self.name} has no place for the probability of every label; "
                + ", ".join(name for name, other in FORMATS.items() if not other.training)
                + " have"
            )
        if options.fields is not None and not self.tabular:
            raise ConfigError(
                f"--fields: the fields of {self.name} are given; columns can be chosen for "
                + ", ".join(name for name, other in FORMATS.items() if other.tabular)
            )
        if options.spreadsheet and self.kind != "csv":
            raise ConfigError(f"--spreadsheet is for --to csv, not for {self.name}")


_ALL = (
    Format("openai-sft", "chat messages, for fine-tuning at OpenAI", "jsonl", hosts.OPENAI),
    Format("azure-sft", "the same for Azure OpenAI, with a byte-order mark", "jsonl", hosts.AZURE, mark=True),
    Format("together-sft", "chat messages, for Together", "jsonl", hosts.TOGETHER),
    Format("fireworks-sft", "chat messages, for Fireworks", "jsonl", hosts.FIREWORKS),
    Format(
        "openai-dpo",
        "preferences as OpenAI, Together and Fireworks read them",
        "jsonl",
        hosts.OPENAI,
        records.openai_preference,
        preferences=True,
    ),
    Format(
        "trl-sft",
        "prompt and completion as plain text, for TRL's SFTTrainer",
        "jsonl",
        hosts.TRL_SFT,
        records.trl_completion,
    ),
    Format(
        "trl-dpo",
        "prompt, chosen, rejected, for TRL's DPOTrainer",
        "jsonl",
        hosts.TRL_DPO,
        records.trl_preference,
        preferences=True,
    ),
    Format(
        "trl-reward",
        "chosen and rejected, for TRL's RewardTrainer",
        "jsonl",
        hosts.TRL_REWARD,
        records.trl_reward,
        preferences=True,
    ),
    Format("hf-dataset", "Parquet files with a data card, for datasets.load_dataset and the hub", "card", hosts.HUB),
    Format("csv", "a table", "csv", hosts.PANDAS_CSV),
    Format("parquet", "a table with types", "parquet", hosts.PANDAS_PARQUET),
    Format("cleanlab", "labels and pred_probs as arrays, to look for label errors", "arrays", hosts.CLEANLAB),
)
FORMATS: Mapping[FormatName, Format] = MappingProxyType({one.name: one for one in _ALL})
