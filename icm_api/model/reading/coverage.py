"""How much of a model's probability is on the labels, what it would write instead, and what to do about it.

It asks nothing and changes no number: it puts into words what distributions say.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import exp

from icm_api.errors import LogprobsUnavailableError
from icm_api.model.reading.label_tokens import Place, alternatives
from icm_api.model.reading.reading import forms_of
from icm_api.types import LabelDistribution, Verbalizer, logsumexp

ENOUGH = 0.5
"""Coverage from which on nothing is said."""
_MOST_SHOWN = 4
# A share below this is not worth a word.
_LEAST = 0.005
# What models that think write before anything else.
_THINKING = re.compile(r"\s*(<\|?(think|thought|reasoning|channel|start)|\[THINK|◁think)", re.IGNORECASE)
# What may mend each way of reading: the option, and how.
_MENDS: Mapping[str, Mapping[str, str]] = {
    "top_k": {
        "top_logprobs": "ask for more alternatives (option top_logprobs)",
        "api": 'if it is a base model, ask it for text (option api = "completions")',
    },
    "sampled": {"max_tokens": "raise max_tokens if replies are cut short"},
}
_THINK_LESS: Mapping[str, str] = {
    "extra_body": "turn thinking off under [model.options], e.g. extra_body = { chat_template_kwargs = "
    '{ enable_thinking = false } } or extra_body = { reasoning_effort = "none" }',
    "thinking": "turn thinking off: thinking = false under [model.options]",
}


def likeliest(place: Place) -> dict[str, float]:
    """The likeliest tokens that are listed at a place, with their probabilities.

    Args:
        place: the tokens listed at one place.

    Raises:
        LogprobsUnavailableError: the logprobs cannot be ones.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for token, logprob in alternatives(place.listed).items():
        found[token.written.decode("utf-8", "replace")].append(logprob)
    summed = {text: exp(logsumexp(values)) for text, values in found.items() if text}
    return dict(sorted(summed.items(), key=lambda entry: -entry[1])[:_MOST_SHOWN])


def coverage_warning(
    distributions: Sequence[LabelDistribution],
    verbalizer: Verbalizer,
    *,
    instruction: str = "",
    options: Collection[str] = (),
    least: float = ENOUGH,
) -> str | None:
    """What to warn of if the labels get less than `least` of the probability on average; None if all is well.

    Args:
        distributions: of any number of prompts.
        verbalizer: the labels and their forms.
        instruction: of the prompts; what it says already is not advised.
        options: that the model's provider takes, see `Capabilities`; no others are named.
        least: the mean coverage that is enough, in [0, 1].

    Example:
        >>> two = Verbalizer.plain(["True", "False"])
        >>> low = LabelDistribution(two.labels, (-0.7, -0.7), 0.02, "exact", instead={" true": 0.6, " so": 0.1})
        >>> print(coverage_warning([low], two))  # doctest: +NORMALIZE_WHITESPACE
        on average only 2.0% of the model's probability is on the labels; it would write ' true' (60.0%), ' so' (10.0%):
        name the labels in the instruction; or put what means a label under [prompt]:
        forms = { "True" = [" True", " true"], "False" = [" False"] }
    """
    known = [distribution.coverage for distribution in distributions if distribution.coverage is not None]
    if not known:
        return None
    mean = sum(known) / len(known)
    if mean >= least:
        return None
    instead = _instead(distributions)
    unknown = sum(distribution.unknown for distribution in distributions)
    none = f" (none that could be read in {unknown} of {len(distributions)} answers)" if unknown else ""
    start = f"on average only {mean:.1%} of the model's probability is on the labels{none}"
    shown = ", ".join(f"{text!r} ({share:.1%})" for text, share in instead.items())
    written = f"{start}; it would write {shown}" if instead else start
    if thinks_first(distributions):
        return f"{written}: {_think_less(options)}"
    methods = dict.fromkeys(each.method for each in distributions)
    remedies = [how for method in methods for option, how in _MENDS.get(method, {}).items() if option in options]
    if not _named(verbalizer, instruction):
        remedies.insert(0, "name the labels in the instruction")
    if instead:
        remedies.append(f"put what means a label under [prompt]: {forms_line(verbalizer, instead)}")
    return f"{written}: {'; or '.join(remedies or ['ask with words that the labels follow, or choose another model'])}"


def refuse_unknown(
    distributions: Sequence[LabelDistribution],
    verbalizer: Verbalizer,
    *,
    instruction: str = "",
    options: Collection[str] = (),
) -> None:
    """Refuse answers of which none says anything of a label: there is nothing to search by.

    Args:
        distributions: of any number of prompts.
        verbalizer: the labels and their forms.
        instruction: of the prompts.
        options: that the model's provider takes.

    Raises:
        LogprobsUnavailableError: there are some, and all are unknown; what the model would write instead.
    """
    if distributions and all(distribution.unknown for distribution in distributions):
        told = coverage_warning(distributions, verbalizer, instruction=instruction, options=options)
        raise LogprobsUnavailableError(
            f"the model listed no form of any label in any of {len(distributions)} answers, which say nothing then; "
            f"{told}; forms asked for: {forms_of(verbalizer)}"
        )


def thinks_first(distributions: Sequence[LabelDistribution]) -> bool:
    """Whether the model would rather begin to think than write a label.

    Args:
        distributions: of any number of prompts.
    """
    return any(share >= ENOUGH and _THINKING.match(text) for text, share in _instead(distributions).items())


def forms_line(verbalizer: Verbalizer, written: Iterable[str]) -> str:
    """A line for `[prompt]` that also counts what resembles a label apart from case, marks and space.

    Args:
        verbalizer: the labels and their forms.
        written: what the model would write.
    """
    names = {_bare(form): label for label in verbalizer.labels for form in verbalizer.forms(label)}
    found = {label: list(verbalizer.forms(label)) for label in verbalizer.labels}
    for text in written:
        label = names.get(_bare(text))
        if label is not None and text not in found[label]:
            found[label].append(text)
    # A JSON string is a TOML string too.
    tables = (f"{json.dumps(label)} = {json.dumps(forms, ensure_ascii=False)}" for label, forms in found.items())
    return f"forms = {{ {', '.join(tables)} }}"


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold() or text


def _instead(distributions: Sequence[LabelDistribution]) -> dict[str, float]:
    """What the model would write, with its mean probability, the likeliest first."""
    shares: dict[str, float] = defaultdict(float)
    for distribution in distributions:
        for text, share in distribution.instead.items():
            shares[text] += share / len(distributions)
    told = sorted(((text, share) for text, share in shares.items() if share >= _LEAST), key=lambda entry: -entry[1])
    return dict(told[:_MOST_SHOWN])


def _think_less(options: Collection[str]) -> str:
    ways = [*(how for option, how in _THINK_LESS.items() if option in options), "choose a model that does not think"]
    return f"it thinks before it answers, so what the labels get says nothing; {', or '.join(ways)}"


def _named(verbalizer: Verbalizer, instruction: str) -> bool:
    """Whether an instruction has all labels in it, as words of their own."""
    text = instruction.casefold()
    return all(
        any(re.search(rf"(?<!\w){re.escape(form.strip().casefold())}(?!\w)", text) for form in verbalizer.forms(label))
        for label in verbalizer.labels
    )
