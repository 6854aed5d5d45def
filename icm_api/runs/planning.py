"""What a run may cost at most, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from icm_api.config import Config, SearchSettings
from icm_api.model.client.meter import cost
from icm_api.runs.aside import too_long
from icm_api.runs.parts import build_task, load_dataset, load_start, open_model
from icm_api.search import build_kernel, build_objective, steps_of
from icm_api.types import Dataset, Model, PromptTemplate, Usage, Verbalizer


@dataclass(frozen=True, slots=True)
class Plan:
    """The most that a run can ask for.

    Attributes:
        examples: in the data set.
        relations: made by the constraints.
        steps: the most that the search takes.
        requests: upper bound on requests.
        prompt_tokens: upper bound on prompt tokens.
        longest_prompt: tokens of the longest prompt that can occur.
        context_window: of the model.
        bootstrap_requests: upper bound with engine "bootstrap" instead; None if that is the engine, or a preset
            that anneals.
        money: upper bound on the cost, a token a reply, nothing off for cached prefixes; None without `[prices]`.
        too_long: ids of examples that are alone longer than the window, which a run sets aside.
    """

    examples: int
    relations: int
    steps: int
    requests: int
    prompt_tokens: int
    longest_prompt: int
    context_window: int
    bootstrap_requests: int | None = None
    money: float | None = None
    too_long: tuple[str, ...] = ()


async def plan(config: Config) -> Plan:
    """How many requests and tokens a run may take at most; sends nothing.

    Raises:
        IcmError: whatever would stop the run before its first request.
    """
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    async with open_model(config) as model:
        objective = build_objective(dataset, model, task, config.search)
        judging = config.diagnostics.most_requests(len(dataset), len(objective.labels))
        # Zero-shot labels are asked for in any case.
        extra = len(dataset) + (judging if config.diagnostics.enabled else 0)
        can = model.capabilities

        def most_requests(search: SearchSettings) -> int:
            planned = build_objective(dataset, model, task, search)
            searching = build_kernel(planned, search, start).most_requests(steps_of(search, len(dataset)))
            exact = 0 if planned.estimator.name == "leave_one_out" or len(dataset) > search.exact else len(dataset)
            return (searching + exact + extra) * can.requests_per_prompt

        requests = most_requests(config.search)
        longest = min(can.context_window, longest_prompt(dataset, task.template, task.verbalizer, model))
        # A preset is a way to anneal, and does not go with another engine.
        anneals = config.search.preset != "default" or config.search.moves != "groups"
        other = config.search.engine != "bootstrap" and not anneals
        cheaper = most_requests(config.search.changed(engine="bootstrap")) if other else None
        usage = Usage(requests, requests * longest, requests)
        return Plan(
            len(dataset),
            len(objective.relations),
            steps_of(config.search, len(dataset)),
            requests,
            usage.prompt_tokens,
            longest,
            can.context_window,
            cheaper,
            None if config.prices is None else cost(usage, config.prices),
            tuple(too_long(objective)),
        )


def longest_prompt(dataset: Dataset, template: PromptTemplate, verbalizer: Verbalizer, model: Model) -> int:
    """Tokens of a prompt that shows all examples with their labels, cut to no window."""
    texts = [template.render(example) for example in dataset]
    answer = max((verbalizer.written(label) for label in verbalizer.labels), key=model.count_tokens)
    shown = sum(model.count_tokens(text + answer + template.separator) for text in texts)
    return shown + model.count_tokens(template.instruction + template.separator)
