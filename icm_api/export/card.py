"""The data card of an exported data set: a README.md that says where the labels come from, without a date.

Front matter is that of the Hugging Face Hub (https://huggingface.co/docs/hub/datasets-cards, November 2026): which
file is which split, and how the annotations came about. What is not known, such as a licence, is left out.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from icm_api.evaluation import LEGAL, answers_of, headline_of, meaning_of
from icm_api.export.rows import LabelledData
from icm_api.export.tables import Column
from icm_api.export.units import Unit, any_fixed
from icm_api.result import LABELS, Result

FOUND = LABELS[0]
_TITLES = {
    FOUND: "Labels found by Internal Coherence Maximization",
    "zero-shot": "Labels of a language model with no demonstration",
    "zero-shot-calibrated": "Labels of a language model with no demonstration, calibrated",
}
_HOW = {
    FOUND: "A search chose the labels that a language model finds most coherent: each predictable from all the others, "
    "and none contradicting another ([arXiv 2506.10139](https://arxiv.org/abs/2506.10139)).",
    "zero-shot": "A language model was asked about each example by itself.",
    "zero-shot-calibrated": "A language model was asked about each example by itself, and its answers were calibrated "
    "over all examples.",
}
CARD, DATA = "README.md", "data"
"""Names in the folder: of the data card, and of the folder that holds the tables."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SETTINGS = ("engine", "preset", "alpha", "statistic", "estimator", "seed", "restarts")
_MEANINGS = {
    "id": "of the example",
    "group": "examples that belong together",
    "label": "found by the search",
    "probability": "of the label",
    "coverage": "probability that the model gave to all labels together",
    "fixed": "whether a person gave the label",
    "abstained": "whether the run left the label open",
}


def data_card(
    data: LabelledData,
    parts: Mapping[str, Sequence[Unit]],
    columns: Sequence[Column],
    left_out: Mapping[str, int],
    labels: str = FOUND,
) -> str:
    """The text of the data card.

    Args:
        data: the labels, and how they were found.
        parts: name of the split -> its rows.
        columns: of the table.
        left_out: reason -> how many examples are not in the table.
        labels: whose they are, one of `result.LABELS`.
    """
    head = [*_front_matter(data, parts, _TITLES[labels]), "", *_origin(data, parts, labels)]
    return "\n".join([*head, *_body(data, parts, columns, left_out, found=labels == FOUND)]) + "\n"


def verdict_of(about: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """The run's verdict on its labels, with the reasons; None if a summary has no verdict.

    Args:
        about: what the summary says beside the numbers of the search, and what a person's check says.
    """
    found, diagnosis = headline_of(about), about.get("diagnosis")
    if found is None or not isinstance(diagnosis, Mapping):
        return None
    reasons = diagnosis.get("reasons")
    return found, tuple(map(str, reasons)) if isinstance(reasons, list | tuple) else ()


def shown_model(identity: str) -> str:
    """A model's identity fit for publishing: no folders of this machine, and no user name in an address.

    Args:
        identity: provider, host and name.

    Example:
        >>> shown_model("huggingface//home/me/models/tiny@3f2a"), shown_model("vllm/me:key@10.0.0.1:8000/v1/llama")
        ('huggingface/tiny@3f2a', 'vllm/10.0.0.1:8000/v1/llama')
    """
    provider, slash, rest = identity.partition("/")
    if rest.startswith(("/", "~", ".")) or re.match(r"[A-Za-z]:\\", rest):
        rest = re.split(r"[/\\]", rest)[-1]
    elif provider != "huggingface":
        host, mark, path = rest.partition("/")
        rest = host.rpartition("@")[2] + mark + path
    return provider + slash + rest


def _front_matter(data: LabelledData, parts: Mapping[str, Sequence[Unit]], title: str) -> Iterator[str]:
    total = sum(map(len, parts.values()))
    size = next((name for most, name in _SIZES if total < most), "n>1M")
    origin = [
        "machine-generated",
        *(["expert-generated"] if any(any_fixed(data, units) for units in parts.values()) else []),
    ]
    yield from ("---", f"pretty_name: {title}", "task_categories:")
    yield from ("- text-classification", "annotations_creators:", *(f"- {each}" for each in origin))
    yield from ("tags:", "- icm", "- unsupervised-elicitation", "size_categories:", f"- {size}")
    yield from ("configs:", "- config_name: default", "  data_files:")
    for part in parts:
        yield from (f"  - split: {part}", f"    path: {DATA}/{part}.parquet")
    yield "---"


def _origin(data: LabelledData, parts: Mapping[str, Sequence[Unit]], labels: str) -> Iterator[str]:
    units = [unit for some in parts.values() for unit in some]
    fixed = any_fixed(data, units)
    yield f"# {_TITLES[labels]}"
    yield ""
    yield "No human labelled these data" + (
        "." if not fixed else f", apart from {fixed} of the {len(units)} examples, whose labels a person fixed."
    )
    yield (
        f"{_HOW[labels]} They say what the model holds, which need not be true, and what bias it learned. The "
        f"{'search' if labels == FOUND else 'model'} saw no gold label."
    )


def _body(
    data: LabelledData,
    parts: Mapping[str, Sequence[Unit]],
    columns: Sequence[Column],
    left_out: Mapping[str, int],
    *,
    found: bool,
) -> Iterator[str]:
    yield from ("", "## Provenance", "", "| | |", "|---|---|", *_provenance(data, found=found))
    # The run judged the labels found.
    yield from _verdict(data) if found else ()
    yield from ("", "## Rows", "", "| split | rows | labels |", "|---|---|---|")
    for part, some in parts.items():
        counts = Counter(data.line(unit.id).label for unit in some)
        shown = ", ".join(f"{label} {counts[label]:,}" for label in data.verbalizer.labels)
        yield f"| {part} | {len(some):,} | {_cell(shown)} |"
    if left_out:
        yield ""
        yield (
            "Labelled, but left out: "
            + "; ".join(f"{count:,} {_cell(reason)}" for reason, count in left_out.items())
            + "."
        )
    yield from ("", "| column | |", "|---|---|")
    scale = f"given all other labels, {_scale(data)}" if found else "with no demonstration"
    for column in columns:
        yield f"| {_cell(column.name)} | {_cell(_meaning(column, scale, found=found))} |"
    yield from ("", "## Prompt", "", "How the model was shown an example; its label followed.", "")
    yield from _fenced(data.template.instruction + data.template.separator if data.template.instruction else "", data)


def _provenance(data: LabelledData, *, found: bool) -> Iterator[str]:
    labelled = f"{len(data.result.examples):,}"
    rows: list[tuple[str, object]] = [("model", shown_model(data.model) or "not recorded")]
    rows += _searched(data.result, labelled) if found else [("examples labelled", labelled)]
    for name, value in rows:
        yield f"| {name} | {_cell(str(value))} |"


def _searched(result: Result, labelled: str) -> list[tuple[str, object]]:
    """What the search was told, and what it found."""
    settings = result.about.get("search")
    told = settings if isinstance(settings, Mapping) else {}
    return [
        ("estimator of P(D)", result.about.get("method", "not recorded")),
        *((f"search.{key}", told[key]) for key in _SETTINGS if told.get(key) is not None),
        ("examples labelled", labelled),
        ("U(D)", f"{result.utility:.6g}"),
        ("P(D), mutual predictability", f"{result.mutual_predictability:.6g}"),
        ("I(D), inconsistency", f"{result.inconsistency:.6g}"),
        ("steps", f"{result.steps:,}"),
        ("cost", f"{result.usage.requests:,} requests, {result.usage.prompt_tokens:,} prompt tokens"),
    ]


def _verdict(data: LabelledData) -> Iterator[str]:
    about = data.result.about
    found = verdict_of(about)
    if found is not None:
        name, reasons = found
        yield from ("", f"The run's verdict on the labels: **{_cell(name)}**: {_cell(meaning_of(about) or '')}.")
        yield from ("", "| | | |", "|---|---|---|")
        for each in answers_of(about):
            yield f"| {_cell(each.question)} | {_cell(each.answer)} | {_cell(each.says)} |"
        yield ""
        yield from (f"- {_cell(reason)}" for reason in reasons)


def _scale(data: LabelledData) -> str:
    """What is known of the probabilities: "calibrated" only by what is no agreement of the model with itself."""
    if not any(line.calibrated for line in data.result.examples):
        return "as the model gave it"
    source = (data.result.about.get("calibration") or {}).get("source")
    by = {"given labels": "by labels that a person gave", LEGAL: "over the labelings that break no relation"}
    return f"calibrated {by[source]}" if source in by else "scaled by how stable the model is, not calibrated"


def _meaning(column: Column, scale: str, *, found: bool) -> str:
    if column.name.startswith("p_") and column.kind == "number":
        return f"probability of the label {column.name[2:]}, {scale}"
    if column.name == "label" and not found:
        return "given by the model"
    meaning = _MEANINGS.get(column.name, "text of the example")
    return f"{meaning}, {scale}" if column.name == "probability" else meaning


def _fenced(head: str, data: LabelledData) -> Iterator[str]:
    text = head + data.template.template
    # A fence is longer than any row of backticks in the text.
    fence = "`" * max([3, *(len(found) + 1 for found in re.findall(r"`+", text))])
    yield from (fence + "text", text, fence)
    forms = {label: data.verbalizer.written(label) for label in data.verbalizer.labels}
    yield from ("", "Labels as written:", "", "```json", json.dumps(forms, ensure_ascii=False), "```")


def _cell(text: str) -> str:
    """Text that is only text in a Markdown table: no markup, no link, no new column."""
    return re.sub(r"([\\`*_{}\[\]|#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
