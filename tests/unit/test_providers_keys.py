"""Keys of hosted models: what is no key is refused by its variable's name, and no message repeats a key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

import httpx2
import pytest

from icm_api.cli.main import main
from icm_api.config import ClientSettings
from icm_api.errors import ConfigError, IcmError
from icm_api.model.endpoints.http import blotted, read_key
from icm_api.model.endpoints.openai_sdk import Connection, open_sdk, post
from icm_api.model.open import open_endpoint
from icm_api.types import Prompt, Turn, Verbalizer
from tests.hosted import HOSTED, KEY_VARIABLES, write_config
from tests.models import as_model, claude, gemini

# Between what any encoding leaves alone, all that some encoding changes.
KEY = "sk-FIRSTpart42/+=\"'\\&<>%~._SECONDpart77?#@{}|^`LASTpart99"
PARTS = ("FIRST", "SECOND", "LAST")
PROMPT = Prompt("Judge.", (Turn("1+1=2", " True"),), "2+2=4", Verbalizer.plain(["True", "False"]))

FORMS: Mapping[str, Callable[[str], str]] = {
    "plain": str,
    "repr": repr,
    "repr of bytes": lambda key: repr(key.encode()),
    "repr of a header": lambda key: repr(f"Bearer {key}".encode()),
    "repr of a repr": lambda key: repr(repr(key)),
    "JSON": json.dumps,
    "JSON with escaped slashes": lambda key: json.dumps(key).replace("/", r"\/"),
    "JSON for HTML": lambda key: json.dumps(key).replace("<", r"\u003c").replace("&", r"\u0026"),
    "JSON in JSON": lambda key: json.dumps(json.dumps(key)),
    "quoted": quote,
    "quoted whole": lambda key: quote(key, safe=""),
    "quoted with plus": quote_plus,
    "quoted in lower case": lambda key: quote(key, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "quoted twice": lambda key: quote(quote(key, safe=""), safe=""),
    "HTML": escape,
    "cut": lambda key: key[:40] + "...",
    "cut in a repr": lambda key: f"{key!r:.30}",
}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_VARIABLES:
        if variable:
            monkeypatch.setenv(variable, KEY)


def assert_hidden(text: str) -> None:
    assert [part for part in PARTS if part in text] == []


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_blotted_out_however_it_is_written(form: str) -> None:
    written = FORMS[form](KEY)
    assert PARTS[0] in written
    shown = blotted(f"Illegal header {written}, and again {written}: see the manual", KEY)
    assert_hidden(shown)
    assert shown.count("***") == 2
    assert shown.startswith("Illegal header ")
    assert shown.endswith(": see the manual")


def test_nothing_else_is_blotted_out() -> None:
    assert blotted("sk-FIRST is how keys begin", KEY) == "sk-FIRST is how keys begin"
    assert blotted("a short key", "short") == "a *** key"
    assert blotted("no key", "") == "no key"


@pytest.mark.parametrize(
    "bad", ["sk-one\nsk-two", "sk-one\r\nX: y", "sk-one\x00two", "sk-onetwö", "sk-one two", "sk-\x7f"]
)
def test_what_cannot_be_sent_in_a_header_is_no_key(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\x00" in bad:
        # No environment can hold it, but a mapping in its place could.
        monkeypatch.setattr("os.environ", {"SOME_KEY": bad})
    else:
        monkeypatch.setenv("SOME_KEY", bad)
    for required in (True, False):
        with pytest.raises(ConfigError, match="SOME_KEY") as caught:
            read_key("SOME_KEY", required=required)
        assert "sk-" not in str(caught.value)
        assert "two" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_white_space_around_a_key_is_not_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", f" {KEY}\r\n")
    key = read_key("SOME_KEY")
    assert key is not None
    assert key.get_secret_value() == KEY


@pytest.mark.parametrize("name", sorted(HOSTED))
def test_a_key_with_a_line_break_stops_a_run_before_anything_is_sent(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in KEY_VARIABLES:
        if variable:
            monkeypatch.setenv(variable, "sk-FIRSTpart\nSECONDpart")
    hosted = HOSTED[name]
    config = write_config(tmp_path, f"{hosted.provider}:some-model@http://127.0.0.1:9/v1", hosted.options)
    assert main(["run", str(config)]) == 2
    err = capsys.readouterr().err
    assert "_API_KEY" in err
    assert err.count("\n") == 1
    assert_hidden(err)


class _Parrot(BaseHTTPRequestHandler):
    """Answers everything with the key that came, written as the path's first parts say."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        _, status, shape, form, *_ = self.path.split("/")
        headers = self.headers
        key = headers["x-goog-api-key"] or headers["x-api-key"] or headers["authorization"].removeprefix("Bearer ")
        said = "x" * 20 + f" {list(FORMS.values())[int(form)](key)}"
        error = {"error": {"message": said, "type": "invalid_request_error", "code": 400}}
        bodies = {"text": said, "error": json.dumps(error), "list": json.dumps([said]), "no choices": _odd(said)}
        content = bodies[shape.replace("-", " ")].encode()
        self.send_response(int(status))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def _odd(said: str) -> str:
    refusal = {"message": {"refusal": said}, "text": None}
    return json.dumps({"note": said, "choices": [refusal], "meta_info": said, "tokens": said, "stop_details": said})


@pytest.fixture(scope="module")
def parrot() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Parrot) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["openai-chat", "openai-completions", "vllm", "sglang", "gemini", "anthropic"])
@pytest.mark.parametrize(
    ("status", "shape"),
    [(200, "text"), (200, "list"), (200, "error"), (200, "no-choices"), (400, "error"), (401, "text"), (500, "error")],
)
async def test_no_provider_repeats_a_key_that_a_server_quotes(name: str, status: int, shape: str, parrot: str) -> None:
    hosted = HOSTED[name]
    for form in map(list(FORMS).index, ("plain", "repr of bytes", "JSON in JSON", "quoted whole")):
        options = dict(hosted.options) | ({"samples": 1} if name == "anthropic" else {})
        provider = open_endpoint(f"{hosted.provider}:m@{parrot}/{status}/{shape}/{form}", options)
        async with as_model(provider, settings=ClientSettings(attempts=1)) as client:
            with pytest.raises(IcmError) as caught:
                await client.label_distributions([PROMPT])
        assert_hidden(str(caught.value).removeprefix(provider.endpoint.identity))


def _broken(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.LocalProtocolError(f"Illegal header value {KEY.encode()!r}")


@pytest.mark.parametrize("kind", [claude, gemini])
async def test_no_provider_repeats_a_key_that_its_library_quotes(kind: Any) -> None:
    async with as_model(kind(_broken), settings=ClientSettings(attempts=1)) as client:
        with pytest.raises(IcmError, match=r"Illegal header value b.{1,2}\*\*\*") as caught:
            await client.label_distributions([PROMPT])
    assert_hidden(str(caught.value))


async def test_the_sdk_of_openai_repeats_no_key_either() -> None:
    connection = Connection("https://models.example/v1", read_key("OPENAI_API_KEY"))
    sdk = open_sdk(connection).with_options(http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(_broken)))
    with pytest.raises(IcmError, match=r"Illegal header value b.{1,2}\*\*\*") as caught:
        await post(sdk, "completions", {}, "here")
    assert_hidden(str(caught.value))
    await sdk.close()
