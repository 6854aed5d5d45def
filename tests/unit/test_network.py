"""What the environment says of proxies, certificates and headers: used, or named in one line; and other event loops."""

from __future__ import annotations

import asyncio
import gc
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path
from socket import create_connection, socket
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import NoReturn

import httpx2
import pytest

from icm_api.cli.main import main
from icm_api.config import ClientSettings
from icm_api.errors import ConfigError, RequestError
from icm_api.model import LanguageModel, open_model
from icm_api.model import open as opening
from icm_api.model.endpoints.http import checked_url, transport_error
from icm_api.model.endpoints.network import network, proxy_variable
from icm_api.model.open import open_endpoint
from icm_api.testing import Server, serve
from icm_api.types import Prompt, Verbalizer
from tests.hosted import write_config

PROMPT = Prompt("", (), "12>34", Verbalizer.plain(["True", "False"]))
FAR = "https://api.example.org/v1"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine that the tests run on; a key for the servers."""
    for kind in ("http", "https", "all", "no"):
        for name in (f"{kind}_proxy", f"{kind}_proxy".upper()):
            monkeypatch.delenv(name, raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "OPENAI_COMPATIBLE"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-of-a-test")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(dialect="vllm") as running:
        yield running


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "socks://127.0.0.1:1", "http://127.0.0.1:1", "nonsense://x"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_no_proxy_leads_to_this_machine(
    server: Server, proxy: str, variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, proxy)
    assert main(["probe", f"openai-compatible:{server.model}@{server.url}"]) == 0
    assert capsys.readouterr().err == ""


def test_a_proxy_is_used_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(400)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        Thread(target=proxy.serve_forever).start()
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.server_port}")
        # For another scheme, and so nobody's business here.
        monkeypatch.setenv("ALL_PROXY", "ftp://nobody")
        with pytest.raises(RequestError, match="400"):
            asyncio.run(_ask("openai-compatible:m@http://far.invalid/v1", allow_http=True))
        proxy.shutdown()
    assert asked == ["http://far.invalid/v1/chat/completions"]


@pytest.mark.parametrize("opened", ["openai:m", "anthropic:m", "gemini:m", f"openai-compatible:m@{FAR}"])
@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://user:secret@127.0.0.1:1", "pip install socksio"),
        ("socks://127.0.0.1:1", "pip install socksio"),
        ("ftp://user:secret@127.0.0.1", "write it as"),
        ("http://[::1", "write it as"),
        ("http://", "write it as"),
        ("http://host:port", "write it as"),
        ("http://host:99999", "write it as"),
        ("socks5://host:0", "write it as"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    opened: str, proxy: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm_api.model.endpoints.network.find_spec", lambda name: None)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigError, match="variable HTTPS_PROXY") as found:
        open_endpoint(opened)
    assert said in str(found.value)
    assert "NO_PROXY" in str(found.value)
    assert "secret" not in str(found.value)
    monkeypatch.setenv("NO_PROXY", "openai.com, anthropic.com,googleapis.com,example.org")
    open_endpoint(opened)


@contextmanager
def socks_proxy(server: Server) -> Iterator[tuple[str, list[str]]]:
    """A SOCKS5 proxy (RFC 1928) that leads every way to a server; its URL, and the hosts that were asked for."""
    hosts: list[str] = []

    class Proxy(StreamRequestHandler):
        # What is read ahead would be missing further on.
        rbufsize = 0

        def handle(self) -> None:
            self.rfile.read(self.rfile.read(2)[1])
            self.wfile.write(b"\x05\x00")
            version, command, _, kind = self.rfile.read(4)
            assert (version, command) == (5, 1)
            hosts.append(self.rfile.read(self.rfile.read(1)[0] if kind == 3 else 4).decode())
            self.rfile.read(2)
            with create_connection(("127.0.0.1", int(server.root.rpartition(":")[2]))) as onward:
                self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
                Thread(target=self.pass_on, args=(onward, self.connection), daemon=True).start()
                self.pass_on(self.connection, onward)

        def pass_on(self, source: socket, target: socket) -> None:
            with suppress(OSError):
                while data := source.recv(65_536):
                    target.sendall(data)

    with ThreadingTCPServer(("127.0.0.1", 0), Proxy) as proxy:
        proxy.daemon_threads = True
        Thread(target=proxy.serve_forever).start()
        yield f"socks5://127.0.0.1:{proxy.server_address[1]}", hosts
        proxy.shutdown()


@pytest.mark.skipif(find_spec("socksio") is None, reason="the extra 'socks' of httpx2 is not installed")
@pytest.mark.parametrize("written", [pytest.param("socks5:", marks=pytest.mark.slow), "socks:"])
def test_a_run_goes_through_a_socks_proxy(
    server: Server, written: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = {"allow_http": True, "api": "completions"}
    config = write_config(tmp_path, f"openai-compatible:{server.model}@http://far.invalid/v1", options)
    with socks_proxy(server) as (url, hosts):
        monkeypatch.setenv("ALL_PROXY", url.replace("socks5:", written))
        assert main(["run", str(config)]) == 0
    assert set(hosts) == {"far.invalid"}


def test_the_proxy_of_the_scheme_goes_before_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://desktop:1")
    monkeypatch.setenv("https_proxy", "desktop:3128")
    assert proxy_variable(FAR) == "https_proxy"
    proxy = network(FAR)["proxy"]
    assert proxy is not None
    assert proxy.url == "http://desktop:3128"
    assert proxy_variable("http://127.0.0.1:8000/v1") == proxy_variable("https://localhost/v1") == ""


def test_aiohttp_takes_no_socks_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_api.model.endpoints.network.find_spec", lambda name: name)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ConfigError, match="ALL_PROXY"):
        open_endpoint(f"openai-compatible:m@{FAR}", {"http_client": "aiohttp"})


@pytest.mark.parametrize("opened", ["openai:m", "anthropic:m", "gemini:m"])
def test_certificates_that_cannot_be_read_are_named_by_their_variable(
    opened: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "certificates.pem"
    broken.write_text("no certificate")
    for variable, path, said in (
        ("SSL_CERT_FILE", broken, "no certificate"),
        ("SSL_CERT_FILE", tmp_path / "missing.pem", "No such file"),
        ("SSL_CERT_DIR", tmp_path / "missing", "no such folder"),
    ):
        with monkeypatch.context() as environment:
            environment.setenv(variable, str(path))
            with pytest.raises(ConfigError, match=f"variable {variable} names .*{said}"):
                open_endpoint(opened)
            # Nothing is encrypted on the way to a server of one's own, so that none is needed.
            open_endpoint("vllm:m@http://127.0.0.1:8000/v1")


def test_a_certificate_that_is_not_trusted_is_no_case_for_another_try() -> None:
    error = httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate")
    found = transport_error(error, "openai/m", "", FAR)
    assert not found.retryable
    assert "SSL_CERT_FILE" in str(found)


def test_https_to_a_server_that_speaks_none_is_no_case_for_another_try() -> None:
    found = transport_error(httpx2.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version"), "openai/m", "", FAR)
    assert not found.retryable
    assert "write http://" in str(found)


def test_a_log_of_keys_that_cannot_be_written_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "no" / "such.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))

    def importing(model: str, options: object) -> NoReturn:
        log.write_text("")
        raise AssertionError

    monkeypatch.setattr(opening, "_own", lambda name, tier: importing)
    with pytest.raises(ConfigError, match="SSLKEYLOGFILE names a file that can't be written"):
        open_endpoint("pocket")


@asynccontextmanager
async def encrypted(server: Server, certificate: Path, key: Path) -> AsyncIterator[str]:
    """The server behind TLS: its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", int(server.root.rpartition(":")[2]))
        await asyncio.gather(carry(reader, forth), carry(back, writer))

    listening = await asyncio.start_server(connect, "127.0.0.1", ssl=context)
    try:
        yield f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    finally:
        listening.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this machine, made by itself; its key is beside it."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=here"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "own.pem")]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1", *files], check=True, capture_output=True)
    return tmp_path / "own.pem"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
@pytest.mark.parametrize("spec", ["vllm", "openai-compatible"])
async def test_a_certificate_of_one_s_own_is_trusted_if_the_environment_says_so(
    spec: str, server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = ClientSettings(attempts=1)
    async with encrypted(server, certificate, certificate.with_name("key.pem")) as url:
        async with open_model(f"{spec}:{server.model}@{url}", settings=once) as model:
            with pytest.raises(RequestError, match="SSL_CERT_FILE") as caught:
                await model.label_distributions([PROMPT])
        assert not caught.value.retryable
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with open_model(f"{spec}:{server.model}@{url}", settings=once) as model:
            secure = list(await model.label_distributions([PROMPT]))
    async with open_model(f"{spec}:{server.model}@{server.url}", settings=once) as model:
        assert secure == list(await model.label_distributions([PROMPT]))


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    with pytest.raises(RequestError, match="check the proxy that HTTPS_PROXY names"):
        asyncio.run(_ask("gemini:m"))


@pytest.mark.parametrize(
    ("variable", "value", "spec"),
    [
        ("OPENAI_ORG_ID", "“org-1”", "openai:m"),
        ("OPENAI_PROJECT_ID", "proj\nx", "openai:m"),
        ("OPENAI_CUSTOM_HEADERS", "X-Team: Übersetzer", "openai:m"),
        ("ANTHROPIC_CUSTOM_HEADERS", "X Team: a", "anthropic:m"),
    ],
)
def test_a_header_that_cannot_be_sent_is_named_by_its_variable(
    variable: str, value: str, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"variable {variable} holds"):
        open_endpoint(spec)


@pytest.mark.parametrize(
    "url",
    [
        "https://a..b/v1",
        "https://host name/v1",
        f"https://{'a' * 64}.com/v1",
        "https://“host”/v1",
        "https://ho\u200bst/v1",
        "https://host:99999/v1",
        "https://ho\ud800st/v1",
    ],
)
def test_a_host_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        checked_url(url)


@pytest.mark.parametrize("url", ["https://münchen.example/v1", "https://my_box.lan./v1", "http://[::1]:8000/v1"])
def test_a_host_that_may_be_is_taken(url: str) -> None:
    assert checked_url(url) == url


async def _ask(spec: str, **options: object) -> None:
    async with open_model(spec, options=options, settings=ClientSettings(attempts=1)) as model:
        await model.label_distributions([PROMPT])


async def _asked(model: LanguageModel, *queries: str) -> list[float | None]:
    prompts = [Prompt("", (), query, PROMPT.verbalizer) for query in queries]
    return [found.coverage for found in await model.label_distributions(prompts)]


# Connections of a loop that is gone are dropped, and not closed.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("vllm:{model}@{url}", {}),
        ("anthropic:{model}@{root}", {"samples": 2}),
        ("gemini:{model}@{root}", {}),
        ("pocket", {}),
    ],
)
def test_a_model_works_in_one_event_loop_after_another(server: Server, spec: str, options: dict[str, object]) -> None:
    # A limit has everybody wait on a lock, which belongs to a loop as well.
    settings = ClientSettings(requests_per_minute=6000)
    model = open_model(
        spec.format(model=server.model, url=server.url, root=server.root), options=options, settings=settings
    )
    found = [asyncio.run(_asked(model, f"{n}1>2", f"{n}1>3", f"{n}4>5", "12>34")) for n in range(1, 4)]
    asyncio.run(model.close())
    assert all(each for asked in found for each in asked)
    gc.collect()
