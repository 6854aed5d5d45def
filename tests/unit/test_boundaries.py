"""What stands for a whole prompt before a label: the same tokens as after all of it, by many kinds of tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from icm_api.errors import CapabilityError
from icm_api.model.reading.boundaries import WORDS, boundary, joins_words
from icm_api.model.reading.exact_ids import ids_after
from icm_api.pocket.model import PocketModel

GUIDE = sorted((Path(__file__).parents[2] / "cookbook" / "guide").glob("*.md"))
Encode = Callable[[str], Sequence[int]]

ROWS = (
    "Is it so that number 5 of the rows of this file is larger than 1387?",
    "The sum of 12 and 30 is 42",
    "She said: 'No, it isn't.'",
    'He shouted "Stop!!" (twice...)',
    "def f(x):\n    return x[0]",
    "for (;;) { i++; }",
    "Привет, как дела",
    "这个句子是对的。",
    "東京は日本の首都です",
    "한국의 수도는 서울이다!",
    "हिन्दी में लिखा है",
    "ภาษาไทยไม่มีช่องว่าง",
    "هل هذا صحيح؟",
    "השמש זורחת",
    "Cafe\u0301 nai\u0308ve",
    "x² + y² = z²",
    "Great 😂😂🎉",
    "👩‍👩‍👧‍👦 family",
    "¿Qué? ¡Sí! …",
    "<p>Some <b>words</b></p>",
    "cells.[12]",
    "A turn.<|im_end|>",
    "It ends here</s>",
    "a ▁▁",
    "7>3",
    ">",
    "?",
    "Wide　space",
    "tabs\tand  many   spaces     here",
    "======= ////",
    "3.14159",
    "price: $5",
    "100%",
    "e-mail@example.org",
    "zero\u200bwidth\u200b",
)
ENDS = (
    "",
    "\nLabel:",
    "\n\nAnswer: (",
    "\n###",
    " →",
    "\uff1f",
    "\nThe claim is",
    " ",
    "\n",
    " \n\n",
    "\t",
    "\u3000",
    "  ",
)
FORMS = (
    " True",
    " False",
    "\nTrue",
    "\n\nNo",
    "True",
    "A)",
    "  yes",
    "\tB",
    "对",
    " 对",
    "。",
    "'s",
    "!",
    ".\n",
    "/x",
    "42",
)
TEXTS = tuple(row + end for row in ROWS for end in ENDS)


def test_any_number_of_texts_has_few_boundaries() -> None:
    texts = [
        f"{at} {row.rstrip('.?!')}{at * 7919 % 1000}{end}"
        for at in range(300)
        for row in ROWS
        for end in (".", "", "?!")
    ]
    assert len({boundary(text, " True") for text in texts}) <= 3
    assert len({boundary(text, "\nTrue") for text in texts}) <= 9


def after(encode: Encode, before: str, form: str) -> tuple[int, ...] | None:
    """The form's tokens; None if one of them is also of the text before."""
    try:
        return ids_after(encode(before), encode(before + form), form)
    except CapabilityError:
        return None


def astray(encode: Encode) -> list[tuple[str, str, str]]:
    """Where the short text says something else than the whole one."""
    found = []
    for text in TEXTS:
        for form in FORMS:
            short = boundary(text, form)
            if after(encode, short, form) != after(encode, text, form):
                found.append((text, form, short))
    return found


def test_the_embedded_model() -> None:
    encode = PocketModel.load().encode
    assert not joins_words(encode(WORDS))
    assert astray(encode) == []


# How tokenizers in use cut a text before they look for tokens: GPT-2's takes white space alone, or before a word; later
# ones take newlines to the symbols before them.
_PIECES = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# What SentencePiece never has within a token.
_OTHER_SPACE = r"[^\S ]+"


def trained(kind: str) -> Encode:
    """A small tokenizer of a kind, trained on the texts here and on the guide."""
    tokenizers = pytest.importorskip("tokenizers")
    models, cut, trainers = tokenizers.models, tokenizers.pre_tokenizers, tokenizers.trainers
    regex, size = tokenizers.Regex, 2000
    joined = cut.ByteLevel(add_prefix_space=False, use_regex=False)
    by_word = cut.Sequence([cut.Split(regex(_OTHER_SPACE), "isolated"), cut.Metaspace()])
    model, before = {
        "GPT-2": (models.BPE(), cut.ByteLevel(add_prefix_space=False)),
        "later": (models.BPE(), cut.Sequence([cut.Split(regex(_PIECES), "isolated"), joined])),
        "open boxes": (models.BPE(unk_token="?", fuse_unk=True), by_word),
        "unigram": (models.Unigram(), by_word),
        "word pieces": (models.WordPiece(unk_token="?"), cut.BertPreTokenizer()),
        "several words": (models.BPE(), joined),
    }[kind]
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = before
    trainer = {
        "BPE": trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=["?"]),
        "Unigram": trainers.UnigramTrainer(vocab_size=size, show_progress=False, unk_token="?", special_tokens=["?"]),
        "WordPiece": trainers.WordPieceTrainer(vocab_size=size, show_progress=False, special_tokens=["?"]),
    }[type(model).__name__]
    told = [text + form for text in TEXTS for form in FORMS[::3]]
    tokenizer.train_from_iterator([*told, *(page.read_text(encoding="utf-8") for page in GUIDE)], trainer)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", ["GPT-2", "later", "open boxes", "unigram", "word pieces"])
def test_tokenizers_of_each_kind(kind: str) -> None:
    encode = trained(kind)
    assert not joins_words(encode(WORDS))
    assert astray(encode) == []


def test_a_tokenizer_that_joins_words_is_known_by_them() -> None:
    encode = trained("several words")
    assert joins_words(encode(WORDS))
    assert astray(encode)
