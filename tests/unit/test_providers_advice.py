"""What is told about a request that a server did not understand."""

import pytest

from icm_api.errors import RequestError
from icm_api.model.endpoints.http import advised
from icm_api.model.open import open_endpoint
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
        ("the request exceeds the available context size, try increasing it", "context_window"),
    ],
)
def test_a_bad_request_is_told_with_the_option_that_mends_it(said: str, option: str) -> None:
    told = advised(f"Error code: 400 - {said}", "bad_request")
    assert f"{option} under [model.options]" in told or f"set {option}" in told
    assert "icm-api probe" in advised("Error code: 400 - Oh no", "bad_request")


@pytest.mark.parametrize(("api", "other"), [("chat", "completions"), ("completions", "chat")])
async def test_what_was_not_found_is_told_with_its_path_and_the_other_route(api: str, other: str) -> None:
    with serve(faults=Faults(("404",), times=None)) as server:
        provider, readers = open_endpoint(f"openai-compatible:m@{server.url}", {"api": api})
        with pytest.raises(RequestError) as caught:
            await provider.send([await text_request(readers)])
        await provider.close()
    path = "/v1/chat/completions" if api == "chat" else "/v1/completions"
    assert f'(asked: {path}); if the model is there, take the other route: api = "{other}"' in str(caught.value)
