"""`icm-api probe` against a real server in every dialect, sound and faulty."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.errors import LogprobsUnavailableError
from icm_api.model.checking import check_endpoint
from icm_api.model.client.cache import ResponseCache
from icm_api.model.open import open_endpoint, open_model
from icm_api.model.probe import probe
from icm_api.model.probe_prompts import short_prompt
from icm_api.model.reading.openai import echoed_places
from icm_api.model.reading.places import Columns, Places
from icm_api.model.reading.token_text import Spelling
from icm_api.model.request import Body
from icm_api.pocket.model import PocketModel
from icm_api.testing import ECHOES, WORDS_ALONE, Faults, Server, serve
from icm_api.types import Verbalizer
from tests.models import as_model

TWO = Verbalizer.plain(["True", "False"])
Printed = pytest.CaptureFixture[str]

# Provider, dialect, options, and how labels are then read.
ENDPOINTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "openai": ("openai", "openai", {}, "top_k"),
    "completions": ("openai-compatible", "openai", {"api": "completions", "top_logprobs": 20, "echo": True}, "top_k"),
    "one alternative": (
        "openai-compatible",
        "openai",
        {"api": "completions", "top_logprobs": 1, "echo": True},
        "prompt_logprobs",
    ),
    "fireworks": ("fireworks", "fireworks", {"api": "chat"}, "top_k"),
    "llama.cpp": ("llamacpp", "llama.cpp", {}, "top_k"),
    "vllm": ("vllm", "vllm", {"prompt_list": 1}, "exact_ids"),
    "vllm chat": ("vllm", "vllm", {"api": "chat"}, "exact_ids"),
    "sglang": ("sglang", "sglang", {}, "exact_ids"),
    "sglang chat": ("sglang", "sglang", {"api": "chat"}, "top_k"),
    "gemini": ("gemini", "vllm", {}, "top_k"),
    "anthropic": ("anthropic", "vllm", {"samples": 3}, "sampled"),
}
ECHOING = {"completions", "one alternative", "vllm", "sglang"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("OPENAI", "FIREWORKS", "ANTHROPIC", "GEMINI"):
        monkeypatch.setenv(f"{host}_API_KEY", "of-the-test")


def arguments(server: Server, name: str, **options: Any) -> list[str]:
    spec, _, own, _ = ENDPOINTS[name]
    url = server.root if spec in ("gemini", "anthropic") else server.url
    given = {"context_window": 1000, "base_url": url, **own, **options}
    flags = [f"--option={key}={json.dumps(value)}" for key, value in given.items()]
    return ["probe", f"{spec}:{server.model}", *flags]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_sound_endpoint_is_usable(name: str, capsys: Printed) -> None:
    _, dialect, _, method = ENDPOINTS[name]
    with serve(dialect=dialect) as server:
        assert main([*arguments(server, name), "--json"]) == 0
        asked = sum(server.log.requests.values())
    out, err = capsys.readouterr()
    assert "of-the-test" not in out + err
    report = json.loads(out)
    found = {key: finding["value"] for key, finding in report["findings"].items()}
    assert report["verdict"] == "usable"
    # Several prompts in one list are as many requests to the meter, and one to the server.
    assert report["usage"]["requests"] == asked or (name == "vllm" and report["usage"]["requests"] > asked)
    assert found["method"] == method
    assert found["coverage"] > 0.9
    assert found["bounds"] == {}
    assert found["cached"] > 100
    assert found["seconds"] > 0
    assert (found["limits"] is None) == (name == "gemini")
    assert (found["difference"] is None) == (name == "anthropic")
    assert (found["echo"] is not None) == (name in ECHOING) == report["capabilities"]["prompt_logprobs"]
    assert found["echo"] in (None, pytest.approx(0, abs=1e-5))
    if name == "anthropic":
        assert found["single_tokens"] is None
    elif name != "one alternative":
        assert found["single_tokens"] == {" True": True, " False": True}


async def coverage(verbalizer: Verbalizer) -> float:
    async with open_model("pocket") as client:
        (found,) = await client.label_distributions([short_prompt(verbalizer)])
        assert found.coverage is not None
        return found.coverage


def test_coverage_is_that_of_the_model(capsys: Printed) -> None:
    with serve(dialect="vllm") as server:
        main([*arguments(server, "vllm"), "--json", "--labels", "True, Nonsensically"])
    report = json.loads(capsys.readouterr().out)
    truth = asyncio.run(coverage(Verbalizer.plain(["True", "Nonsensically"])))
    assert report["findings"]["coverage"]["value"] == pytest.approx(truth, abs=1e-4)
    assert report["findings"]["single_tokens"]["value"] == {" True": True, " Nonsensically": False}


UNSOUND = [
    *((name, kind) for name in ("completions", "vllm", "sglang", "gemini") for kind in ("zeros", "all-equal")),
    *(("openai", kind) for kind in ("null-logprobs", "-9999", "nan", "zeros", "all-equal", "refusal", "401")),
    *((name, "null-logprobs") for name in ("completions", "llama.cpp", "vllm", "sglang", "gemini")),
    *((name, "-9999") for name in ("completions", "vllm", "sglang", "gemini")),
]


@pytest.mark.parametrize(("name", "kind"), UNSOUND)
def test_numbers_that_are_none_make_an_endpoint_unusable(name: str, kind: str, capsys: Printed) -> None:
    with serve(dialect=ENDPOINTS[name][1], faults=Faults((kind,), times=None)) as server:
        assert main(arguments(server, name)) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("unusable: ")
    assert err.count("\n") == 1
    assert out.splitlines()[-1].removeprefix("unusable: ") == err.removeprefix("icm-api: ").rstrip("\n")
    assert "of-the-test" not in out + err


@pytest.mark.parametrize("name", ["openai", "completions", "llama.cpp", "vllm", "sglang", "gemini"])
def test_labels_that_are_never_listed(name: str, capsys: Printed) -> None:
    with serve(dialect=ENDPOINTS[name][1], faults=Faults(("missing-label",), times=None)) as server:
        assert main([*arguments(server, name, **({"echo": False} if name == "completions" else {})), "--json"]) == 2
    assert not json.loads(capsys.readouterr().out)["usable"]


@pytest.mark.parametrize("name", ["openai", "llama.cpp", "gemini"])
def test_alternatives_that_are_listed_twice_count_once(name: str, capsys: Printed) -> None:
    reports = []
    for faults in (None, Faults(("duplicates",), times=None)):
        with serve(dialect=ENDPOINTS[name][1], faults=faults) as server:
            assert main([*arguments(server, name), "--json"]) == 0
        reports.append(json.loads(capsys.readouterr().out)["findings"])
    assert reports[0]["coverage"] == reports[1]["coverage"]
    assert reports[1]["alternatives"]["value"] == reports[0]["alternatives"]["value"] == 20
    assert reports[1]["alternatives"]["note"] == "asked for 20; 20 more are repeated or have no logprob"


def with_logprobs(places: Places, logprobs: Sequence[object]) -> Places:
    """The same tokens with other numbers."""
    tops = [[(token, token.logprob) for token in place.top] for place in places]
    tokens = [place.token for place in places]
    columns = Columns(tokens, logprobs, tops, lambda token, logprob: token._replace(logprob=logprob))
    return Places(columns, Spelling.TEXT, places.starts)


def later_row(body: Body, text: str) -> Places:
    """As llama-cpp-python echoes for a model without BOS: a token's logprob is that of its coming once more."""
    model, places = PocketModel.load(), echoed_places(body, text)
    ids = model.encode(text)
    rows = model.next_token_logprobs([(ids[: at + 1],) for at in range(len(ids))])
    return with_logprobs(places, [float(row[token]) for row, token in zip(rows, ids, strict=True)])


def next_value(body: Body, text: str) -> Places:
    """Each token of an echo has the logprob of the one that follows it."""
    places = echoed_places(body, text)
    return with_logprobs(places, [*places.logprobs[1:], places.logprobs[-1]])


@pytest.mark.parametrize(("places", "kept"), [(echoed_places, True), (later_row, False), (next_value, False)])
@pytest.mark.parametrize("listed", [1, 20])
async def test_an_echo_that_is_off_by_one_loses_that_capability(
    places: Callable[[Body, str], Places], kept: bool, listed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"api": "completions", "echo": True, "top_logprobs": listed, "context_window": 1000}
    with serve(dialect="openai") as server:
        monkeypatch.setattr("icm_api.model.reading.openai.echoed_places", places)
        endpoint, readers = open_endpoint(f"openai-compatible:{server.model}@{server.url}", options)
        found = await probe(endpoint, readers, TWO)
        await endpoint.close()
    assert found.capabilities.prompt_logprobs == kept
    if kept:
        assert found.verdict == "usable"
    else:
        assert ("in the echo, and " in found.trouble) == (listed == 1)
        assert "in the echo, and " in found.warnings[0]


@pytest.mark.parametrize("kind", [*ECHOES, WORDS_ALONE])
def test_labels_inside_a_prompt_must_be_what_would_come_next(kind: str, capsys: Printed) -> None:
    with serve(dialect="vllm", faults=Faults((kind,), times=None)) as server:
        assert main([*arguments(server, "vllm"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["capabilities"]["prompt_logprobs"] == (kind == WORDS_ALONE)
    assert any("prompt logprobs that can't be used" in each for each in report["warnings"]) == (kind != WORDS_ALONE)


def test_the_context_window_that_is_claimed_must_hold(capsys: Printed) -> None:
    with serve(dialect="vllm") as server:
        assert main(arguments(server, "vllm", context_window=100_000)) == 0
    out = capsys.readouterr().out
    assert "maximum context length is" in out
    assert out.splitlines()[-1] == "usable with warnings"


def test_the_embedded_model_has_a_report_in_words(capsys: Printed) -> None:
    assert main(["probe", "pocket"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  labels read by      exact"
    assert lines[-1] == "usable"


@pytest.mark.parametrize(
    "flags", [["--labels", "True"], ["--option", "nonsense"], ["--option", "colour=red"], ["--labels", "a,ab"]]
)
def test_mistakes_are_one_line(flags: list[str], capsys: Printed) -> None:
    try:
        code = main(["probe", "vllm:x", *flags])
    except SystemExit as left:
        code = left.code  # type: ignore[assignment]
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)


async def test_a_checked_endpoint_is_not_asked_again(tmp_path: Path) -> None:
    with serve(dialect="openai") as server:
        for _ in range(2):
            provider = open_endpoint(f"openai:{server.model}@{server.url}")
            async with as_model(provider, ResponseCache(tmp_path)) as client:
                assert await check_endpoint(client, TWO) == []
        assert sum(server.log.requests.values()) == 1


async def test_the_check_says_that_labels_come_from_an_echo() -> None:
    with serve(dialect="openai") as server:
        spec, options = f"openai-compatible:{server.model}@{server.url}", ENDPOINTS["one alternative"][2]
        async with as_model(open_endpoint(spec, options)) as client:
            (warning,) = await check_endpoint(client, TWO)
    assert "icm-api probe" in warning


async def test_a_check_stops_at_numbers_that_are_none() -> None:
    with serve(dialect="openai", faults=Faults(("null-logprobs",), times=None)) as server:
        async with as_model(open_endpoint(f"openai:{server.model}@{server.url}")) as client:
            with pytest.raises(LogprobsUnavailableError):
                await check_endpoint(client, TWO)
        assert sum(server.log.requests.values()) == 1
