"""The embedded model's tokenizer: whole words of the world, single characters and bytes for everything else.

Does not add the BOS token (the model does), or learn a vocabulary from data.

Text is cut into runs of ASCII letters, with the space before them if there is one, and single other characters. A piece
that is in the vocabulary is one token, any other is its UTF-8 bytes. No piece reaches across a newline or into a space
that follows it, so encode(a) + encode(b) == encode(a + b) if b starts with a space or a newline, or a ends with a
newline.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BOS = "<|bos|>"
PATTERN = r" ?[A-Za-z]+|[\s\S]"


def _byte_letters() -> tuple[str, ...]:
    """The printable stand-in for each byte that byte-level tokenizers use in their files (GPT-2's table)."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters, spare = [], 0x100
    for byte in range(256):
        if byte in plain:
            letters.append(chr(byte))
        else:
            letters.append(chr(spare))
            spare += 1
    return tuple(letters)


class PocketTokenizer:
    """Encoder and decoder over a vocabulary of byte strings; ids 0 to 255 are the bytes themselves.

    Args:
        words: The pieces with the ids from 256 on, in order. The last id is that of BOS.

    Attributes:
        bos: Id of the token before every text.
        size: Number of ids, BOS among them.
    """

    def __init__(self, words: Iterable[bytes]) -> None:
        self._pieces = [*(bytes([byte]) for byte in range(256)), *words]
        self._ids = {piece: index for index, piece in enumerate(self._pieces)}
        self._find = re.compile(PATTERN).findall
        self.bos = len(self._pieces)
        self.size = self.bos + 1

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of any text, without BOS.

        Raises:
            UnicodeEncodeError: The text holds half a surrogate pair, which no encoding of text has.
        """
        ids: list[int] = []
        for piece in self._find(text):
            raw = piece.encode()
            whole = self._ids.get(raw)
            if whole is None:
                ids.extend(raw)
            else:
                ids.append(whole)
        return tuple(ids)

    def decode_bytes(self, token: int) -> bytes:
        """Bytes of one token; BOS has none.

        Raises:
            ValueError: There is no such token.
        """
        if not 0 <= token < self.size:
            raise ValueError(f"pocket tokenizer: token {token} is outside 0 to {self.size - 1}")
        return b"" if token == self.bos else self._pieces[token]

    @classmethod
    def load(cls, path: Path) -> "PocketTokenizer":
        """Read the vocabulary from a `tokenizer.json`.

        Raises:
            FileNotFoundError: There is no such file.
        """
        byte_of = {letter: byte for byte, letter in enumerate(_byte_letters())}
        vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
        ordered = sorted((index, piece) for piece, index in vocabulary.items() if piece != BOS)
        return cls(bytes(byte_of[letter] for letter in piece) for _, piece in ordered[256:])

    def save(self, directory: Path, context_window: int) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` in the form that `AutoTokenizer` reads.

        Args:
            directory: Where to write them; it exists.
            context_window: Most tokens in one sequence, BOS included.
        """
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": BOS,
            "pad_token": BOS,
            "clean_up_tokenization_spaces": False,
            "model_max_length": context_window,
        }
        for name, content in (("tokenizer.json", self._description()), ("tokenizer_config.json", config)):
            text = json.dumps(content, ensure_ascii=False, indent=1)
            (directory / name).write_text(text + "\n", encoding="utf-8")

    def _description(self) -> dict[str, Any]:
        letters = _byte_letters()
        vocabulary = {"".join(letters[byte] for byte in piece): index for index, piece in enumerate(self._pieces)}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        bos = {"SpecialToken": {"id": BOS, "type_id": 0}}
        first, second = ({"Sequence": {"id": name, "type_id": at}} for at, name in enumerate("AB"))
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": self.bos, "content": BOS, **flags}],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [bos, first],
                "pair": [bos, first, second],
                "special_tokens": {BOS: {"id": BOS, "ids": [self.bos], "tokens": [BOS]}},
            },
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": True,
                "vocab": {**vocabulary, BOS: self.bos},
                "merges": [],
            },
        }
