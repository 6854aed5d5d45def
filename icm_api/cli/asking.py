"""The verbs that ask a model outside a run: probe, generate.

`probe` prints what an endpoint really returns; one that is of no use ends with exit code 2. `generate` writes JSON
Lines with `id`, `question` and `solutions`, in the order of the questions, when all are answered or an error ends it.
Its answers are kept in the cache as they come: the same call again sends nothing, and a call that stopped goes on. The
official solution of a question is copied under its own key, for gold alone, and never shown.
"""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from icm_api.config import Budget, ClientSettings, Config, Prices, load_config
from icm_api.data import Row, read_rows
from icm_api.data.answers import final_answer
from icm_api.data.gsm8k import QUESTION, SOLUTIONS, TRUTHS
from icm_api.data.own_text import without_thoughts
from icm_api.errors import ConfigError, IcmError, ProviderError
from icm_api.files import write_whole
from icm_api.model import Meter, open_model
from icm_api.model.catalog import ENTRIES
from icm_api.model.findings import Probe
from icm_api.model.open import Opened, open_endpoint
from icm_api.model.probe import probe, try_route
from icm_api.model.reading.reading import Sampling
from icm_api.model.request import Endpoint
from icm_api.model.writing import write_each
from icm_api.prompts import PromptBuilder
from icm_api.runs import build_task, default_cache_folder, load_dataset
from icm_api.types import Example, Prompt, PromptTemplate, Verbalizer
from icm_api.wording import count_of

_FIRST_ROWS = 5
_MUCH = 0.1
_TEMPLATE = """\
{question}

Solve this step by step. Write the final answer alone on the last line, after "#### "."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a probe is about: a model and its options, the labels, and a user's own words, first rows and file."""

    spec: str
    options: Mapping[str, Any]
    verbalizer: Verbalizer
    template: PromptTemplate | None = None
    rows: Sequence[Example] = ()
    config: Config | None = None

    def opened(self, **options: Any) -> Opened:
        """The endpoint, with other options."""
        try:
            return open_endpoint(self.spec, {**self.options, **options})
        except ConfigError as error:
            raise (self.config.blamed(error) if self.config else error) from error

    def prompts(self, endpoint: Endpoint) -> list[Prompt]:
        """The first row after the others, whose labels are made up, and each of three with no demonstration."""
        if self.template is None:
            return []
        window = endpoint.capabilities.context_window
        builder = PromptBuilder(self.template, self.verbalizer, endpoint.count_tokens, window)
        labels = self.verbalizer.labels
        # A run sets aside what is too long; if all of them are, the first says so.
        rows = [row for row in self.rows if not builder.too_long(row)] or self.rows
        shown = [(row, labels[at % len(labels)]) for at, row in enumerate(rows[1:])]
        return [builder.prompt(rows[0], shown), *(builder.prompt(row, ()) for row in rows[:3])]


def probe_verb(arguments: Namespace) -> None:
    """`icm-api probe SPEC` or `icm-api probe CONFIG`."""
    found = asyncio.run(_probed(_asked(arguments)))
    print(json.dumps(found.as_json()) if arguments.json else "\n".join(found.lines()))
    if found.trouble:
        raise ProviderError(found.trouble)


def _asked(arguments: Namespace) -> _Asked:
    given = dict(arguments.option)
    spec, verbalizer = arguments.spec, Verbalizer.plain(("True", "False"))
    template: PromptTemplate | None = None
    config: Config | None = None
    rows: Sequence[Example] = ()
    if spec.endswith(".toml"):
        config = load_config(spec, {"model": {"options": given}})
        task, dataset = build_task(config), load_dataset(config)
        template, verbalizer, rows = task.template, task.verbalizer, tuple(dataset[:_FIRST_ROWS])
        spec, given = config.model.provider, dict(config.model.options)
    if arguments.labels is not None:
        try:
            verbalizer = Verbalizer.plain(label.strip() for label in arguments.labels.split(","))
        except ValueError as error:
            raise ConfigError(f"--labels {arguments.labels}: {error}") from error
    return _Asked(spec, given, verbalizer, template, rows, config)


async def _probed(asked: _Asked) -> Probe:
    endpoint, readers = asked.opened()
    try:
        prompts = asked.prompts(endpoint)
        found = await probe(endpoint, readers, asked.verbalizer, own=prompts)
    finally:
        await endpoint.close()
    host = ENTRIES.get(asked.spec.partition(":")[0])
    if host is None or asked.template is None:
        return found
    return await _with_other_route(found, asked, prompts[0], asked.options.get("api") or host.api)


async def _with_other_route(found: Probe, asked: _Asked, prompt: Prompt, api: str) -> Probe:
    """The probe with what the other of chat and completions makes of the same prompt."""
    other = "completions" if api == "chat" else "chat"
    endpoint, readers = asked.opened(api=other)
    try:
        route = await try_route(endpoint, readers, prompt, other)
    finally:
        await endpoint.close()
    advice, here = f'set api = "{other}" under [model.options]', found.findings.coverage.value or 0.0
    if route.value is not None and route.value > here + _MUCH:
        if found.trouble:
            found = replace(found, trouble=f"{found.trouble}; {other} does answer: {advice}")
        else:
            route = replace(route, warning=f"{other} puts {route.value:.1%} on the labels, {api} {here:.1%}: {advice}")
    return replace(found, findings=replace(found.findings, other_route=route))


def generate_verb(arguments: Namespace) -> None:
    """`icm-api generate QUESTIONS --model SPEC --out FILE`."""
    check_writing(arguments)
    rows = list(read_rows(arguments.questions))
    template = _template(arguments.template)
    texts = [template.render(Example(row.id, {QUESTION: row.text(arguments.field)})) for row in rows]
    replies, failure, cost = asyncio.run(written(arguments, texts))
    if failure is not None and not any(replies):
        raise failure
    shown = (lambda text: text) if arguments.keep_thoughts else without_thoughts
    found = [[text for reply in some or () if (text := shown(reply).strip())] for some in replies]
    # What was not asked any more is left out.
    lines = [_line(row, arguments.field, some) for row, some in zip(rows, found, strict=True) if some or not failure]
    write_whole(arguments.out, "".join(lines))
    summary = {
        "questions": len(lines),
        "solutions": sum(map(len, found)),
        "with_final_answer": sum(final_answer(text) is not None for some in found for text in some),
        "blank": sum(not shown(text).strip() for some in replies for text in some or ()),
        "refused_questions": sum(some is None for some in replies),
        **cost,
    }
    print(json.dumps(summary) if arguments.json else "\n".join(_told(summary, arguments.out)))
    if failure is not None:
        print(
            f"{len(lines):,} of {count_of(len(rows), 'question')} written; run the same again to go on", file=sys.stderr
        )
        raise failure


def check_writing(arguments: Namespace) -> None:
    """Check the flags of a verb that has a model write.

    Args:
        arguments: parsed.

    Raises:
        ConfigError: one is unusable.
    """
    if Path(arguments.questions).resolve() == arguments.out.resolve():
        raise ConfigError(f"--out {arguments.out} is the file of the questions; name another")
    if not arguments.temperature >= 0:
        raise ConfigError(f"--temperature {arguments.temperature} must not be negative")


def _template(given: str | None) -> PromptTemplate:
    """The text, or what is in the file of that name."""
    text = _TEMPLATE if given is None else given
    if given is not None and "{" not in given:
        try:
            text = Path(given).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--template {given}: neither a text that shows {{question}} nor a readable file"
            ) from error
    template = PromptTemplate(text)
    if template.fields != (QUESTION,):
        raise ConfigError(f"--template shows {list(template.fields)}; it may show {{question}} and nothing else")
    return template


async def written(
    arguments: Namespace, texts: Sequence[str]
) -> tuple[list[Sequence[str] | None], IcmError | None, dict[str, Any]]:
    """The replies to each text, the error that ended it early if one did, and what they cost.

    Args:
        arguments: of a verb that has a model write.
        texts: that are replied to.

    Raises:
        IcmError: the model cannot be opened.
    """
    budget = Budget(requests=arguments.budget_requests, tokens=arguments.budget_tokens, money=arguments.budget_money)
    prices = None if arguments.prices is None else Prices(input=arguments.prices[0], output=arguments.prices[1])
    settings = ClientSettings()
    client = open_model(
        arguments.model,
        cache=arguments.cache or default_cache_folder(),
        settings=settings,
        meter=Meter(budget, prices),
        options=dict(arguments.option),
    )
    console = Console(stderr=True)
    async with client as model:
        with Progress(console=console, transient=True, disable=arguments.json or not console.is_terminal) as progress:
            task = progress.add_task("questions", total=len(texts))
            sampling = Sampling(arguments.max_tokens, arguments.temperature, arguments.samples)
            replies, failure = await write_each(
                model, texts, sampling, workers=settings.max_concurrency, on_answer=lambda: progress.advance(task)
            )
        return replies, failure, {"model": model.identity, "sent": asdict(model.sent), "money": model.spent}


def _line(row: Row, field: str, solutions: Sequence[str]) -> str:
    truths = {key: row.values[key] for key in TRUTHS if row.values.get(key) is not None and key != field}
    values = {"id": row.id, QUESTION: row.text(field), **truths, SOLUTIONS: solutions}
    return json.dumps(values, ensure_ascii=False) + "\n"


def _told(summary: dict[str, Any], out: Path) -> list[str]:
    sent, money = summary["sent"], summary["money"]
    lines = [
        f"{summary['solutions']:,} solutions to {summary['questions']:,} questions from {summary['model']}",
        f"{summary['with_final_answer']:,} of them state a final answer",
    ]
    if summary["blank"]:
        lines.append(
            f"{summary['blank']:,} replies were blank or all thought, and are left out; a larger --max-tokens may help"
        )
    if summary["refused_questions"]:
        lines.append(
            f"{summary['refused_questions']:,} questions were refused and have none; they are asked again next time"
        )
    cost = "" if money is None else f", {money:.4f} USD"
    tokens = f"{sent['prompt_tokens']:,} prompt and {sent['completion_tokens']:,} reply tokens"
    return [*lines, f"cost: {sent['requests']:,} requests, {tokens}{cost}", f"written: {out}"]
