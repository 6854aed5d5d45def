"""A synthetic in-context learner in closed form: what it answers is a function of the prompt's text alone.

Every text names its example, as in `#1234567890`. What is so of an example, and what the learner perceives of it, is a
hash of that number: so one learner works behind any template, estimator or wire. A name that is no number, as the
judge's made-up words are, is one that it knows nothing of.

The learner adds up, in nats per label: a lean towards the first label; what it believes without demonstrations; for
each division of the examples that it perceives, how near the query is to the mean of the examples shown with the label
(so that any naming can be learned), times a gain; labels of examples of the same topic; the shares of the labels
shown; the last labels shown; and noise that every order of the prompt draws anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icm_api.types import Answers, Capabilities, LabelDistribution, Prompt, Usage, logsumexp

Floats = NDArray[np.float64]

WINDOW = 1_000_000
_NAMED = re.compile(r"(?:topic (\w+) )?#(\w+)")
_KNOWN = re.compile(r"[0-9]{10}")
_NORMAL = NormalDist()
_DECIMALS = 6
_SHRINK = 2.0
"""Examples of a label that count as shown without saying anything."""
_FADE = 0.5
"""What a label shown counts for recency, relative to the one after it."""


@dataclass(frozen=True, slots=True)
class Mind:
    """What a learner knows, and how it errs. Margins are log-odds of one label against another, in nats.

    Attributes:
        labels: as they are written, without the space before them.
        prior: margin by which it prefers the right label without demonstrations; below 0 it prefers another.
        rival_prior: the same for a second division of the examples that has nothing to do with gold.
        gain: margin that it learns in context for a division that it perceives without noise.
        rival_gain: the same for the second division.
        surfaces: gains for divisions by the looks of the text, which made-up words have too.
        belief: noise of what it perceives, as a share of the signal: it takes Phi(1 / belief) for what they are.
        nonsense: how much of that noise names evoke that it does not know.
        whim: standard deviation of beliefs without demonstrations that have nothing to do with gold.
        echo: how much of it names evoke that it does not know.
        lean: towards the first label.
        base_rate: weight of log shares of the labels shown.
        recency: weight of the last labels shown.
        order: standard deviation of the noise that each order of a prompt draws.
        neighbours: weight of the labels shown with the same topic.
        ordinal: labels are places on a scale, and are taken for their neighbours.
    """

    labels: tuple[str, ...] = ("True", "False")
    prior: float = 1.5
    rival_prior: float = 0.0
    gain: float = 5.0
    rival_gain: float = 0.0
    surfaces: tuple[float, ...] = ()
    belief: float = 0.5
    nonsense: float = 0.5
    whim: float = 0.3
    echo: float = 1.0
    lean: float = 0.5
    base_rate: float = 0.5
    recency: float = 0.0
    order: float = 0.2
    neighbours: float = 0.0
    ordinal: bool = False

    def gold(self, number: str, division: str = "gold") -> int:
        """Which label an example has, by its number.

        Args:
            number: of the example.
            division: "gold", "rival", or one by looks.
        """
        return int(_uniform(f"{division}/class/{number}") * len(self.labels))

    def perceived(self, number: str, division: str) -> Floats:
        """What the learner sees of an example: per label, summing to 0; the right one is ahead by about 1."""
        known = division.startswith("surface") or bool(_KNOWN.fullmatch(number))
        size, labels = len(self.labels), np.arange(len(self.labels))
        noise = self.belief if known else self.belief * self.nonsense
        if self.ordinal:
            place = _uniform(f"{division}/class/{number}") * size - 0.5 if known else (size - 1) / 2
            seen = -((place + noise * _normals(f"{division}/seen/{number}", 1)[0] - labels) ** 2) / 2
        else:
            seen = noise / 2**0.5 * _normals(f"{division}/seen/{number}", size)
            if known:
                seen[self.gold(number, division)] += 1
        return np.asarray(seen - seen.mean())


class Seen(NamedTuple):
    """A text as the learner sees it.

    Attributes:
        alone: nats per label without demonstrations, [K].
        divisions: what is perceived of each division, one after the other, [divisions * K].
        topic: the word for it in the text, or "".
    """

    alone: Floats
    divisions: Floats
    topic: str


@dataclass(eq=False)
class Learner:
    """Answers as a mind does; implements `Model` of the core. Remembers each answer by its prompt.

    Attributes:
        mind: what it knows.
        inside: it gives logprobs of its prompts.
        asked: distinct prompts by now.
    """

    mind: Mind
    inside: bool = False
    _seen: dict[str, Seen] = field(default_factory=dict)
    _answered: dict[bytes, LabelDistribution] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mind = self.mind
        self._names = ("gold", "rival", *(f"surface {at}" for at in range(len(mind.surfaces))))
        self._gains = np.repeat((mind.gain, mind.rival_gain, *mind.surfaces), len(mind.labels))

    @property
    def capabilities(self) -> Capabilities:
        """Exact, and always the same."""
        return Capabilities(WINDOW, "exact", deterministic=True, batches=True, prompt_logprobs=self.inside)

    @property
    def asked(self) -> int:
        """How many distinct prompts were answered."""
        return len(self._answered)

    def count_tokens(self, text: str) -> int:
        """One for every four characters."""
        return len(text) // 4 + 1

    async def label_distributions(self, prompts: Sequence[Prompt]) -> Answers[LabelDistribution]:
        """The distribution over the labels after each prompt."""
        keys = [_digest(prompt.text) for prompt in prompts]
        found = tuple(self._answer(prompt, key) for prompt, key in zip(prompts, keys, strict=True))
        costs = {key.hex(): Usage(1, len(prompt.text) // 4) for prompt, key in zip(prompts, keys, strict=True)}
        return Answers(found, costs)

    async def read_inside(self, prompts: Sequence[Prompt]) -> Answers[Sequence[LabelDistribution]]:
        """Per prompt and turn, the distribution over the labels given all that is before the turn's label."""
        found = []
        for prompt in prompts:
            until = [self._until(prompt, at) for at in range(len(prompt.turns))]
            found.append([self._answer(part, _digest(part.text)) for part in until])
        costs = {_digest(prompt.text).hex(): Usage(1, len(prompt.text) // 4) for prompt in prompts}
        return Answers(tuple(found), costs)

    def _until(self, prompt: Prompt, at: int) -> Prompt:
        return Prompt(prompt.instruction, prompt.turns[:at], prompt.turns[at].text, prompt.verbalizer, prompt.separator)

    def _answer(self, prompt: Prompt, key: bytes) -> LabelDistribution:
        found = self._answered.get(key)
        if found is None:
            labels = self.mind.labels
            places = {prompt.verbalizer.written(label): at for at, label in enumerate(prompt.verbalizer.labels)}
            assert tuple(written.strip() for written in places) == labels
            shown = [(turn.text, places[turn.answer]) for turn in prompt.turns]
            read = self.logprobs(shown, prompt.query, key)
            found = LabelDistribution(prompt.verbalizer.labels, tuple(read), 1.0, "exact")
            self._answered[key] = found
        return found

    def logprobs(self, shown: Sequence[tuple[str, int]], query: str, key: bytes) -> list[float]:
        """log p of every label, in nats.

        Args:
            shown: texts before the query, each with the place of its label in the label set.
            query: the text asked about.
            key: of the whole prompt; what its order draws is a function of it.
        """
        mind, seen = self.mind, self._see(query)
        nats = seen.alone + mind.order * _normals(key.hex(), len(mind.labels))
        if shown:
            nats = nats + self._in_context(shown, seen)
        rounded: list[float] = np.round(nats - logsumexp(nats.tolist()), _DECIMALS).tolist()
        return rounded

    def _in_context(self, shown: Sequence[tuple[str, int]], query: Seen) -> Floats:
        mind, size = self.mind, len(self.mind.labels)
        texts = [self._see(text) for text, _ in shown]
        answers = np.zeros((len(shown), size))
        answers[np.arange(len(shown)), [label for _, label in shown]] = 1
        counts = answers.sum(0)
        means = (answers.T @ np.array([text.divisions for text in texts])) / (counts + _SHRINK)[:, None]
        near = means @ (query.divisions * self._gains) - means**2 @ self._gains / 2
        nats = near + mind.base_rate * np.log((counts + 1) / (len(shown) + size))
        if mind.recency:
            nats += mind.recency * (_FADE ** np.arange(len(shown))[::-1]) @ (answers - 1 / size)
        if mind.neighbours and query.topic:
            same = np.array([text.topic == query.topic for text in texts], dtype=np.float64)
            nats += mind.neighbours * (same @ (answers - 1 / size)) / (same.sum() + _SHRINK)
        return np.asarray(nats)

    def _see(self, text: str) -> Seen:
        found = self._seen.get(text)
        if found is None:
            named = _NAMED.search(text)
            topic, number = (named[1] or "", named[2]) if named else ("", text)
            mind = self.mind
            parts = [mind.perceived(number, name) for name in self._names]
            alone = mind.prior * parts[0] + mind.rival_prior * parts[1]
            whim = mind.whim * (1.0 if _KNOWN.fullmatch(number) else mind.echo)
            alone = alone + whim / 2**0.5 * _normals(f"whim/{number}", len(mind.labels))
            alone[0] += mind.lean
            found = self._seen[text] = Seen(alone, np.concatenate(parts), topic)
        return found

    def read_text(self, text: str) -> list[float]:
        """log p of every label after a prompt of which only the text is known, in nats.

        Examples are found by their names; the label of one is the first label that ends a line after its name.

        Args:
            text: of the whole prompt, ending in the text asked about.
        """
        starts = [found.start() for found in _NAMED.finditer(text)]
        pieces = [text[start:end] for start, end in zip(starts, [*starts, None][1:], strict=True)]
        shown = []
        for piece in pieces[:-1]:
            label = re.search(rf"\s({'|'.join(self.mind.labels)})\s*\n", piece)
            if label:
                shown.append((piece, self.mind.labels.index(label[1])))
        return self.logprobs(shown, pieces[-1] if pieces else text, _digest(text))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _uniform(key: str) -> float:
    """In (0, 1), by hash."""
    return (int.from_bytes(blake2b(key.encode(), digest_size=7).digest(), "big") + 0.5) / 2**56


def _normals(key: str, count: int) -> Floats:
    """Standard normal numbers, by hash."""
    raw = blake2b(key.encode(), digest_size=7 * count).digest()
    parts = (int.from_bytes(raw[7 * at : 7 * at + 7], "big") for at in range(count))
    return np.array([_NORMAL.inv_cdf((part + 0.5) / 2**56) for part in parts])
