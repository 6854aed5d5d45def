"""Examples and their labels become prompts: a template gives the words, a builder chooses the demonstrations.

Text is never cut. If not all demonstrations fit, whole demonstrations are left out; a query that does not fit alone
is an error. Nothing here talks to a model or knows its tokenizer: a function that counts tokens is enough.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from icm_api.errors import ConfigError, PromptError
from icm_api.types import Example, Label, Prompt, PromptTemplate, Turn, Verbalizer


@dataclass(frozen=True, slots=True)
class _Piece:
    """A demonstration, or a query with no answer, ready for use: rendered, counted and ranked."""

    example: Example
    turn: Turn
    tokens: int
    rank: bytes


@dataclass(frozen=True, slots=True, eq=False)
class PromptBuilder:
    """Builds prompts that fit a context window, each example rendered and counted once per label.

    Attributes:
        template: the words.
        verbalizer: how labels are written.
        count_tokens: how many tokens the model sees in a text.
        context_window: the most tokens a prompt and its label may have together. Segments are counted one
            by one, and the longest form of any label is allowed for.

    Raises:
        ConfigError: the context window is not positive.

    Example:
        >>> builder = PromptBuilder(PromptTemplate(), Verbalizer.plain(["True", "False"]), len, 100)
        >>> builder.prompt(Example("b", {"text": "1+1=3"}), [(Example("a", {"text": "1+1=2"}), "True")]).text
        '1+1=2 True\\n\\n1+1=3'
    """

    template: PromptTemplate
    verbalizer: Verbalizer
    count_tokens: Callable[[str], int]
    context_window: int
    _overhead: int = field(init=False, repr=False)
    _pieces: dict[tuple[str, Label | None], _Piece] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.context_window < 1:
            raise ConfigError(f"context_window={self.context_window}: give a positive number of tokens")
        instruction, forms = self.template.instruction, self.verbalizer.forms
        head = self.count_tokens(instruction + self.template.separator) if instruction else 0
        label = max(self.count_tokens(form) for label in self.verbalizer.labels for form in forms(label))
        object.__setattr__(self, "_overhead", head + label)

    def prompt(self, query: Example, demonstrations: Sequence[tuple[Example, Label]]) -> Prompt:
        """The question which label the query has, after as many of the demonstrations as fit.

        All that fit together are used. Else a subset is, in which demonstrations of the query's group come
        first, and then labels are kept in balance; within a label the order is by a hash of the id, so that
        nearly the same subset serves every query. Either way they are in the order given.

        Args:
            query: the example in question.
            demonstrations: the others and their labels.

        Returns:
            A prompt that never ends in white space, and holds each text whole.

        Raises:
            PromptError: the query alone is too long, or an example cannot be rendered.
            ValueError: the query is among the demonstrations, or a label is outside the label set.
        """
        return self.after(demonstrations).prompt(query)

    def after(self, demonstrations: Sequence[tuple[Example, Label]]) -> Shown:
        """Demonstrations that many questions follow, rendered, counted and put together once for all of them.

        Args:
            demonstrations: examples and their labels, in order.

        Raises:
            PromptError: an example cannot be rendered.
            ValueError: a label is outside the label set.
        """
        pieces = tuple([self._piece(example, label) for example, label in demonstrations])
        turns = tuple([piece.turn for piece in pieces])
        places = {example.id: at for at, (example, _) in enumerate(demonstrations)}
        return Shown(self, demonstrations, pieces, turns, places, tuple([piece.tokens for piece in pieces]))

    def _asked(self, query: Example, shown: Shown, tokens: int, places: Sequence[int] | None) -> Prompt:
        """The question after all that is shown, or after what is at these places, which has so many tokens."""
        self._check_fits(query)
        question = self._piece(query, None)
        room, turns = self.context_window - self._overhead - question.tokens, shown.turns
        if tokens > room:
            places = range(len(turns)) if places is None else places
            demonstrations = [shown.demonstrations[at] for at in places]
            chosen = self._fitting(query.group, demonstrations, [shown.pieces[at] for at in places], room)
            places = [places[at] for at in chosen]
        if places is not None:
            turns = tuple(map(turns.__getitem__, places))
        return Prompt(self.template.instruction, turns, question.turn.text, self.verbalizer, self.template.separator)

    def transcripts(self, demonstrations: Sequence[tuple[Example, Label]]) -> list[Prompt]:
        """Demonstrations one after another with no question at the end, to read the labels inside.

        Args:
            demonstrations: examples and their labels, in order.

        Returns:
            One prompt if all fit into the context window; else as few as hold all, of about equal length, the
            demonstrations still in order. None if there are no demonstrations.

        Raises:
            PromptError: an example alone is too long, or cannot be rendered.
            ValueError: a label is outside the label set.
        """
        pieces = [self._piece(example, label) for example, label in demonstrations]
        room = self.context_window - self._overhead
        for example, _ in demonstrations:
            self._check_fits(example)
        fewest = len(_stretches(pieces, room))
        low = -(-sum(piece.tokens for piece in pieces) // max(fewest, 1))
        even = bisect_left(
            range(room), True, lo=min(low, room), key=lambda most: len(_stretches(pieces, most)) <= fewest
        )
        template = self.template
        return [
            Prompt(template.instruction, tuple(piece.turn for piece in part), "", self.verbalizer, template.separator)
            for part in _stretches(pieces, even)
        ]

    def stretches(self, examples: Iterable[Example]) -> int:
        """The most prompts that `transcripts` makes of all or some of the examples, whatever their labels and order.

        Args:
            examples: those that are alone too long count for nothing.

        Example:
            >>> builder = PromptBuilder(PromptTemplate(), Verbalizer.plain(["yes", "no"]), len, 25)
            >>> builder.stretches([Example("a", {"text": "1+1"}), Example("b", {"text": "2+2"})])
            1
        """
        room, labels = self.context_window - self._overhead, self.verbalizer.labels
        fitting = [example for example in examples if self.too_long(example) is None]
        longest = [
            max((self._piece(each, label) for label in labels), key=lambda piece: piece.tokens) for each in fitting
        ]
        fewest = len(_stretches(longest, room))
        # Of two stretches that follow one another, the second began since both together had no room in one.
        return max(1, 2 * fewest - 1)

    def too_long(self, query: Example) -> str | None:
        """Why no prompt about an example can be built, not even one without demonstrations; None if one can.

        Args:
            query: the example in question.

        Raises:
            PromptError: the example cannot be rendered.
        """
        needed = self._overhead + self._piece(query, None).tokens
        if needed <= self.context_window:
            return None
        return (
            f"alone needs {needed} tokens with instruction and label, and the context window is "
            f"{self.context_window}: shorten its text, or use a model with a longer window"
        )

    @property
    def room(self) -> int:
        """Tokens that are left for demonstrations and a question."""
        return self.context_window - self._overhead

    def measured(self, example: Example) -> tuple[int, int]:
        """Tokens of an example as a demonstration, whatever its label, and as a question; nothing is kept of it.

        Args:
            example: any.

        Raises:
            PromptError: it cannot be rendered.
        """
        text = self.template.render(example)
        written = map(self.verbalizer.written, self.verbalizer.labels)
        shown = max(self.count_tokens(text + label + self.template.separator) for label in written)
        return shown, self.count_tokens(text)

    def _check_fits(self, query: Example) -> None:
        if told := self.too_long(query):
            raise PromptError(f"example {query.id!r} {told}")

    def _fitting(
        self,
        group: str | None,
        demonstrations: Sequence[tuple[Example, Label]],
        pieces: Sequence[_Piece],
        room: int,
    ) -> list[int]:
        """Positions of the demonstrations to use, in the order given."""
        ranks, tokens = [piece.rank for piece in pieces], [piece.tokens for piece in pieces]
        first, rest = defaultdict[Label, list[int]](list), defaultdict[Label, list[int]](list)
        for at in sorted(range(len(pieces)), key=ranks.__getitem__, reverse=True):
            example, label = demonstrations[at]
            near = group is not None and example.group == group
            (first if near else rest)[label].append(at)
        counts = dict.fromkeys(self.verbalizer.labels, 0)
        chosen: list[int] = []
        for queues in (first, rest):
            waiting = [label for label in counts if queues[label]]
            while waiting:
                # The label used least so far, the first of them in label order: a round robin.
                label = min(waiting, key=counts.__getitem__)
                at = queues[label].pop()
                if tokens[at] <= room:
                    chosen.append(at)
                    counts[label] += 1
                    room -= tokens[at]
                if not queues[label]:
                    waiting.remove(label)
        return sorted(chosen)

    def _piece(self, example: Example, label: Label | None) -> _Piece:
        piece = self._pieces.get((example.id, label))
        # Another data set may use the same id for another text.
        if piece is None or (piece.example is not example and piece.example != example):
            piece = self._pieces[example.id, label] = self._new_piece(example, label)
        return piece

    def _new_piece(self, example: Example, label: Label | None) -> _Piece:
        if label is not None and label not in self.verbalizer.labels:
            raise ValueError(
                f"demonstration {example.id!r} has label {label!r}, which is not in the label set "
                f"{list(self.verbalizer.labels)}"
            )
        text = self.template.render(example)
        turn = Turn(text, "" if label is None else self.verbalizer.written(label))
        shown = text if label is None else text + turn.answer + self.template.separator
        return _Piece(example, turn, self.count_tokens(shown), sha256(example.id.encode()).digest())


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Demonstrations that stand before many questions; built by `PromptBuilder.after`.

    Attributes:
        builder: makes the prompts.
        demonstrations: examples and their labels, in order.
        pieces: the same, ready for use.
        turns: the same, as a prompt has them.
        places: of the examples among them, by id.
        tokens: of each.
    """

    builder: PromptBuilder
    demonstrations: Sequence[tuple[Example, Label]]
    pieces: tuple[_Piece, ...]
    turns: tuple[Turn, ...]
    places: Mapping[str, int]
    tokens: tuple[int, ...]

    def prompt(self, query: Example) -> Prompt:
        """As `PromptBuilder.prompt` after these demonstrations.

        Args:
            query: the example in question.

        Raises:
            PromptError: the query alone is too long, or cannot be rendered.
            ValueError: the query is among the demonstrations.
        """
        if query.id in self.places:
            raise _leak(query)
        return self.builder._asked(query, self, sum(self.tokens), None)

    def prompt_after(self, query: Example, places: Sequence[int]) -> Prompt:
        """The question after some of the demonstrations, in an order of its own.

        Args:
            query: the example in question.
            places: of the demonstrations, in the order in which they are shown.

        Raises:
            PromptError: the query alone is too long, or cannot be rendered.
            ValueError: the query is among them.
        """
        if self.places.get(query.id, -1) in places:
            raise _leak(query)
        return self.builder._asked(query, self, sum(map(self.tokens.__getitem__, places)), places)


def _leak(query: Example) -> ValueError:
    return ValueError(f"example {query.id!r} is among its own demonstrations, so its label would leak")


def _stretches(pieces: Sequence[_Piece], most: int) -> list[list[_Piece]]:
    """Pieces in order, cut wherever the next one would make a stretch longer than so many tokens."""
    parts: list[list[_Piece]] = []
    left = 0
    for piece in pieces:
        if not parts or piece.tokens > left:
            parts.append([])
            left = most
        parts[-1].append(piece)
        left -= piece.tokens
    return parts
