"""The catalog's entries, options over them, spec strings, and which hosts may be asked."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from icm_api.errors import CapabilityError, ConfigError
from icm_api.model import open as opening
from icm_api.model.catalog import ENTRIES, family_of
from icm_api.model.endpoints.http import checked_url, read_key
from icm_api.model.endpoints.pocket import PocketEndpoint
from icm_api.model.open import Opened, open_endpoint, open_model, provider_names
from icm_api.model.options import Options
from icm_api.model.reading.local import ReadsForms
from icm_api.model.reading.reading import Readers
from icm_api.model.settling import settled


def test_every_entry_is_complete_and_encrypted() -> None:
    for name, entry in ENTRIES.items():
        assert entry.name == name
        assert entry.key_variable
        if entry.base_url:
            assert checked_url(entry.base_url) == entry.base_url
        assert provider_names().count(name) == 1


@pytest.mark.parametrize(
    ("model", "limit", "effort"),
    [
        ("gpt-6-luna", "max_completion_tokens", "none"),
        ("gpt-6.1-terra", "max_completion_tokens", "none"),
        ("gpt-5.4-mini", "max_completion_tokens", "none"),
        ("ft:gpt-5.1:org", "max_completion_tokens", "none"),
        ("gpt-10", "max_completion_tokens", "none"),
        ("gpt-4.1-mini", "max_tokens", None),
        ("ft:gpt-4o-mini:org", "max_tokens", None),
        ("my-deployment", "max_completion_tokens", None),
    ],
)
def test_model_families(model: str, limit: str, effort: str | None) -> None:
    family = family_of(model)
    assert (family.limit, family.extra.get("reasoning_effort")) == (limit, effort)


def test_options_go_over_the_entry_and_the_rest_stays() -> None:
    changed = settled(ENTRIES["fireworks"], Options(top_logprobs=3, extra_body={"user": "me"}))
    assert changed.extra == {"context_length_exceeded_behavior": "error", "user": "me"}
    assert (changed.top_logprobs, changed.completion_logprobs, changed.echo) == (3, 3, True)


@pytest.mark.parametrize(
    "url", ["http://models.example/v1", "http://192.168.1.5:8000/v1", "ftp://a/b", "api.openai.com", "https://"]
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        checked_url(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        checked_url("https://me:hunter2@models.example/v1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.2:1", "http://[::1]:1/v1", "https://a.b/v1"])
def test_urls_that_may_be_asked(url: str) -> None:
    assert checked_url(url) == url
    assert checked_url("http://10.0.0.1/v1", allow_http=True)


def test_keys_come_from_the_environment_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    key = read_key("SOME_KEY")
    assert key is not None
    assert "sk-secret" not in repr(key) + str(key)
    monkeypatch.delenv("SOME_KEY")
    assert read_key("SOME_KEY", required=False) is None
    with pytest.raises(ConfigError, match="SOME_KEY"):
        read_key("SOME_KEY")


async def test_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("TOGETHER_API_KEY", "sk-secret")
    found = {}
    for spec in (
        "openai:gpt-6-luna",
        "together:meta-llama/Llama-3.1-70B",
        "vllm:org/model@http://127.0.0.1:9/v1",
        "sglang:org/model",
        "openai-compatible:a@b@https://models.example/v1",
    ):
        provider, _ = open_endpoint(spec)
        found[provider.identity] = provider.capabilities.method
        assert "sk-secret" not in repr(provider) + repr(vars(provider))
        await provider.close()
    assert found == {
        "openai/api.openai.com/v1/gpt-6-luna": "top_k",
        "together/api.together.xyz/v1/meta-llama/Llama-3.1-70B": "top_k",
        "vllm/127.0.0.1:9/v1/org/model": "exact_ids",
        "sglang/127.0.0.1:30000/v1/org/model": "exact_ids",
        "openai-compatible/models.example/v1/a@b": "top_k",
    }


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        ("opnai:x", {}, "did you mean 'openai'"),
        ("vllm", {}, "needs a model"),
        ("vllm:m", {"contxt_window": 5}, "did you mean 'context_window'"),
        ("vllm:m", {"timeout": 5}, "has no option 'timeout'; how long an answer may take is client.timeout"),
        ("gemini:m", {"timeout": 5}, "client.timeout"),
        ("vllm:m", {"context_window": 0}, "context_window"),
        ("vllm:m@http://127.0.0.1/v1", {"base_url": "http://127.0.0.1/v1"}, "two addresses"),
        ("vllm:m@http://models.example/v1", {}, "plain http"),
        ("openai-compatible:m", {}, "no fixed address"),
        ("openai:m", {}, "OPENAI_API_KEY"),
        ("pocket", {"speed": 1}, "no options"),
    ],
)
def test_specs_that_are_refused(spec: str, options: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=says):
        open_endpoint(spec, options)


async def test_providers_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(*, group: str, name: str = "theirs") -> list[EntryPoint]:
        assert group == opening.GROUP
        return [EntryPoint("theirs", f"{__name__}:open_theirs", group)] if name == "theirs" else []

    monkeypatch.setattr(opening, "entry_points", points)
    assert provider_names()[-1] == "theirs"
    assert isinstance(open_endpoint("theirs:big", {"x": 1}).endpoint, PocketEndpoint)
    with pytest.raises(ConfigError, match="unknown"):
        open_endpoint("nobodys:big")


def open_theirs(model: str, options: dict[str, Any]) -> Opened:
    assert (model, options) == ("big", {"x": 1})
    endpoint = PocketEndpoint()
    return Opened(endpoint, Readers(ReadsForms(endpoint)))


async def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with open_model("openai:gpt-6-luna") as model:
        with pytest.raises(CapabilityError, match="vllm, sglang"):
            await model.read_inside([])
