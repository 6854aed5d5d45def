"""The embedded model in numpy: against a plain forward pass, against transformers, and its behaviour."""

import json
import random

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from icm_api.pocket.measure import accuracy, broken, mutual_predictability
from icm_api.pocket.model import WEIGHTS, PocketModel
from icm_api.pocket.world import make_claims, make_split

Floats = NDArray[np.float64]
Segments = tuple[tuple[int, ...], ...]


@pytest.fixture(scope="module")
def model() -> PocketModel:
    return PocketModel.load()


def plain_logprobs(tokens: list[int]) -> Floats:
    """Llama's forward pass as one would write it first: one sequence, one head at a time, no cache."""
    config = json.loads((WEIGHTS / "config.json").read_text())
    weights = {name: array.astype(np.float64) for name, array in load_file(WEIGHTS / "model.safetensors").items()}
    heads, size = config["num_attention_heads"], config["head_dim"]
    angles = np.outer(np.arange(len(tokens)), config["rope_theta"] ** (-np.arange(0, size, 2) / size))
    cos, sin = np.cos(np.hstack((angles, angles))), np.sin(np.hstack((angles, angles)))

    def norm(x: Floats, name: str) -> Floats:
        normed: Floats = weights[name] * x / np.sqrt((x**2).mean(axis=1, keepdims=True) + config["rms_norm_eps"])
        return normed

    def turn(x: Floats) -> Floats:
        turned: Floats = x * cos + np.hstack((-x[:, size // 2 :], x[:, : size // 2])) * sin
        return turned

    x = weights["model.embed_tokens.weight"][tokens]
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}."
        h = norm(x, f"{layer}input_layernorm.weight")
        q, k, v = (h @ weights[f"{layer}self_attn.{name}_proj.weight"].T for name in "qkv")
        outputs = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = turn(q[:, part]) @ turn(k[:, part]).T / np.sqrt(size)
            scores[np.triu_indices(len(tokens), 1)] = -np.inf
            odds = np.exp(scores - scores.max(axis=1, keepdims=True))
            outputs.append(odds / odds.sum(axis=1, keepdims=True) @ v[:, part])
        x = x + np.hstack(outputs) @ weights[f"{layer}self_attn.o_proj.weight"].T
        h = norm(x, f"{layer}post_attention_layernorm.weight")
        gate, up = (h @ weights[f"{layer}mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ weights[f"{layer}mlp.down_proj.weight"].T
    logits: Floats = norm(x, "model.norm.weight") @ weights["lm_head.weight"].T
    logprobs: Floats = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logprobs


def sequences_with_shared_beginnings(model: PocketModel, seed: int) -> list[Segments]:
    """Beginnings shared to every depth, equal sequences, one a beginning of another, and an empty one."""
    rng = random.Random(seed)
    lines = [model.encode(f"{claim.text} {claim.truth}\n") for claim in make_claims("sums", 12, seed)]
    found: list[Segments] = [(), (lines[0],), (lines[0], lines[1]), (lines[0], (), lines[1]), (lines[5],)]
    for _ in range(12):
        base = rng.choice(found)
        found.append((*base, *rng.sample(lines, rng.randrange(1, 4))))
    rng.shuffle(found)
    return found


def joined(segments: Segments) -> tuple[int, ...]:
    return tuple(token for segment in segments for token in segment)


def test_equals_a_plain_forward_pass(model: PocketModel) -> None:
    sequences = sequences_with_shared_beginnings(model, 0)
    result = model.next_token_logprobs(sequences)
    assert result.shape == (len(sequences), model.vocab_size)
    for segments, row in zip(sequences, result, strict=True):
        expected = plain_logprobs([model.vocab_size - 1, *joined(segments)])[-1]
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-9)


def test_rows_are_distributions(model: PocketModel) -> None:
    result = model.next_token_logprobs(sequences_with_shared_beginnings(model, 1))
    np.testing.assert_allclose(np.exp(result).sum(axis=1), 1, rtol=0, atol=1e-12)


def test_company_order_and_cuts_change_nothing(model: PocketModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = sequences_with_shared_beginnings(model, 2)
    together = model.next_token_logprobs(sequences)
    alone = np.concatenate([model.next_token_logprobs([segments]) for segments in sequences])
    uncut = model.next_token_logprobs([(joined(segments),) for segments in sequences])
    backwards = model.next_token_logprobs(sequences[::-1])[::-1]
    monkeypatch.setattr("icm_api.pocket.trie._BATCH_TOKENS", 40)
    few_at_once = model.next_token_logprobs(sequences)
    for other in (alone, uncut, backwards, few_at_once):
        np.testing.assert_allclose(other, together, rtol=0, atol=1e-9)


def test_echo_equals_a_plain_forward_pass(model: PocketModel) -> None:
    tokens = model.encode("47>12 True\nArlo eats fish False\nfree text \u00e9 True\n")
    expected = plain_logprobs([model.vocab_size - 1, *tokens])[np.arange(len(tokens)), tokens]
    np.testing.assert_allclose(model.token_logprobs(tokens), expected, rtol=0, atol=1e-9)
    by_step = [model.next_token_logprobs([(tokens[:at],)])[0, token] for at, token in enumerate(tokens)]
    np.testing.assert_allclose(model.token_logprobs(tokens), by_step, rtol=0, atol=1e-9)


def test_nothing_in_nothing_out(model: PocketModel) -> None:
    assert model.next_token_logprobs([]).shape == (0, model.vocab_size)
    assert model.token_logprobs([]).shape == (0,)


def test_too_long_and_unknown_ids_are_errors(model: PocketModel) -> None:
    full = (10,) * (model.context_window - 1)
    assert np.isfinite(model.next_token_logprobs([(full,)])).all()
    with pytest.raises(ValueError, match=r"sequence 1 has \d+ tokens.*context window"):
        model.next_token_logprobs([(full,), (full, (10,))])
    with pytest.raises(ValueError, match="context window"):
        model.token_logprobs((*full, 10))
    for bad in (-1, model.vocab_size):
        with pytest.raises(ValueError, match="token id outside"):
            model.next_token_logprobs([((bad,),)])


def test_name_is_a_hash_of_the_weights(model: PocketModel) -> None:
    assert model.name == PocketModel.load(WEIGHTS).name
    assert model.name.startswith("pocket-")


def test_agrees_with_transformers(model: PocketModel) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.set_num_threads(1)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(str(WEIGHTS)).double().eval()
    lines = [f"{claim.text} {claim.truth}\n" for task in ("sums", "facts") for claim in make_claims(task, 24, 0)]
    tokens = model.encode("".join(lines) + "caf\u00e9 True\n")
    with torch.no_grad():
        logits = theirs(torch.tensor([[model.vocab_size - 1, *tokens]])).logits[0]
    # Transformers keeps angles and norms in float32 whatever the weights are in.
    expected = torch.log_softmax(logits, -1).numpy()
    np.testing.assert_allclose(model.next_token_logprobs([(tokens,)])[0], expected[-1], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        model.token_logprobs(tokens), expected[np.arange(len(tokens)), tokens], rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("task", ["comparisons", "sums"])
def test_golden_labels_in_context_elicit_the_truth(model: PocketModel, task: str) -> None:
    golden, zero = [], []
    for seed in range(4):
        train, test = make_split(task, 32, 64, 100 + seed)
        golden.append(accuracy(model, [(claim, claim.truth) for claim in train], test))
        zero.append(accuracy(model, [], test))
    assert np.mean(golden) >= 0.95
    assert np.mean(zero) <= np.mean(golden) - 0.1


@pytest.mark.parametrize("task", ["comparisons", "sums"])
def test_long_contexts_elicit_it_too(model: PocketModel, task: str) -> None:
    train, test = make_split(task, 63, 32, 100)
    assert accuracy(model, [(claim, claim.truth) for claim in train], test) >= 0.95


def test_a_concept_outside_the_corpus_stays_at_chance(model: PocketModel) -> None:
    golden = []
    for seed in range(4):
        train, test = make_split("lucky", 32, 64, 100 + seed)
        golden.append(accuracy(model, [(claim, claim.truth) for claim in train], test))
    assert 0.4 <= np.mean(golden) <= 0.6


@pytest.mark.parametrize("task", ["comparisons", "sums"])
def test_truth_is_more_coherent_than_its_rivals(model: PocketModel, task: str) -> None:
    claims = make_claims(task, 32, 100)
    truth = [claim.truth for claim in claims]

    def utility(labels: list[bool]) -> float:
        return 50 * mutual_predictability(model, claims, labels) - broken(claims, labels)

    assert utility(truth) > -6
    assert utility(truth) > utility([not label for label in truth]) + 8
    assert utility(truth) > utility([True] * len(claims)) + 8
