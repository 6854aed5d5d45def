"""What is asked of an endpoint before a run begins, and what is to be warned of.

It does not: look at anything that a run does not rest on (that is `probe`).
"""

from __future__ import annotations

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.probe_prompts import NO_LABEL, short_prompt
from icm_api.model.reading.coverage import coverage_warning, thinks_first
from icm_api.model.reading.echo import METHOD as ECHO
from icm_api.types import Capabilities, LabelDistribution, Model, Tally, Verbalizer


async def check_endpoint(client: Model, verbalizer: Verbalizer, tally: Tally | None = None) -> list[str]:
    """Ask a hosted model one small question, as a run should before it begins; local models are not asked.

    A provider that samples takes as many requests for it as for any other question.

    Args:
        client: through whose cache it goes, so that it is paid for once.
        verbalizer: the labels of the run.
        tally: counts what the question asked for.

    Returns:
        What to warn of.

    Raises:
        ProviderError: the endpoint cannot be used, or the model would think first: why.
        BudgetError: the question could exceed the budget.
    """
    if client.capabilities.batches:
        return []
    found = await client.label_distributions([short_prompt(verbalizer)])
    if tally is not None:
        tally.add(found.costs)
    options = client.capabilities.options
    if thinks_first(found):
        raise LogprobsUnavailableError(coverage_warning(found, verbalizer, options=options))
    # The claims are not the user's: how much the labels get says no more than whether they can be read.
    told = coverage_warning(found, verbalizer, options=options, least=NO_LABEL) or ""
    warnings = [told, *map(bounds_warning, found)]
    if any(distribution.method == ECHO for distribution in found):
        warnings.append("labels are read from an echoed prompt: `icm-api probe` says whether the echo can be trusted")
    return [warning for warning in warnings if warning]


def window_warning(stated: int, can: Capabilities, needed: int | None = None) -> str | None:
    """What to say if prompts may be longer than the server takes, else None.

    Args:
        stated: tokens of the context window, by the server's own word.
        can: says which window is reckoned with.
        needed: tokens of the longest prompt; None if that is unknown.
    """
    longest = can.context_window if needed is None else min(needed, can.context_window)
    if longest <= stated:
        return None
    return (
        f"the server says that its context window is {stated:,} tokens, and prompts may have up to {longest:,}: "
        f"set context_window = {stated} under [model.options], so that whole demonstrations are left out"
    )


def bounds_warning(distribution: LabelDistribution) -> str:
    """What to say of labels whose probability is only bounded; nothing if all are known."""
    if not distribution.intervals or distribution.unknown:
        return ""
    labels = ", ".join(f"{label} ({low:.3g} to {high:.3g})" for label, (low, high) in distribution.intervals.items())
    return (
        f"not among the alternatives, so only bounded: {labels}; ask for more with the option top_logprobs, or use "
        "labels that are single tokens"
    )
