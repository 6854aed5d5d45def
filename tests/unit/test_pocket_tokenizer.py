"""The embedded model's tokenizer: round trips, composition, and agreement with Hugging Face."""

import random

import pytest

from icm_api.pocket.corpus import make_tokenizer
from icm_api.pocket.model import WEIGHTS, PocketModel
from icm_api.pocket.tokenizer import BOS, PocketTokenizer
from icm_api.pocket.world import TASKS, make_claims

TEXTS = [
    "",
    "\n",
    " ",
    " True",
    "True",
    "  True\n\n False ",
    "47>12 True\n7+8=15 False\nArlo eats fish True\nlucky 12,99 False\n",
    "Trueish True-ish unTrue Arloeats Arlo  eats",
    "caf\u00e9 na\u00efve \u4f60\u597d \U0001f600 \u00a0x\u2028y\u0000\x7f\r\n\tz",
]


def random_text(rng: random.Random) -> str:
    pieces = [
        " True",
        " False",
        "\n",
        " ",
        "Arlo",
        " eats",
        "4",
        "+",
        "\u00e9",
        "\u2003",
        "\U0001f600",
        "tRue",
        "<|",
    ]
    letters = [chr(rng.choice([rng.randrange(128), rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))]
    return "".join(rng.choice(pieces + letters) for _ in range(rng.randrange(30)))


@pytest.fixture(scope="module")
def model() -> PocketModel:
    return PocketModel.load()


def test_any_text_comes_back(model: PocketModel) -> None:
    rng = random.Random(0)
    for text in TEXTS + [random_text(rng) for _ in range(300)]:
        tokens = model.encode(text)
        assert b"".join(map(model.decode_bytes, tokens)) == text.encode()
        assert all(0 <= token < model.vocab_size - 1 for token in tokens)


def test_every_byte_is_a_token(model: PocketModel) -> None:
    assert [model.decode_bytes(byte) for byte in range(256)] == [bytes([byte]) for byte in range(256)]
    with pytest.raises(ValueError, match="outside"):
        model.decode_bytes(model.vocab_size)


def test_composes_at_newlines_and_spaces(model: PocketModel) -> None:
    rng = random.Random(1)
    for _ in range(300):
        a, b = random_text(rng), random_text(rng)
        assert model.encode(a + "\n") + model.encode(b) == model.encode(a + "\n" + b)
        assert model.encode(a) + model.encode(" " + b) == model.encode(a + " " + b)
        assert model.encode(a) + model.encode("\n" + b) == model.encode(a + "\n" + b)


def test_labels_are_one_token_and_claims_are_short(model: PocketModel) -> None:
    assert len(model.encode(" True")) == len(model.encode(" False")) == 1
    for task in TASKS:
        for claim in make_claims(task, 64, 0):
            assert len(model.encode(f"{claim.text} True\n")) <= 12
            assert model.encode(f"{claim.text} True\n")[-2:] == model.encode(" True") + model.encode("\n")


def test_half_a_surrogate_pair_is_an_error(model: PocketModel) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        model.encode("\ud800")


def test_weights_hold_the_vocabulary_of_the_world(model: PocketModel) -> None:
    fresh, stored = make_tokenizer(), PocketTokenizer.load(WEIGHTS / "tokenizer.json")
    assert fresh.size == stored.size == model.vocab_size
    assert all(fresh.decode_bytes(token) == stored.decode_bytes(token) for token in range(fresh.size))


def test_agrees_with_hugging_face(model: PocketModel) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(WEIGHTS))
    rng = random.Random(2)
    world = ["".join(f"{claim.text} True\n" for claim in make_claims(task, 16, 1)) for task in TASKS]
    for text in TEXTS + world + [random_text(rng) for _ in range(300)]:
        assert tuple(theirs.encode(text, add_special_tokens=False)) == model.encode(text)
        assert theirs.decode(theirs.encode(text, add_special_tokens=False)) == text
    assert theirs.encode("\n") == [model.vocab_size - 1, *model.encode("\n")]
    assert theirs.bos_token == BOS
