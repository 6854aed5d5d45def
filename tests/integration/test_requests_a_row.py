"""What a further row takes of a server, by each way to ask one: all requests over HTTP, whatever they ask."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from icm_api.config import load_config
from icm_api.runs import run_config
from icm_api.testing import Server, serve
from tests.hosted import HOSTED, KEY_VARIABLES, Hosted, counted

ENDS = ("?", "", " apples", "!", " in 19{at}", " 😂", ' "so {at}"', "。", " (see [{at}])", " naïve{at}é")
"""Rows end in words, numbers and signs of their own."""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        monkeypatch.setenv(variable, "k")


async def run(
    folder: Path, host: Hosted, server: Server, rows: int, core: int, forms: str = '{ False = [" False"] }'
) -> Counter[str]:
    """What a run on so many rows sends, of which so many are searched. Its answers are kept in the folder."""
    folder.mkdir(exist_ok=True)
    texts = [f"Is number {at} of the rows larger than {at * 7919 % rows}" + ENDS[at % len(ENDS)] for at in range(rows)]
    lines = [json.dumps({"id": f"r{at}", "text": text.format(at=at)}) for at, text in enumerate(texts)]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = "".join(f"{name} = {json.dumps(value)}\n" for name, value in host.options.items())
    number = len(list(folder.glob("run*")))
    (folder / "config.toml").write_text(
        f'[data]\npath = "rows.jsonl"\n\n[model]\nprovider = "{host.spec(server)}"\n\n[model.options]\n{options}\n'
        f'[prompt]\nforms = {forms}\n\n[search]\nengine = "bootstrap"\nrestarts = 1\nrounds = 1\n\n'
        f"[diagnostics]\nenabled = false\n\n[core]\nsize = {core}\n\n"
        f'[cache]\nfolder = "cache"\n\n[run]\nfolder = "run{number}"\n',
        encoding="utf-8",
    )
    with counted() as sent:
        await run_config(load_config(folder / "config.toml"))
    return sent


@pytest.mark.parametrize("forms", ['{ False = [" False"] }', '{ True = [" True True"], False = [" False True"] }'])
async def test_a_further_row_takes_a_fraction_of_a_request_where_prompts_travel_in_lists(
    forms: str, tmp_path: Path
) -> None:
    host = HOSTED["vllm"]
    with serve(dialect=host.dialect, instant=True) as server:
        few, many = [await run(tmp_path / str(rows), host, server, rows, 100, forms) for rows in (200, 600)]
        again = await run(tmp_path / "600", host, server, 600, 100, forms)
    assert 0 < many.total() - few.total() <= 0.05 * 400
    assert few["/tokenize"] > 0
    # A cache has all but what the model's window is.
    assert set(again) <= {"/v1/models"}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTED)
async def test_what_is_asked_besides_the_questions_is_the_same_for_any_number_of_rows(
    name: str, tmp_path: Path
) -> None:
    host = HOSTED[name]
    if "samples" in host.options:
        host = replace(host, options={**host.options, "samples": 2})
    with serve(dialect=host.dialect, instant=True) as server:
        sent = [await run(tmp_path / str(rows), host, server, rows, core=40) for rows in (80, 240)]
    beside = [{path: count for path, count in each.items() if host.route not in path} for each in sent]
    assert beside[0] == beside[1]
