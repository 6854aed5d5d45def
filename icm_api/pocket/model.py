"""The embedded model with numpy alone: a decoder-only transformer of Llama's shape, in float64.

Does not train, sample, batch over time, or know what a label is.

Sequences come as segments. Equal leading segments form a trie; each stretch of it without a fork is one node, whose
keys and values are computed once. Nodes of one depth go through the dense layers as one array of tokens without
padding; only attention runs node by node. In the last layer keys and values are all that later nodes need, so
everything behind them is computed for the wanted positions alone.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load as load_tensors

from icm_api.pocket.tokenizer import PocketTokenizer
from icm_api.pocket.trie import Floats, Node, Segment, build_trie, first_batch

WEIGHTS = Path(__file__).parent / "weights"
# Multiply-adds in one call to BLAS: few enough that none starts threads, which cost more than they save here.
_BLAS_WORK = 2**18


@dataclass(frozen=True)
class _Layer:
    """Weights of one layer, transposed for `x @ w`; the norms' scales and the attention's are multiplied in.

    Shapes, with width w and inner width v: qkv [w, 3w], out [w, w], gate_up [w, 2v], down [v, w].
    """

    qkv: Floats
    out: Floats
    gate_up: Floats
    down: Floats


class PocketModel:
    """The embedded model.

    Args:
        directory: A Hugging Face model directory (`config.json`, `model.safetensors`, `tokenizer.json`).

    Attributes:
        name: `pocket-` and a short hash of the weights.
        context_window: Most tokens in one sequence, BOS included: the longest the model was trained on.
        vocab_size: Number of token ids.
    """

    def __init__(self, directory: Path) -> None:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        raw = (directory / "model.safetensors").read_bytes()
        tensors = {name: tensor.astype(np.float64) for name, tensor in load_tensors(raw).items()}
        self.name = f"pocket-{hashlib.sha256(raw).hexdigest()[:8]}"
        self.context_window: int = config["max_position_embeddings"]
        self.vocab_size: int = config["vocab_size"]
        self._tokenizer = PocketTokenizer.load(directory / "tokenizer.json")
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["rms_norm_eps"]
        self._embedding = tensors["model.embed_tokens.weight"]
        self._head = (tensors["lm_head.weight"] * tensors["model.norm.weight"]).T.copy()
        self._layers = [_read_layer(tensors, index, self._heads) for index in range(config["num_hidden_layers"])]
        half = self._embedding.shape[1] // self._heads // 2
        speeds = config["rope_theta"] ** (-np.arange(half) / half)
        angles = np.arange(self.context_window)[:, None] * speeds
        self._cos, self._sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]

    @classmethod
    def load(cls, directory: Path | None = None) -> "PocketModel":
        """Load the weights in the package, or those in `directory`.

        Raises:
            FileNotFoundError: A file of the model is missing.
        """
        return cls(WEIGHTS if directory is None else directory)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of any text, without BOS, which the model puts before every sequence by itself."""
        return self._tokenizer.encode(text)

    def decode_bytes(self, token: int) -> bytes:
        """Bytes of one token; several tokens' bytes, joined, are the text's UTF-8."""
        return self._tokenizer.decode_bytes(token)

    def next_token_logprobs(self, sequences: Sequence[Sequence[Segment]]) -> Floats:
        """Log probabilities (nats) of the token after each sequence.

        Args:
            sequences: Each a sequence of segments, each a tuple of token ids. Sequences that begin with equal
                segments share their computation; how a sequence is cut does not change its result.

        Returns:
            Array [len(sequences), vocab_size]. Other sequences of the call move an entry by less than 1e-9.

        Raises:
            ValueError: A sequence is longer than the context window, or holds an id that does not exist.
        """
        return self._read(sequences, self._logprobs, self.vocab_size)

    def states(self, sequences: Sequence[Sequence[Segment]]) -> Floats:
        """What the last layer gets after each sequence: all that the model has read from it.

        Args:
            sequences: As for `next_token_logprobs`.

        Returns:
            Array [len(sequences), width], each row of mean square 1.

        Raises:
            ValueError: A sequence is longer than the context window, or holds an id that does not exist.
        """
        return self._read(sequences, self._normed, self._embedding.shape[1])

    def _read(self, sequences: Sequence[Sequence[Segment]], read: Callable[[Floats], Floats], width: int) -> Floats:
        """What `read` makes of the hidden state [wanted, hidden] after each sequence, [len(sequences), width]."""
        result = np.empty((len(sequences), width))
        if not sequences:
            return result
        work = [[build_trie(self._tokenizer.bos, sequences, self._check)]]
        while work:
            nodes = first_batch(work)
            places = [sorted({length - 1 for _, length in node.ends}) for node in nodes]
            hidden = self._forward(nodes, places)
            if len(hidden):
                found, first = read(hidden), 0
                for node, some in zip(nodes, places, strict=True):
                    for index, length in node.ends:
                        result[index] = found[first + some.index(length - 1)]
                    first += len(some)
            children = [branch for node in nodes for branch in node.branches]
            for node in nodes:
                node.branches = []
            if children:
                work.append(children)
        return result

    def token_logprobs(self, tokens: Sequence[int]) -> Floats:
        """Log probability (nats) of each token given BOS and those before it, as an array [len(tokens)].

        Raises:
            ValueError: The sequence is longer than the context window, or holds an id that does not exist.
        """
        result: Floats = self.all_logprobs(tokens)[np.arange(len(tokens)), list(tokens)]
        return result

    def all_logprobs(self, tokens: Sequence[int]) -> Floats:
        """Log probability (nats) of the whole vocabulary at each place, as an array [len(tokens), vocab_size].

        Raises:
            ValueError: The sequence is longer than the context window, or holds an id that does not exist.
        """
        ids = [int(token) for token in tokens]
        if not ids:
            return np.empty((0, self.vocab_size))
        self._check(0, ids, len(ids))
        node = Node([self._tokenizer.bos, *ids[:-1]])
        return self._logprobs(self._forward([node], [list(range(len(ids)))]))

    def _check(self, index: int, tokens: Sequence[int], length: int) -> None:
        if length + 1 > self.context_window:
            raise ValueError(
                f"{self.name}: sequence {index} has {length} tokens and BOS or more, beyond the context window of "
                f"{self.context_window}; put fewer demonstrations or shorter texts into it"
            )
        if not 0 <= min(tokens) <= max(tokens) < self.vocab_size:
            raise ValueError(
                f"{self.name}: sequence {index} holds a token id outside 0 to {self.vocab_size - 1}; "
                "encode the text with this model's own encode()"
            )

    def _forward(self, nodes: list[Node], wanted: list[list[int]]) -> Floats:
        """Compute the nodes' keys and values, and the last layer's output at their wanted positions, [wanted, width].

        `wanted` holds per node the wanted positions, counted within the node.
        """
        lengths = [len(node.tokens) for node in nodes]
        bounds = np.concatenate(([0], np.cumsum(lengths))).tolist()
        x: Floats = self._embedding[np.concatenate([node.tokens for node in nodes])]
        where = np.concatenate([np.arange(node.start, node.start + len(node.tokens)) for node in nodes])
        cos, sin = self._cos[where], self._sin[where]
        rows = [list(range(length)) for length in lengths]
        for depth, layer in enumerate(self._layers):
            q, k, v = np.split(_times(self._normed(x), layer.qkv), 3, axis=1)
            q, k = self._rotate(q, cos, sin), self._rotate(k, cos, sin)
            if depth == len(self._layers) - 1:
                rows = wanted
                keep = np.array([bounds[i] + row for i, some in enumerate(wanted) for row in some], dtype=np.intp)
                x, q = x[keep], q[keep]
            mixed = np.empty_like(q)
            begin = 0
            for index, node in enumerate(nodes):
                own = slice(bounds[index], bounds[index + 1])
                node.extend(depth, k[own], v[own])
                end = begin + len(rows[index])
                if end > begin:
                    mixed[begin:end] = self._attend(q[begin:end], node, depth, rows[index])
                begin = end
            x = x + _times(mixed, layer.out)
            gate, up = np.split(_times(self._normed(x), layer.gate_up), 2, axis=1)
            x = x + _times(gate * up * (0.5 + 0.5 * np.tanh(0.5 * gate)), layer.down)
        return x

    def _attend(self, q: Floats, node: Node, depth: int, rows: list[int]) -> Floats:
        """Mix the values for the queries `q` [len(rows), width] at `rows` of the node, a block of rows at a time."""
        queries, keys, values = map(self._by_head, (q, node.keys[depth], node.values[depth]))
        mixed = np.empty_like(queries)
        size = max(1, _BLAS_WORK // keys[0].size)
        for first in range(0, len(rows), size):
            block = rows[first : first + size]
            seen = node.start + block[-1] + 1
            scores = np.matmul(queries[:, first : first + len(block)], keys[:, :seen].transpose(0, 2, 1))
            later = np.arange(block[0], block[-1] + 1)[None, :] > np.array(block)[:, None]
            scores[:, :, node.start + block[0] :][:, later] = -np.inf
            scores -= scores.max(axis=2, keepdims=True)
            np.exp(scores, out=scores)
            totals = scores.sum(axis=2, keepdims=True)
            mixed[:, first : first + len(block)] = np.matmul(scores, values[:, :seen]) / totals
        result: Floats = mixed.transpose(1, 0, 2).reshape(q.shape)
        return result

    def _by_head(self, x: Floats) -> Floats:
        return x.reshape(len(x), self._heads, -1).transpose(1, 0, 2)

    def _normed(self, x: Floats) -> Floats:
        mean_square = np.einsum("tw,tw->t", x, x) / x.shape[1]
        normed: Floats = x / np.sqrt(mean_square + self._epsilon)[:, None]
        return normed

    def _rotate(self, x: Floats, cos: Floats, sin: Floats) -> Floats:
        first, second = np.split(x.reshape(len(x), self._heads, -1), 2, axis=2)
        rotated = np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=2)
        return rotated.reshape(x.shape)

    def _logprobs(self, hidden: Floats) -> Floats:
        logits = _times(self._normed(hidden), self._head)
        logits -= logits.max(axis=1, keepdims=True)
        logprobs: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logprobs


def _read_layer(tensors: dict[str, Floats], index: int, heads: int) -> _Layer:
    prefix = f"model.layers.{index}."
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    before = tensors[f"{prefix}input_layernorm.weight"]
    between = tensors[f"{prefix}post_attention_layernorm.weight"]
    q, k, v = (tensors[f"{attention}{name}_proj.weight"] * before for name in "qkv")
    q = q / np.sqrt(len(q) // heads)
    gate, up = (tensors[f"{mlp}{name}_proj.weight"] * between for name in ("gate", "up"))
    return _Layer(
        qkv=np.concatenate((q, k, v)).T.copy(),
        out=tensors[f"{attention}o_proj.weight"].T.copy(),
        gate_up=np.concatenate((gate, up)).T.copy(),
        down=tensors[f"{mlp}down_proj.weight"].T.copy(),
    )


def _times(x: Floats, weights: Floats) -> Floats:
    """The product `x @ weights`, in blocks of rows."""
    result = np.empty((len(x), weights.shape[1]))
    size = max(1, _BLAS_WORK // weights.size)
    whole = len(x) - len(x) % size
    if whole:
        blocks = (whole // size, size, -1)
        np.matmul(x[:whole].reshape(blocks), weights, out=result[:whole].reshape(blocks))
    np.matmul(x[whole:], weights, out=result[whole:])
    return result
