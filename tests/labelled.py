"""Labelled data to export, made by hand: claims, and pairs of replies in both orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from icm_api.data.pairs import Pair, both_orders
from icm_api.export import LabelledData
from icm_api.result import LabelledExample, Result
from icm_api.types import Dataset, Example, Label, PromptTemplate, Usage, Verbalizer

NASTY = (
    "naïve ☃ 😀 \u202eabc",
    "quotes \" and 'single', commas",
    "two\nlines\r\nand\ra return",
    "<script>alert('x')</script> & <b>",
    "line separators \u2028 \u2029 \x85 \x0b \x0c \x1c end",
    "back\\slash {brace} `tick` | pipe",
    "=1+1",
    "  spaces around  ",
    "null \x00 byte",
    "NA",
)
"""Texts that get hurt on the way where a writer or a reader is careless."""


def line(
    example: Example, label: Label, certainty: float = 0.9, labels: Sequence[Label] = ("True", "False")
) -> LabelledExample:
    """A line of `labels.jsonl`: `certainty` for the label, the rest shared by the others."""
    rest = round((1 - certainty) / (len(labels) - 1), 6)
    probabilities = {name: certainty if name == label else rest for name in labels}
    return LabelledExample(example.id, label, certainty, 0.99, example.group, probabilities)


def result_of(lines: Iterable[LabelledExample], about: Mapping[str, Any] | None = None) -> Result:
    """A result of these lines."""
    return Result(tuple(lines), -1.5, -0.03, 0.0, Usage(10, 2000), 7, {"method": "leave_one_out", **(about or {})})


def claims(
    texts: Iterable[str], *, instruction: str = "", certainties: Mapping[int, float] | None = None
) -> LabelledData:
    """A claim of each text, two to a group, labelled True and False in turn; `certainties` by position."""
    examples = [Example(f"c{at}", {"text": text}, group=f"g{at // 2}") for at, text in enumerate(texts)]
    known = certainties or {}
    lines = [line(each, ("True", "False")[at % 2], known.get(at, 0.9)) for at, each in enumerate(examples)]
    template = PromptTemplate("Claim: {text}\nIt is", instruction)
    return LabelledData(Dataset(examples), result_of(lines), template, Verbalizer.plain(("True", "False")), model="m/1")


def reply_pairs(better: Sequence[str], prompt: str = "Question {at}?") -> LabelledData:
    """A pair of replies, "good AT" and "bad AT", per item of `better`: what its two orders are labelled, e.g. "AB".

    The good reply is the first text of the first order.
    """
    examples: list[Example] = []
    lines: list[LabelledExample] = []
    for at, labels in enumerate(better):
        shown = {"prompt": prompt.format(at=at)} if prompt else {}
        orders = list(both_orders(Pair(f"p{at}", f"p{at}", shown, (f"good {at}", f"bad {at}"))))
        examples += orders
        lines += [line(each, label, labels=("A", "B")) for each, label in zip(orders, labels, strict=True)]
    template = PromptTemplate(
        ("{prompt}\n" if prompt else "") + "A: {first}\nB: {second}\nBetter:", "Judge the replies."
    )
    verbalizer = Verbalizer.plain(("A", "B"))
    return LabelledData(Dataset(examples), result_of(lines), template, verbalizer, replies=True)


def preferred(pairs: Sequence[tuple[str, str, str]], certainty: float = 0.9) -> LabelledData:
    """Pairs of replies with a prompt, the better one and the worse one each, both orders labelled so."""
    examples: list[Example] = []
    lines: list[LabelledExample] = []
    for at, (prompt, better, worse) in enumerate(pairs):
        orders = list(both_orders(Pair(f"p{at}", f"p{at}", {"prompt": prompt} if prompt else {}, (better, worse))))
        examples += orders
        found = ["A" if each.fields["first"] == better else "B" for each in orders]
        lines += [line(*each, certainty, ("A", "B")) for each in zip(orders, found, strict=True)]
    template = PromptTemplate("A: {first}\nB: {second}\nBetter:")
    return LabelledData(Dataset(examples), result_of(lines), template, Verbalizer.plain(("A", "B")), replies=True)


def with_line(data: LabelledData, at: int, **changes: Any) -> LabelledData:
    """The same data, one line changed."""
    lines = list(data.result.examples)
    lines[at] = replace(lines[at], **changes)
    return replace(data, result=replace(data.result, examples=tuple(lines)))
