"""Train the embedded model from scratch: `python -m icm_api.pocket.train --out DIR`.

Trains on the labels of the made-up world's documents alone, writes a Hugging Face model directory, and prints what the
model then knows. Needs torch, uses one thread, and does not run when the library is used.

The first steps hold only truthful documents, or the truth is not found; then the other labellers come in. A second
stage, with a fresh optimizer, has documents as long as the context window: without it, sums are lost beyond 40 claims.

The weights in the package are those of the defaults, trained in 27 and 12 minutes, the two stages, on one core of two
that were busy with other work. It then printed, of 32 claims in the context:

    task            zero random golden   32 demonstrations, 8 seeds
    sums           60.9%  64.6% 100.0%
    comparisons    67.0%  45.9% 100.0%
    facts          48.4%  55.7%  96.3%
    lucky          45.7%  53.7%  53.3%
    facts, myths   44.6%  44.7%  81.8%

    task         labeling      50*P      I       U   32 claims, 4 seeds
    sums         truth        -2.44    0.0   -2.44
    sums         inverse     -30.95    8.0  -38.95
    sums         all True     -1.46   36.8  -38.21
    comparisons  truth        -1.24    0.0   -1.24
    comparisons  inverse     -26.97    0.0  -26.97
    comparisons  all True     -1.42   16.0  -17.42
    facts        truth        -8.07    0.0   -8.07
    facts        inverse     -29.47    3.5  -32.97
    facts        all True     -1.40   21.0  -22.40
    facts        belief      -16.01    0.0  -16.01

and more rivals of the truth, none of them closer. `lucky` has no relations, and there all-True is the most coherent.
"""

import argparse
import json
import math
import random
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from icm_api.pocket.corpus import Corpus, Document, make_tokenizer
from icm_api.pocket.tokenizer import PocketTokenizer

_Parameters = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What shapes a training run; every field is a flag of the command line.

    Attributes:
        seed: Of weights and documents.
        truthful_steps: Steps of truthful documents alone.
        steps: All steps of the first stage.
        long_steps: Steps of the second stage, of long documents.
        rate: Peak learning rate of the first stage.
        long_rate: Peak learning rate of the second stage.
        layers: How many.
        width: Of the hidden states.
        heads: Of the attention; they share the width.
        inner: Width inside the feed-forward layers.
        window: Most tokens in one sequence, BOS included.
    """

    seed: int = 0
    truthful_steps: int = 2500
    steps: int = 7000
    long_steps: int = 2000
    rate: float = 3e-3
    long_rate: float = 1.5e-3
    layers: int = 3
    width: int = 64
    heads: int = 4
    inner: int = 192
    window: int = 1024


def _new_parameters(plan: Plan, vocabulary: int) -> _Parameters:
    """Fresh weights under the names that Hugging Face gives to Llama's."""
    import torch

    torch.manual_seed(plan.seed)
    width, inner = plan.width, plan.inner

    def matrix(rows: int, columns: int, scale: float) -> Any:
        return (torch.randn(rows, columns) * scale).requires_grad_()

    def norm() -> Any:
        return torch.ones(width, requires_grad=True)

    inward, outward = width**-0.5, (2 * plan.layers) ** -0.5
    parameters = {"model.embed_tokens.weight": matrix(vocabulary, width, 0.02)}
    for index in range(plan.layers):
        layer = f"model.layers.{index}."
        parameters[f"{layer}input_layernorm.weight"] = norm()
        parameters[f"{layer}post_attention_layernorm.weight"] = norm()
        for name in "qkv":
            parameters[f"{layer}self_attn.{name}_proj.weight"] = matrix(width, width, inward)
        parameters[f"{layer}self_attn.o_proj.weight"] = matrix(width, width, inward * outward)
        for name in ("gate", "up"):
            parameters[f"{layer}mlp.{name}_proj.weight"] = matrix(inner, width, inward)
        parameters[f"{layer}mlp.down_proj.weight"] = matrix(width, inner, inner**-0.5 * outward)
    parameters["model.norm.weight"] = norm()
    parameters["lm_head.weight"] = matrix(vocabulary, width, 0.02)
    return parameters


def _rotations(plan: Plan) -> tuple[Any, Any]:
    """Cosines and sines of the rotary position embedding, [window, width / heads]."""
    import torch

    half = plan.width // plan.heads // 2
    angles = torch.arange(plan.window)[:, None] * 10000.0 ** (-torch.arange(half) / half)
    return torch.cat((angles, angles), 1).cos(), torch.cat((angles, angles), 1).sin()


def _forward(parameters: _Parameters, plan: Plan, ids: Any, turn: tuple[Any, Any]) -> Any:
    """The last hidden states, [batch, length, width], of token ids [batch, length]."""
    import torch
    from torch.nn import functional

    batch, length = ids.shape
    cos, sin = turn[0][:length], turn[1][:length]

    def norm(x: Any, name: str) -> Any:
        return functional.rms_norm(x, (plan.width,), parameters[name], 1e-6)

    def rotate(x: Any) -> Any:
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), -1) * sin

    x = functional.embedding(ids, parameters["model.embed_tokens.weight"])
    for index in range(plan.layers):
        layer = f"model.layers.{index}."
        weights = [parameters[f"{layer}self_attn.{name}_proj.weight"] for name in "qkvo"]
        h = norm(x, f"{layer}input_layernorm.weight")
        q, k, v = ((h @ w.T).view(batch, length, plan.heads, -1).transpose(1, 2) for w in weights[:3])
        mixed = functional.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        x = x + mixed.transpose(1, 2).reshape(batch, length, plan.width) @ weights[3].T
        h = norm(x, f"{layer}post_attention_layernorm.weight")
        gate, up, down = (parameters[f"{layer}mlp.{name}_proj.weight"] for name in ("gate", "up", "down"))
        x = x + (functional.silu(h @ gate.T) * (h @ up.T)) @ down.T
    return norm(x, "model.norm.weight")


def _draw_batch(plan: Plan, step: int, corpus: Corpus) -> list[Document]:
    """The documents of one step, a function of the seed and the step."""
    rng = random.Random(f"{plan.seed}/{step}")
    if step < plan.truthful_steps:
        shapes = {(24, 128): 0.85, (24, 256): 0.15}
    elif step < 0.75 * plan.steps:
        shapes = {(48, 128): 0.5, (24, 256): 0.5}
    elif step < plan.steps:
        shapes = {(48, 128): 0.15, (24, 256): 0.45, (12, 512): 0.25, (6, plan.window): 0.15}
    else:
        shapes = {(24, 256): 0.25, (12, 512): 0.3, (9, 704): 0.3, (6, plan.window): 0.15}
    ((size, length),) = rng.choices(list(shapes), list(shapes.values()))
    mixture = min(1.0, max(0.0, (step - plan.truthful_steps) / 500))
    return [corpus.document(length, rng.random() >= mixture, rng) for _ in range(size)]


def _label_losses(parameters: _Parameters, plan: Plan, documents: list[Document], turn: tuple[Any, Any]) -> Any:
    """Cross-entropy, over the whole vocabulary, at every label of the documents."""
    import torch
    from torch.nn import functional

    longest = max(len(document.tokens) for document in documents)
    ids = torch.tensor([[*d.tokens, *[d.tokens[0]] * (longest - len(d.tokens))] for d in documents])
    rows = torch.tensor([row for row, document in enumerate(documents) for _ in document.labels])
    places = torch.tensor([place for document in documents for place in document.labels])
    hidden = _forward(parameters, plan, ids, turn)[rows, places - 1]
    logits = hidden @ parameters["lm_head.weight"].T
    return functional.cross_entropy(logits, ids[rows, places], reduction="none")


def _learning_rate(plan: Plan, step: int) -> float:
    """Warm-up and cosine decay, once for each of the two stages."""
    first, steps, peak = (0, plan.steps, plan.rate)
    if step >= plan.steps:
        first, steps, peak = (plan.steps, plan.long_steps, plan.long_rate)
    done = step - first
    return peak * min(1.0, (done + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done / steps)) + 1e-5


def train(plan: Plan, out: Path) -> None:
    """Run the whole plan, saving now and then.

    Args:
        plan: What shapes the training.
        out: Directory to write the model to.
    """
    import torch

    torch.set_num_threads(1)
    parameters = _new_parameters(plan, make_tokenizer().size)
    for stage in (range(plan.steps), range(plan.steps, plan.steps + plan.long_steps)):
        _train_stage(parameters, plan, stage, out)


def _train_stage(parameters: _Parameters, plan: Plan, stage: range, out: Path) -> None:
    """Train `parameters` in place for the steps of one stage, with a fresh optimizer."""
    import torch

    tokenizer = make_tokenizer()
    corpus, turn = Corpus(tokenizer), _rotations(plan)
    groups = [
        {"params": [p for p in parameters.values() if p.dim() == 2], "weight_decay": 0.05},
        {"params": [p for p in parameters.values() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
    started, tallies = time.monotonic(), _Tallies()
    for step in stage:
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(plan, step)
        documents = _draw_batch(plan, step, corpus)
        losses = _label_losses(parameters, plan, documents, turn)
        optimizer.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimizer.step()
        tallies.add(documents, losses.tolist())
        if (step + 1) % 100 == 0:
            _say(f"step {step + 1}, {time.monotonic() - started:.0f} s: {tallies.flush()}")
        if (step + 1) % 500 == 0 or step + 1 == stage.stop:
            _save(parameters, plan, tokenizer, out)


class _Tallies:
    """Mean loss per kind of document and rule since the last flush."""

    def __init__(self) -> None:
        self._losses: dict[str, list[float]] = {}

    def add(self, documents: list[Document], losses: list[float]) -> None:
        """Count the losses, which come in the order of the documents' labels."""
        rest = iter(losses)
        for document in documents:
            key = f"{document.kind}/{document.rule}"
            self._losses.setdefault(key, []).extend(next(rest) for _ in document.labels)

    def flush(self) -> str:
        """The means as one line, and start anew."""
        means = (f"{key} {sum(some) / len(some):.3f}" for key, some in sorted(self._losses.items()) if some)
        line = ", ".join(means)
        self._losses = {}
        return line


def _save(parameters: _Parameters, plan: Plan, tokenizer: PocketTokenizer, out: Path) -> None:
    """Write the directory that this package and Hugging Face read."""
    from safetensors.torch import save as to_bytes

    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: parameter.detach().contiguous() for name, parameter in parameters.items()}
    (out / "model.safetensors").write_bytes(to_bytes(tensors, {"format": "pt"}))
    tokenizer.save(out, plan.window)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokenizer.size,
        "hidden_size": plan.width,
        "intermediate_size": plan.inner,
        "num_hidden_layers": plan.layers,
        "num_attention_heads": plan.heads,
        "num_key_value_heads": plan.heads,
        "head_dim": plan.width // plan.heads,
        "hidden_act": "silu",
        "max_position_embeddings": plan.window,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.bos,
        "eos_token_id": tokenizer.bos,
        "pad_token_id": tokenizer.bos,
        "torch_dtype": "float32",
        "use_cache": True,
    }
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _say(line: str) -> None:
    """Write a line of progress."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the flags, train, and print the tables of `measure`."""
    parser = argparse.ArgumentParser(prog="python -m icm_api.pocket.train", description="Train the embedded model.")
    parser.add_argument("--out", type=Path, required=True, help="directory to write the model to")
    for flag in fields(Plan):
        kind = float if flag.type is float else int
        parser.add_argument(f"--{flag.name.replace('_', '-')}", type=kind, default=flag.default)
    flags = vars(parser.parse_args())
    out = flags.pop("out")
    try:
        import torch  # noqa: F401
    except ImportError:
        raise SystemExit("training the embedded model needs torch: pip install torch") from None
    train(Plan(**flags), out)
    from icm_api.pocket.measure import accuracy_table, utility_table
    from icm_api.pocket.model import PocketModel

    model = PocketModel.load(out)
    for line in (*accuracy_table(model), "", *utility_table(model)):
        _say(line)


if __name__ == "__main__":
    main()
