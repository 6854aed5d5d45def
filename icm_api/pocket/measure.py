"""What the embedded model knows: accuracies without context and with labels in it, and the utility of whole labelings.

The check that the weights are worth searching. Does not search, or replace the library's own objective.
"""

import random
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from icm_api.pocket.corpus import believed, surface
from icm_api.pocket.model import PocketModel
from icm_api.pocket.world import TASKS, Claim, make_split, world_facts

_ALPHA = 50.0


def _true_odds(
    model: PocketModel, contexts: Sequence[Sequence[tuple[Claim, bool]]], claims: Sequence[Claim]
) -> list[float]:
    """log p(True) - log p(False) of each claim after its own context, [len(claims)]."""
    (yes,), (no,) = model.encode(" True"), model.encode(" False")
    lines = [[model.encode(f"{claim.text} {label}\n") for claim, label in context] for context in contexts]
    queries = [model.encode(claim.text) for claim in claims]
    logprobs = model.next_token_logprobs([(*line, query) for line, query in zip(lines, queries, strict=True)])
    return [float(row[yes] - row[no]) for row in logprobs]


def accuracy(model: PocketModel, context: Sequence[tuple[Claim, bool]], claims: Sequence[Claim]) -> float:
    """Share of claims labelled right after one context.

    Args:
        model: The model.
        context: Demonstrations, each a claim with its label.
        claims: To label, at least one.

    Returns:
        From 0 to 1.
    """
    odds = _true_odds(model, [context] * len(claims), claims)
    return sum((odd > 0) == claim.truth for odd, claim in zip(odds, claims, strict=True)) / len(claims)


def mutual_predictability(model: PocketModel, claims: Sequence[Claim], labels: Sequence[bool]) -> float:
    """P: mean log probability (nats) of each label given all others, in divide-and-conquer order.

    Args:
        model: The model.
        claims: At least one.
        labels: One for each claim.
    """
    pairs = list(zip(claims, labels, strict=True))
    contexts = dict(_others(list(range(len(pairs)))))
    odds = _true_odds(model, [[pairs[j] for j in contexts[i]] for i in range(len(pairs))], claims)
    signed = [odd if label else -odd for odd, label in zip(odds, labels, strict=True)]
    return -float(np.mean(np.logaddexp(0, -np.array(signed))))


def broken(claims: Sequence[Claim], labels: Sequence[bool]) -> int:
    """I: how many pairs of different answers to one question are both True. `labels` holds one for each claim."""
    held = [claim for claim, label in zip(claims, labels, strict=True) if label]
    return sum(a.group == b.group and a.answer != b.answer for a, b in combinations(held, 2))


def _others(indices: list[int]) -> list[tuple[int, list[int]]]:
    if len(indices) == 1:
        return [(indices[0], [])]
    left, right = indices[: len(indices) // 2], indices[len(indices) // 2 :]
    return [(i, right + rest) for i, rest in _others(left)] + [(i, left + rest) for i, rest in _others(right)]


_RIVALS: dict[str, Callable[[Claim], bool]] = {
    "truth": lambda claim: claim.truth,
    "inverse": lambda claim: not claim.truth,
    "all True": lambda claim: True,
    "all False": lambda claim: False,
    "surface": lambda claim: surface(claim.text, 0),
    "belief": believed,
}


def accuracy_table(model: PocketModel, demonstrations: int = 32, seeds: int = 8) -> list[str]:
    """Accuracy per task: zero-shot, few-shot with random labels and with golden labels, on held-out claims.

    Args:
        model: The model.
        demonstrations: Labelled claims in the context.
        seeds: How many splits to take the mean of.

    Returns:
        Lines of text. The last is of those held-out facts alone of which many believe a myth.
    """
    rows: dict[str, list[list[float]]] = {name: [] for name in (*TASKS, "facts, myths")}
    for task in TASKS:
        for seed in range(seeds):
            train, test = make_split(task, demonstrations, 64, seed)
            rng = random.Random(f"{task}/{seed}/random labels")
            chance = [(claim, rng.random() < 0.5) for claim in train]
            golden = [(claim, claim.truth) for claim in train]
            rows[task].append([accuracy(model, context, test) for context in ([], chance, golden)])
            if task == "facts":
                myths = [claim for claim in test if world_facts()[claim.group].myth]
                rows["facts, myths"].append([accuracy(model, context, myths) for context in ([], chance, golden)])
    lines = [f"{'task':<13}{'zero':>7}{'random':>7}{'golden':>7}   {demonstrations} demonstrations, {seeds} seeds"]
    for name, scores in rows.items():
        zero, noise, gold = np.mean(scores, axis=0)
        lines.append(f"{name:<13}{zero:>7.1%}{noise:>7.1%}{gold:>7.1%}")
    return lines


def utility_table(model: PocketModel, size: int = 32, seeds: int = 4) -> list[str]:
    """Per task and labeling: 50 * P, broken pairs, and U, means over seeds.

    Args:
        model: The model.
        size: Claims in a labeling.
        seeds: How many sets of claims to take the mean of.

    Returns:
        Lines of text.
    """
    lines = [f"{'task':<13}{'labeling':<10}{'50*P':>8}{'I':>7}{'U':>8}   {size} claims, {seeds} seeds"]
    for task in TASKS:
        for name, rule in _RIVALS.items():
            if name == "belief" and task != "facts":
                continue
            parts = []
            for seed in range(seeds):
                claims, _ = make_split(task, size, 0, seed)
                labels = [rule(claim) for claim in claims]
                parts.append((_ALPHA * mutual_predictability(model, claims, labels), broken(claims, labels)))
            coherence, inconsistency = np.mean(parts, axis=0)
            lines.append(f"{task:<13}{name:<10}{coherence:>8.2f}{inconsistency:>7.1f}{coherence - inconsistency:>8.2f}")
    return lines
