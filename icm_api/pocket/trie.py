"""The trie of the sequences that the embedded model is asked about: what begins alike is computed once.

Does not compute; `model` does, and keeps keys and values in the nodes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Segment = tuple[int, ...]

# Tokens, those of the prefixes included, whose keys and values one batch of nodes may hold. Small stays in cache.
_BATCH_TOKENS = 4096


@dataclass
class Node:
    """A stretch of the trie without a fork.

    Attributes:
        tokens: The tokens after the parent's.
        parent: The node before this one.
        children: While the trie is built, the nodes after this one, by their first segment.
        branches: What is computed after this node, from the keys and values of its first tokens.
        ends: Sequences that end here, each with how many of the node's tokens it has.
        start: Position of the first of `tokens`. The parent may have further tokens that are not before them.
        keys: Per layer, [start + len(tokens), width]: the keys of all nodes before included.
        values: The same for the values.
    """

    tokens: list[int]
    parent: "Node | None" = None
    children: dict[Segment, "Node"] = field(default_factory=dict)
    branches: "list[Node]" = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)
    start: int = 0
    keys: list[Floats] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)

    def extend(self, depth: int, keys: Floats, values: Floats) -> None:
        """Keep one more layer's keys and values of this node's tokens, behind the parent's."""
        if self.parent is not None:
            keys = np.concatenate((self.parent.keys[depth][: self.start], keys))
            values = np.concatenate((self.parent.values[depth][: self.start], values))
        self.keys.append(keys)
        self.values.append(values)


def build_trie(bos: int, sequences: Sequence[Sequence[Segment]], check: Callable[[int, Segment, int], None]) -> Node:
    """The root of the trie of all sequences, each behind BOS.

    `check` is called with the index of a sequence, a segment not seen before at its place, and the sequence's length
    in tokens up to that segment's end; it raises if they don't suit the model.
    """
    root = Node([bos])
    for index, segments in enumerate(sequences):
        node, length = root, 0
        for segment in segments:
            if not segment:
                continue
            length += len(segment)
            child = node.children.get(segment)
            if child is None:
                check(index, segment, length)
                child = node.children[segment] = Node(list(segment))
            node = child
        node.ends.append((index, len(node.tokens)))
    _compress(root)
    return root


def _compress(root: Node) -> None:
    """Join every node with the child that most tokens follow, and tell the others their parents and positions."""
    order = [root]
    for node in order:
        order += node.children.values()
    weights: dict[int, int] = {}
    for node in reversed(order):
        weights[id(node)] = len(node.tokens) + sum(weights[id(child)] for child in node.children.values())
    stack = [root]
    while stack:
        node = stack.pop()
        children = list(node.children.values())
        while children:
            ahead = max(children, key=lambda child: weights[id(child)])
            _branch_off(node, [child for child in children if child is not ahead], stack)
            node.ends += [(index, len(node.tokens) + length) for index, length in ahead.ends]
            node.tokens += ahead.tokens
            children = list(ahead.children.values())
        node.children = {}


def _branch_off(node: Node, children: list[Node], stack: list[Node]) -> None:
    for child in children:
        child.parent, child.start = node, node.start + len(node.tokens)
    node.branches += children
    stack += children


def first_batch(work: list[list[Node]]) -> list[Node]:
    """Take the last list of nodes off the stack `work`, or as much of it as may be held at once."""
    nodes = work.pop()
    held = 0
    for count, node in enumerate(nodes):
        held += node.start + len(node.tokens)
        if held > _BATCH_TOKENS and count:
            work.append(nodes[count:])
            return nodes[:count]
    return nodes
