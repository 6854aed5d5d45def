"""The tables `[data]` and `[prompt]`: what is labelled, and how an example is shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from icm_api.config.section import Section
from icm_api.data import HUB, find_format, format_names


class DataSection(Section):
    """`[data]`: where the unlabelled examples are, and what their rows mean.

    Attributes:
        path: a .jsonl, .json, .csv or .tsv file, packed or not, a Parquet file or an Excel workbook, relative to the
            configuration's folder; or "hub:OWNER/NAME".
        format: "rows" are examples by the keys below; the other formats know their own files.
        name: the configuration of a data set of the hub.
        split: the split of a data set of the hub.
        limit: the most examples to take, by whole groups, chosen by `seed`; by default all.
        delimiter: what stands between the cells of delimited text, such as ";"; by default it is found.
        fixed: a file of labels from a person, which no search changes.
        fields: keys of the texts (format "rows"; by default those that the prompt shows), or of the two replies, after
            any that are shown with them (format "preferences").
        seed: seed of that choice.
        id: key of the ids.
        group: key of the groups; examples that constraints may relate share one (format "rows").
        answer: key of what an example claims within its group (format "rows").
        on_empty: what to do with a row without a text: "stop" with an error, or "skip" it and say so.
        drop_thoughts: take out of every text what a model only thought, such as <think> blocks; of solutions (format
            "gsm8k") they are left out in any case.
    """

    path: Path
    format: str = "rows"
    name: str | None = None
    split: str = "train"
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    fixed: Path | None = None
    fields: tuple[str, ...] | None = None
    id: str = "id"
    group: str = "group"
    answer: str = "answer"
    drop_thoughts: bool = False
    on_empty: Literal["stop", "skip"] = "stop"
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)

    @property
    def from_hub(self) -> bool:
        """Whether `path` names a data set of the hub, and no file."""
        return str(self.path).startswith(HUB)

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, name: str) -> str:
        if name not in format_names():
            raise ValueError(f"no such format; there are {', '.join(format_names())}")
        return name

    @model_validator(mode="after")
    def _keys_have_a_meaning(self) -> DataSection:
        if (self.name is not None or self.split != "train") and not self.from_hub:
            raise ValueError('data.name and data.split are of a hub data set: path = "hub:OWNER/NAME"')
        if self.delimiter is not None and (self.from_hub or self.delimiter in '"\r\n' or self.delimiter.isalnum()):
            raise ValueError('data.delimiter is one character between the cells of a file, such as ";" or "\\t"')
        keys = find_format(self.format).keys
        if self.fields is not None and "fields" not in keys:
            raise ValueError(f'data.fields: format = "{self.format}" has fields of its own; leave the key out')
        if (self.group, self.answer) != ("group", "answer") and not {"group", "answer"} <= {*keys}:
            raise ValueError(f'data.group, data.answer: format = "{self.format}" knows them; leave the keys out')
        return self


class PromptSection(Section):
    """`[prompt]`: how an example is shown, and how its label is written.

    Attributes:
        template: text with fields such as `{question}`; a literal brace is written twice. The label follows it.
        instruction: text before everything else, once.
        separator: text after the instruction and after each demonstration.
        labels: the label set; its order decides ties.
        forms: per label, the texts that count as it, the first of them shown in demonstrations; by default one
            space and the label.
    """

    template: str = "{text}"
    instruction: str = ""
    separator: str = "\n\n"
    labels: tuple[str, ...] = ("True", "False")
    forms: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _forms_name_labels(self) -> PromptSection:
        for label in self.forms:
            if label not in self.labels:
                raise ValueError(f"forms: {label!r} is none of the labels {list(self.labels)}")
        return self
