"""What stands for a whole prompt before a label, by tokenizers of real models, and by a real server that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from icm_api.model import open_model
from icm_api.model.reading.boundaries import WORDS, boundary, joins_words
from icm_api.types import Prompt
from tests.hosted import counted
from tests.real.models import MODELS, folder_of
from tests.real.test_servers import MODEL, SERVERS, START_SECONDS, free_port, served
from tests.unit.test_boundaries import ENDS, FORMS, ROWS, TEXTS, after, astray
from tests.unit.wire_helpers import LONG, ONE_TOKEN

pytestmark = pytest.mark.real


def needed() -> None:
    """What fetches a model; without, its test is skipped."""
    for package in ("torch", "transformers", "gguf"):
        pytest.importorskip(package)


@pytest.mark.parametrize("name", MODELS)
def test_a_real_tokenizer(name: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    needed()
    tokenizer = tokenizers.Tokenizer.from_file(str(folder_of(name) / "tokenizer.json"))

    def encode(text: str) -> Sequence[int]:
        found: Sequence[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return found

    assert not joins_words(encode(WORDS))
    assert astray(encode) == []


async def test_a_real_server(tmp_path: Path) -> None:
    needed()
    if not SERVERS["vLLM"].command(0)[0]:
        pytest.skip("vllm is not installed")
    port = free_port()
    with served(SERVERS["vLLM"], port, tmp_path / "log"), httpx2.Client(timeout=START_SECONDS) as http:

        def asked(path: str, **body: Any) -> Any:
            answer = http.post(f"http://127.0.0.1:{port}/{path}", json={"model": MODEL, **body})
            return answer.raise_for_status().json()

        def encode(text: str, special: bool = False) -> Sequence[int]:
            found: Sequence[int] = asked("tokenize", prompt=text, add_special_tokens=special)["tokens"]
            return found

        assert not joins_words(encode(WORDS))
        for text, form in zip(TEXTS[::3], FORMS * len(TEXTS), strict=False):
            assert after(encode, boundary(text, form), form) == after(encode, text, form), (text, form)
        answers = asked("v1/completions", prompt=list(ROWS), max_tokens=1, return_token_ids=True)["choices"]
        assert [each["prompt_token_ids"] for each in answers] == [encode(row, special=True) for row in ROWS]
        for verbalizer in (ONE_TOKEN, LONG):
            prompts = [
                Prompt("", (), row + f" {at}" + end, verbalizer) for at, row in enumerate(ROWS) for end in ENDS[:4]
            ]
            async with open_model(f"vllm:{MODEL}@http://127.0.0.1:{port}/v1") as model:
                with counted() as sent:
                    found = await model.label_distributions(prompts)
            assert all(each.method == "exact_ids" for each in found)
            assert sent["/tokenize"] < 40 < len(prompts)
