"""What a probe asks of a decision endpoint besides: does it follow demonstrations, and is their text billed once?

It does: exchange the labels of all demonstrations and see whether the answers move; ask one and two questions and
compare what was counted.
It does not: judge anything else of an endpoint (that is `probe`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, sqrt
from statistics import fmean, stdev

from icm_api.errors import ProviderError
from icm_api.model.findings import Finding, Recorder
from icm_api.model.language_model import LanguageModel
from icm_api.types import Prompt, Turn

# Answers that demonstrations move less are made without them.
_MOVES = 0.1
# Answers to the same question that differ more are noisy: then means of so many tell, this many standard errors apart.
_STEADY, _REPEATS, _ERRORS = 0.01, 6, 4.0
# Two questions about one text cost little more than one, unless the text is counted for each.
_TWICE = 1.5


async def demonstrations_found(model: LanguageModel, prompt: Prompt, noise: float | None) -> Finding[float]:
    """How far the answer moves if all demonstrations get other labels.

    Args:
        model: that is asked.
        prompt: with demonstrations.
        noise: how far the answer to the same question moved; None if that is unknown.

    Returns:
        The largest difference in a label's probability; with a warning if the endpoint does not follow demonstrations.

    Raises:
        ProviderError: a question failed.
    """
    moves, times = [], 1 if noise is not None and noise <= _STEADY else _REPEATS
    # One after the other: the same question asked twice at once is asked once.
    for _ in range(times):
        first, second = await model.label_distributions([prompt, exchanged(prompt)])
        moves.append([exp(one) - exp(two) for one, two in zip(first.logprobs, second.logprobs, strict=True)])
    means = [abs(fmean(each)) for each in zip(*moves, strict=True)]
    errors = [stdev(each) / sqrt(times) if times > 1 else 0.0 for each in zip(*moves, strict=True)]
    most, note = max(means), f"on the mean of {times}" if times > 1 else ""
    if any(mean >= max(_MOVES, _ERRORS * error) for mean, error in zip(means, errors, strict=True)):
        return Finding(most, note)
    beyond = f", no more than noise does (standard error {max(errors):.2g})" if most >= _MOVES else ""
    return Finding(
        most,
        note,
        f"it does not follow demonstrations: with all their labels exchanged its probabilities move by {most:.2g} "
        f"alone{beyond}, so a search would learn nothing from other labels; use another model",
    )


async def questions_found(recorder: Recorder, model: LanguageModel, prompts: Sequence[Prompt]) -> Finding[float]:
    """What two questions about one text are counted as, over what one is.

    Args:
        recorder: of the endpoint that the model asks.
        model: that is asked.
        prompts: two that differ in their queries alone.
    """
    try:
        counted = []
        for asked in (prompts[:1], prompts):
            before = len(recorder.exchanges)
            await model.label_distributions(asked)
            counted.append(sum(each.response.usage.prompt_tokens for each in recorder.exchanges[before:]))
    except ProviderError as error:
        return Finding(note="failed", warning=f"two questions in one request failed: {error}; set questions = 1")
    one, two = counted
    ratio = two / max(one, 1)
    told = f"{one:,} and {two:,} prompt tokens"
    if ratio < _TWICE:
        return Finding(ratio, told)
    return Finding(
        ratio,
        told,
        f"the demonstrations are billed for every question ({told} for one and two), so asking many at once saves "
        "requests and no tokens",
    )


def exchanged(prompt: Prompt) -> Prompt:
    """The prompt with the next label in place of each demonstration's own.

    Example:
        >>> from icm_api.types import Verbalizer
        >>> shown = Prompt("", (Turn("1 > 2", " False"),), "2 > 1", Verbalizer.plain(["True", "False"]))
        >>> exchanged(shown).turns[0].answer
        ' True'
    """
    labels = prompt.verbalizer.labels
    written = [prompt.verbalizer.written(label) for label in labels]
    following = dict(zip(written, [*written[1:], written[0]], strict=True))
    turns = tuple(Turn(turn.text, following.get(turn.answer, turn.answer)) for turn in prompt.turns)
    return replace(prompt, turns=turns)
