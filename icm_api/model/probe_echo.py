"""Whether the logprobs of an echoed prompt are those of the next token.

It does: ask for the same forms inside a prompt, and compare what is said of them with what is known.
It does not: look at labels as a whole (that is `inside`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import exp

from icm_api.errors import ProviderError
from icm_api.model.findings import Finding
from icm_api.model.reading.reading import Below, Readers
from icm_api.model.request import Asks
from icm_api.types import Prompt, Turn, logsumexp

# Probabilities further apart than this are not those of the same thing; rounding on servers is well below.
_DISAGREEMENT = 0.05


async def echo_agreement(
    readers: Readers, prompt: Prompt, known: Mapping[str, float | Below], client: Asks
) -> Finding[float]:
    """Whether echoed logprobs are those of the next token for the same beginning.

    Some servers echo logprobs that are off by one token, e.g. llama-cpp-python if a model has no BOS token.

    Args:
        readers: of the endpoint.
        prompt: whose forms were read, with a demonstration at least.
        known: log p of forms as the next token's, or a bound, which an echo must not exceed.
        client: asks the requests.

    Returns:
        The largest difference in probability, of a form or of its share among the forms. Where there is a warning,
        echoed logprobs are not to be used.
    """
    if readers.inside is None:
        return Finding(note="this endpoint gives none")
    if all(isinstance(value, Below) for value in known.values()):
        return Finding(note="nothing to compare them with: no form was listed as next token")
    # A turn follows, since servers treat the very end of a text in ways of their own.
    after = prompt.turns[0]
    asked = [replace(prompt, turns=(*prompt.turns, Turn(prompt.query, form), after), query="") for form in known]
    try:
        readings = await readers.inside.read_inside(asked, client)
    except ProviderError as error:
        return Finding(
            note="not used", warning=f"prompt logprobs that can't be used: {error}; set the option echo=false"
        )
    # What is written in the text has a number of its own.
    written = ((form, reading[-2].forms[form]) for form, reading in zip(known, readings, strict=True))
    echoed = {form: value for form, value in written if isinstance(value, float)}
    exact = [form for form, value in known.items() if not isinstance(value, Below)]
    shares = _shares({form: known[form] for form in exact}), _shares({form: echoed[form] for form in exact})
    differences = {
        # Unlikely labels are hardly apart in probability; how they divide what they have is what counts later.
        form: max(_apart(known[form], echoed[form]), abs(shares[0].get(form, 0.0) - shares[1].get(form, 0.0)))
        for form in known
    }
    form = max(differences, key=differences.__getitem__)
    most, told = differences[form], known[form]
    if most <= _DISAGREEMENT:
        return Finding(most)
    other = f"at most {told.logprob:.3f}" if isinstance(told, Below) else f"{told:.3f}"
    numbers = f"log p of {form!r} is {echoed[form]:.3f} in the echo, and {other} as next token after the same text"
    return Finding(
        most,
        "not used",
        f"prompt logprobs that can't be used: {numbers}; the echo may be off by a token: set the option echo=false",
    )


def _apart(known: float | Below, echoed: float) -> float:
    """How far apart the probabilities are; from a bound only what exceeds it counts."""
    if isinstance(known, Below):
        return max(0.0, exp(echoed) - exp(known.logprob))
    return abs(exp(echoed) - exp(known))


def _shares(logprobs: Mapping[str, float | Below]) -> dict[str, float]:
    """How the probability of some forms is divided among them."""
    values = {form: value for form, value in logprobs.items() if not isinstance(value, Below)}
    total = logsumexp(list(values.values())) if values else 0.0
    return {form: exp(value - total) for form, value in values.items()}
