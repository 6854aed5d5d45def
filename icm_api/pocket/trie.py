"""Token sequences as a trie of shared beginnings, in the order in which the model computes it.

It does: join sequences that begin with equal segments, keep each node's keys and values, and hand out batches of
nodes whose parents are done.
It does not: compute anything of the model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Segment = tuple[int, ...]

# Tokens, those of the prefixes included, whose keys and values one batch of nodes may hold. Small is fast: it
# stays in cache.
_BATCH_TOKENS = 4096


@dataclass
class Node:
    """A stretch of the trie without a fork.

    Attributes:
        tokens: What follows the parent's tokens.
        parent: The node before this one.
        children: The nodes after this one, by their first segment.
        ends: Indices of the sequences that end here.
        start: Position of the first of `tokens`.
        keys: Per layer, [start + len(tokens), width]: those of all nodes before included.
        values: The same for the values.
    """

    tokens: list[int]
    parent: "Node | None" = None
    children: dict[Segment, "Node"] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    start: int = 0
    keys: list[Floats] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)

    def extend(self, depth: int, keys: Floats, values: Floats) -> None:
        """Keep one more layer's keys and values of this node's tokens, behind the parent's."""
        if self.parent is not None:
            keys = np.concatenate((self.parent.keys[depth], keys))
            values = np.concatenate((self.parent.values[depth], values))
        self.keys.append(keys)
        self.values.append(values)


def build_trie(bos: int, sequences: Sequence[Sequence[Segment]], check: Callable[[int, Segment, int], None]) -> Node:
    """Build the trie of all sequences, each behind BOS, and return its root.

    Args:
        bos: The root's token.
        sequences: Each a sequence of segments of token ids.
        check: Called with the index of a sequence, a segment not seen before at its place, and the sequence's
            length up to that segment's end; raises if they don't suit the model.
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
        node.ends.append(index)
    _compress(root)
    return root


def _compress(root: Node) -> None:
    """Join every node with its only child, and tell the nodes their parents and positions."""
    stack = [root]
    while stack:
        node = stack.pop()
        while len(node.children) == 1 and not node.ends:
            (child,) = node.children.values()
            node.tokens += child.tokens
            node.children, node.ends = child.children, child.ends
        for child in node.children.values():
            child.parent, child.start = node, node.start + len(node.tokens)
            stack.append(child)


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
