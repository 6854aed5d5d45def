"""What a run may cost at most, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from icm_api.client import Client
from icm_api.config import Config
from icm_api.run.parts import build_task, load_dataset, load_start, open_model
from icm_api.search import Task, build_kernel, build_objective
from icm_api.types import Dataset


@dataclass(frozen=True, slots=True)
class Plan:
    """The most that a run can ask for.

    Attributes:
        examples: in the data set.
        relations: that the constraints came to.
        steps: the budget.
        requests: upper bound on requests.
        prompt_tokens: upper bound on prompt tokens.
        longest_prompt: tokens of the longest prompt that can occur.
        context_window: of the model.
    """

    examples: int
    relations: int
    steps: int
    requests: int
    prompt_tokens: int
    longest_prompt: int
    context_window: int


async def plan(config: Config) -> Plan:
    """How many requests and tokens a run may take at most; sends nothing.

    Raises:
        IcmError: whatever would stop the run before its first request.
    """
    dataset, task = load_dataset(config), build_task(config)
    start = load_start(config, dataset, task)
    async with open_model(config) as model:
        objective = build_objective(dataset, model, task, config.search)
        steps = config.search.budget(len(dataset))
        can = model.capabilities
        requests = build_kernel(objective, config.search, start).most_requests(steps)
        if config.diagnostics.enabled:
            requests += config.diagnostics.most_requests(len(dataset), len(objective.labels))
        requests *= can.requests_per_prompt
        window = can.context_window
        longest = min(window, _longest_prompt(dataset, task, model))
        return Plan(len(dataset), len(objective.relations), steps, requests, requests * longest, longest, window)


def _longest_prompt(dataset: Dataset, task: Task, model: Client) -> int:
    template, verbalizer = task.template, task.verbalizer
    texts = [template.render(example) for example in dataset]
    answer = max((verbalizer.written(label) for label in verbalizer.labels), key=model.count_tokens)
    shown = sum(model.count_tokens(text + answer + template.separator) for text in texts)
    return shown + model.count_tokens(template.instruction + template.separator)
