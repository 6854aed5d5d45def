"""The report as HTML: words for its numbers, and the template filled in. Every text from data is escaped.

The page needs no network and runs no script; its own policy forbids both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from icm_api.data import find_format
from icm_api.evaluation import (
    Interval,
    Undefined,
    answers_of,
    headline_of,
    lines_of_zero_shot,
    meaning_of,
    next_steps,
)
from icm_api.evaluation.answers import coherence_in, reading_lines
from icm_api.report.contested import MOST_LISTED, SURE
from icm_api.report.drawing import Chart, svg
from icm_api.report.reading import Report
from icm_api.report.text import clean
from icm_api.wording import count_of

_P_OF = MappingProxyType({"information": "mean log p, in nats"})
_NOT_JUDGED = "The labels were not judged: switch on [diagnostics] and run again to know what to make of them."


@dataclass(frozen=True, slots=True)
class _Figure:
    """A chart as the page has it: for a wide and for a narrow screen."""

    chart: Chart
    wide: Markup
    narrow: Markup


def render(report: Report, charts: Sequence[Chart]) -> str:
    """The page; the same report, the same text.

    Args:
        report: what the page tells.
        charts: its figures, in order.
    """
    environment = Environment(
        loader=PackageLoader("icm_api.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_fit,
    )
    environment.filters.update(percent=_percent, count=_count, interval=_interval)
    figures = {chart.name: _Figure(chart, svg(chart, narrow=False), svg(chart, narrow=True)) for chart in charts}
    about = report.result.about
    name = headline_of(about) or "not judged"
    means = meaning_of(about)
    sentence = _NOT_JUDGED if means is None else f"{means[0].upper()}{means[1:]}."
    page = environment.get_template("page.html.j2").render(
        report=report,
        result=report.result,
        config=report.config,
        css=Markup(environment.get_template("page.css").render()),
        figures=figures,
        verdict={"name": name, "tone": _tone(about), "sentence": sentence},
        answers=answers_of(about),
        readings=reading_lines(report.diagnosis or {}),
        steps=next_steps(about, "RUN"),
        facts=list(_facts(report)),
        labels=_labels(report),
        conflict_counts=_conflict_counts(report),
        temperature=_temperature(report.calibration),
        cost=_cost(report),
        provenance=list(_provenance(report)),
        statistic=_P_OF.get(_statistic(report), _statistic(report)),
        zero_shot=lines_of_zero_shot(report.result),
        limits={"listed": MOST_LISTED, "sure": SURE, "open": 10},
        rescaled=report.rescaled,
    )
    return page.rstrip() + "\n"


def _tone(about: Mapping[str, Any]) -> str:
    """The colour of the verdict."""
    diagnosis, check = about.get("diagnosis"), about.get("check")
    coherent, checked = coherence_in(diagnosis or {}), "" if check is None else check["answer"]
    if checked == "check failed" or coherent in ("not coherent", "collapsed"):
        return "bad"
    return "good" if (coherent, checked) == ("coherent", "checked") else "unsure"


def _statistic(report: Report) -> str:
    """What was maximised: as the run resolved it, if the configuration left it open."""
    search = report.result.about.get("search", {})
    return str(search.get("statistic") or report.config.search.statistic)


def _fit(value: object) -> object:
    """What an expression of the template gives: strings without what HTML can't hold."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _percent(value: float, places: int = 0) -> str:
    return f"{value:.{places}%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _interval(found: Interval | Undefined, places: int = 1) -> str:
    if found.value is None:
        return f"undefined: {found.note}"
    if found.low is None or found.high is None:
        return f"{found.value:.{places}%} ({found.note})"
    return f"{found.value:.{places}%} (95% interval {found.low:.{places}%} to {found.high:.{places}%})"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """What ran on what."""
    config, about = report.config, report.result.about
    search = config.search
    yield "Model", f"{report.inputs.get('model')} ({config.model.provider})"
    yield (
        "Data",
        f"{config.data.path}: {count_of(len(report.result.examples), 'example')}"
        + ("" if find_format(config.data.format).by_columns else f", read as {config.data.format}"),
    )
    aside = about.get("set_aside", {})
    if aside:
        yield (
            "Set aside",
            f"{count_of(len(aside), 'example')} too long or refused by the model: {', '.join(sorted(aside))}",
        )
    yield "Labels", ", ".join(config.prompt.labels)
    kinds = Counter(section.kind for section in config.constraints)
    listed = ", ".join(kind if count == 1 else f"{kind} ({count})" for kind, count in kinds.items()) or "none"
    relations = "" if report.relations is None or not kinds else f": {count_of(report.relations, 'relation')}"
    yield "Constraints", listed + relations
    yield "Search", f"engine {search.engine}, preset {search.preset}, seed {search.seed}, alpha {search.alpha:g}"
    yield "Objective", f"{_statistic(report)}, estimated by {about.get('method', search.estimator)}"
    yield (
        "Steps",
        f"{count_of(report.result.steps, 'step')}, {count_of(int(report.trace.accepted.sum()), 'proposal')} accepted, "
        f"{count_of(len(report.trace.begins()) + 1, 'beginning')}",
    )
    if search.start is not None:
        yield "Started from", str(search.start)
    if config.data.fixed is not None:
        yield "Labels from a person", str(config.data.fixed)


def _provenance(report: Report) -> Iterator[tuple[str, str]]:
    inputs = report.inputs
    yield "Run folder", str(report.folder)
    yield "Data, SHA-256", str(inputs.get("data_sha256"))
    for name, key in (("Fixed labels, SHA-256", "fixed_sha256"), ("Labels started from, SHA-256", "start_sha256")):
        if inputs.get(key):
            yield name, str(inputs[key])
    yield "Model", str(inputs.get("model"))
    yield "Written by", f"icm-api {report.version}"


def _labels(report: Report) -> list[dict[str, Any]]:
    """Per label how many examples have it, from a person and left open."""
    rows = report.result.examples
    found = Counter(row.label for row in rows)
    fixed = Counter(row.label for row in rows if row.fixed)
    left = Counter(row.label for row in rows if row.abstained)
    return [
        {
            "name": label,
            "count": found[label],
            "share": found[label] / max(1, len(rows)),
            "fixed": fixed[label],
            "open": left[label],
        }
        for label in report.config.prompt.labels
    ]


def _conflict_counts(report: Report) -> Mapping[str, int]:
    """Broken relations by constraint, as judging counted them."""
    measures = report.diagnosis["measures"] if report.diagnosis else {}
    found = measures.get("conflicts", {})
    return found if isinstance(found, Mapping) else {}


def _temperature(calibration: Mapping[str, Any] | None) -> str:
    if calibration is None:
        return ""
    value, evidence = float(calibration["value"]), int(calibration["evidence"])
    match calibration["source"]:
        case "given labels":
            return (
                f"Calibrated by one temperature, {value:.3g}, fitted to {count_of(evidence, 'label')} that a person "
                f"gave: it {_does(value)}."
            )
        case "legal labelings":
            return "Calibrated by relations: the probability of each label over all labelings that break none."
        case "agreement":
            agreement = calibration.get("agreement")
            share = "" if agreement is None else f", {agreement:.0%} of which agree"
            return (
                f"Scaled by one temperature, {value:.3g}, which {_does(value)}; from "
                f"{count_of(evidence, 'repeated prediction')}{share}. That says how stable the model is, not how "
                "often it is right, so it is no calibration."
            )
    return "Nothing to calibrate by: the probabilities are the model's own."


def _does(temperature: float) -> str:
    if temperature == 1:
        return "leaves the probabilities as they are"
    return f"makes them {'less' if temperature > 1 else 'more'} sure"


def _cost(report: Report) -> dict[str, str]:
    """The cost tile: money if it is known, else requests."""
    sent, prices = report.sent, report.config.prices
    asked = report.result.usage.requests
    if sent is not None and sent.money is not None and prices is not None:
        return {"value": f"{sent.money:,.4g} {prices.currency}", "note": f"{count_of(asked, 'request')} asked for"}
    note = "requests asked for" if sent is None else f"requests asked for, {sent.usage.requests:,} sent"
    return {"value": f"{asked:,}", "note": note}
