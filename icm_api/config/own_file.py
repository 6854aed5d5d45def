"""A configuration for a table of one's own: which columns the prompt shows, and which labels there are."""

from __future__ import annotations

from collections.abc import Sequence

import tomli_w

from icm_api.errors import ConfigError
from icm_api.types import PromptTemplate, Verbalizer

_TRIAL = """\
# The embedded model runs anywhere, to try this file out, and knows nothing of your texts. Name the one that shall label
# them; `icm-api probe SPEC` says whether it returns logprobs. For example:
# provider = "vllm:meta-llama/Llama-3.1-8B@http://127.0.0.1:8000/v1"
"""


def file_config(
    path: str, texts: Sequence[str], labels: Sequence[str], *, id_column: str | None, model: str | None, gaps: bool
) -> str:
    """The text of a configuration that labels the rows of a file.

    Args:
        path: `data.path`.
        texts: the columns that the prompt shows.
        labels: the label set.
        id_column: the column of the ids; None where rows have none, and go by their number.
        model: `model.provider`; by default the embedded model, to try it out.
        gaps: whether rows lack a text, so that these are left out.

    Returns:
        TOML, for `load_config` once it is in a file.

    Raises:
        ConfigError: a column can't be named in a template, or the labels are unusable.

    Example:
        >>> text = file_config("a.csv", ["review"], ["good", "bad"], id_column=None, model="pocket", gaps=False)
        >>> print(text.split("[prompt]")[1].split("[model]")[0].strip())
        # Once, before everything else.
        instruction = "Say which of these labels fits each text: good or bad."
        template = "Text: {review}\\nLabel:"
        labels = [
            "good",
            "bad",
        ]
    """
    heads = ["Text"] if len(texts) == 1 else [name.replace("{", "{{").replace("}", "}}") for name in texts]
    shown = "\n".join(f"{head}: {{{name}}}" for head, name in zip(heads, texts, strict=True))
    prompt = {"instruction": asked(labels), "template": f"{shown}\nLabel:", "labels": [*labels]}
    try:
        Verbalizer.plain(labels)
    except ValueError as error:
        raise ConfigError(f"--labels {','.join(labels)}: {error}") from error
    if PromptTemplate(f"{shown}\nLabel:").fields != tuple(texts):
        raise ConfigError(f"--text {','.join(texts)}: a column cannot be named in a template; rename it, to letters")
    data: dict[str, object] = {"path": path, "fields": [*texts]}
    if id_column is not None:
        data["id"] = id_column
    empty = '# Rows without a text are left out, and counted.\non_empty = "skip"\n' if gaps else ""
    return (
        "# Classification of one's own texts. A column of gold labels can stay in the file: name it when you measure,\n"
        "# `icm-api evaluate RUN --gold FILE --label-field COLUMN`.\n\n"
        f"[data]\n{tomli_w.dumps(data)}{empty}"
        "# One batch, chosen by `seed`; without it everything is labelled at once.\n# limit = 256\nseed = 0\n\n"
        f"[prompt]\n# Once, before everything else.\n{tomli_w.dumps(prompt)}\n"
        f"[model]\n{_TRIAL if model is None else ''}{tomli_w.dumps({'provider': model or 'pocket'})}\n"
        "[search]\nseed = 0\n"
    )


def asked(labels: Sequence[str]) -> str:
    """An instruction that names the labels: a model can't guess the words that are meant.

    Args:
        labels: the label set.

    Example:
        >>> asked(["a", "b", "c"])
        'Say which of these labels fits each text: a, b or c.'
    """
    *first, last = labels
    return f"Say which of these labels fits each text: {', '.join(first)} or {last}."
