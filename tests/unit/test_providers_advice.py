"""What is told about a request that a server did not understand."""

from dataclasses import fields

import pytest

from icm_api.errors import RequestError
from icm_api.model.endpoints.advice import mending
from icm_api.model.endpoints.http import advised
from icm_api.model.open import open_endpoint
from icm_api.model.options import AnthropicOptions, GeminiOptions
from icm_api.testing import Faults, serve
from tests.models import text_request


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("System role not supported", 'chat_style = "one_message"'),
        ("Conversation roles must alternate user/assistant/user/assistant/...", 'chat_style = "one_message"'),
        ("As of transformers v4.44, default chat template is no longer allowed", 'api = "completions"'),
        ("Requested sample logprobs of 100, which is greater than max allowed: 20", "top_logprobs"),
        ("Only no echo is supported", "echo = false"),
        ("This model's maximum context length is 4096 tokens", "context_window"),
        ("Unsupported value: 'temperature' does not support 0 with this model", 'leave_out = ["temperature"]'),
        ("Unsupported parameter: 'max_tokens' is not supported with this model", 'leave_out = ["temperature"]'),
        ("Only user and assistant roles are supported!", 'chat_style = "one_message"'),
        ("the request exceeds the available context size, try increasing it", "context_window"),
    ],
)
def test_a_bad_request_is_told_with_the_option_that_mends_it(said: str, option: str) -> None:
    told = advised(f"Error code: 400 - {said}", "bad_request")
    assert f"{option} under [model.options]" in told or f"set {option}" in told
    assert "icm-api probe" in advised("Error code: 400 - Oh no", "bad_request")


@pytest.mark.parametrize(
    ("kind", "said", "named"),
    [
        (GeminiOptions, "Thinking level is not supported for this model", "thinking"),
        (GeminiOptions, "top_logprobs: logprobs is not enabled", "top_logprobs"),
        (GeminiOptions, "Only no echo is supported; system role not supported", None),
        (AnthropicOptions, "roles must alternate", None),
        (AnthropicOptions, "prompt is too long: 200001 tokens > 200000 maximum", "context_window"),
    ],
)
def test_no_option_is_named_that_the_provider_does_not_take(kind: type, said: str, named: str | None) -> None:
    takes = frozenset(field.name for field in fields(kind))
    told = mending(said, takes)
    assert (told is None) == (named is None)
    assert named is None or f"set {named} under" in str(told)


@pytest.mark.parametrize(("api", "other"), [("chat", "completions"), ("completions", "chat")])
async def test_what_was_not_found_is_told_with_its_path_and_the_other_route(api: str, other: str) -> None:
    with serve(faults=Faults(("404",), times=None)) as server:
        provider, readers = open_endpoint(f"openai-compatible:m@{server.url}", {"api": api})
        with pytest.raises(RequestError) as caught:
            await provider.send([await text_request(readers)])
        await provider.close()
    path = "/v1/chat/completions" if api == "chat" else "/v1/completions"
    assert f'(asked: {path}); if the model is there, take the other route: api = "{other}"' in str(caught.value)
