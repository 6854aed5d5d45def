"""The cache on a Redis server: the bytes of a disk's, damage, passwords, a server that is away or full."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from icm_api.cli.main import main
from icm_api.config import CacheSection, load_config
from icm_api.errors import ConfigError, StorageError, without_password
from icm_api.model.client.cache import ResponseCache
from icm_api.model.client.entries import cache_key, encode_entry
from icm_api.model.client.opening import open_cache
from icm_api.model.client.redis_cache import PASSWORD_VARIABLE, RedisCache
from icm_api.model.request import Request, Response
from icm_api.testing import serve
from icm_api.types import Usage
from tests.hosted import write_config
from tests.redis_server import RedisServer, needs_redis, redis_server

USAGE = Usage(requests=1, prompt_tokens=12, completion_tokens=3)
KEYS = [cache_key("pocket/x", Request({"prompt": str(number)})) for number in range(3)]
SECRET = "hush/hush@home"
Printed = pytest.CaptureFixture[str]


def response(number: float = -0.5) -> Response:
    return Response({"logprobs": {" True": number}}, USAGE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


def raw_client(server: RedisServer) -> Any:
    redis = pytest.importorskip("redis")
    return redis.Redis(port=server.port, password=server.password or None)


@pytest.mark.parametrize(
    ("shown", "kept"),
    [
        ("redis://:s3cret@h:1/0", "redis://h:1/0"),
        ("rediss://me:s3cret@h/0", "rediss://me@h/0"),
        ("redis://:s3/c@ret@h", "redis://h"),
        ("unix:///run/x.sock?password=s3cret&db=1", "unix:///run/x.sock?password=&db=1"),
        ("redis://h:6379/0 and vllm:m@http://h:8000/v1", "redis://h:6379/0 and vllm:m@http://h:8000/v1"),
        ("got ['redis://:s3cret@h:1/0'] by me@home", "got ['redis://h:1/0'] by me@home"),
    ],
)
def test_no_address_shows_its_password(shown: str, kept: str) -> None:
    assert without_password(shown) == kept
    assert str(ConfigError(shown)) == kept
    if " " not in shown:
        section = CacheSection(url=shown)
        assert section.model_dump(mode="json")["url"] == kept
        assert "s3" not in repr(section)
        assert section.url == shown


@pytest.mark.parametrize("written", ["folder = {}\nurl = {}", "folder = [{}]", "folder = 'x'\nenabled = {}"])
def test_no_mistake_in_the_table_shows_a_password(written: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[data]\npath = "x.jsonl"\n[cache]\n' + written.replace("{}", '"redis://:s3cret@h:1/0"'))
    with pytest.raises(ConfigError, match="cache") as told:
        load_config(path)
    assert "s3cret" not in str(told.value)


def test_a_password_in_the_environment_is_not_shown_if_its_variable_is_the_wrong_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.toml").write_text('[data]\npath = "x.jsonl"\n')
    monkeypatch.setenv("ICM_CACHE", "redis://:s3cret@h:1/0")
    with pytest.raises(ConfigError, match="ICM_CACHE: cache is a table") as told:
        load_config(tmp_path / "c.toml")
    assert "s3cret" not in str(told.value)


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'icm-api\[redis\]'"):
        open_cache("redis://127.0.0.1:1/0")


@pytest.mark.parametrize("url", ["redis://host/x", "rediss://me:s3c@ret@host:6379/0x", "redis://host:1/0/1?a=b"])
def test_a_database_that_is_no_number_is_no_database_0(url: str) -> None:
    with pytest.raises(ConfigError, match="number of a database") as told:
        RedisCache(url)
    assert "s3" not in str(told.value)


@pytest.mark.slow
@needs_redis
@pytest.mark.parametrize("url", ["redis://:s3/cret@h:1/0", "ftp://:s3cret@h", "redis://:s3cret@h:port/0", "redis://[h"])
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises((ConfigError, StorageError)) as told:
        RedisCache(url)
    assert "s3" not in str(told.value)
    assert told.value.__suppress_context__ or "s3" not in str(told.value.__cause__)


@pytest.mark.slow
@needs_redis
def test_it_keeps_the_keys_and_the_bytes_of_a_disk(server: RedisServer, tmp_path: Path) -> None:
    cache, disk = open_cache(server.url), ResponseCache(tmp_path / "disk")
    answers = dict(zip(KEYS, map(response, (-0.5, -1.5, -2.5)), strict=True))
    for each in (cache, disk):
        each.put_many(answers, "pocket/x")
        assert each.get_many([*KEYS, "0" * 64]) == answers
        assert sorted(entry.key for entry in each.entries()) == sorted(KEYS)
        assert len(each) == 3
    raw = raw_client(server)
    raw.set("someone else's", b"x")
    assert {key.decode() for key in raw.scan_iter()} == {*KEYS, "icm-api:writes", "someone else's"}
    own = encode_entry(KEYS[0], b'{"logprobs":{" True":-0.5}}', USAGE, "pocket/x")
    assert re.sub(rb'^\w{64}|"time":\d+', b"", raw.get(KEYS[0])) == re.sub(rb'^\w{64}|"time":\d+', b"", own)
    assert len(cache) == 3
    assert cache.size() == sum(len(raw.get(key)) for key in KEYS)
    cache.delete(KEYS[:1])
    assert sorted(cache.get_many(KEYS)) == sorted(KEYS[1:])
    cache.close()
    assert len(cache) == 2


@pytest.mark.slow
@needs_redis
def test_a_version_changes_with_what_others_write_and_not_with_what_we_do(server: RedisServer) -> None:
    ours, theirs = RedisCache(server.url), RedisCache(server.url)
    before = ours.version()
    ours.put_many({KEYS[0]: response()})
    assert ours.version() == before
    theirs.put_many({KEYS[1]: response()})
    assert ours.version() != before


@pytest.mark.slow
@needs_redis
@pytest.mark.parametrize("kind", ["flipped", "moved", "pickled", "short"])
def test_what_is_damaged_is_not_used_and_can_be_repaired(server: RedisServer, kind: str, capsys: Printed) -> None:
    cache, raw = RedisCache(server.url), raw_client(server)
    cache.put_many({key: response() for key in KEYS})
    whole = raw.get(KEYS[0])
    damage = {
        "flipped": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "moved": raw.get(KEYS[1]),
        "pickled": pickle.dumps({"body": 1}),
        "short": b"",
    }
    raw.set(KEYS[0], damage[kind])
    with pytest.raises(StorageError, match=f"icm-api cache repair {server.url}"):
        cache.get_many(KEYS)
    assert cache.damaged() == (KEYS[0],)
    assert main(["cache", "verify", server.url]) == 3
    assert main(["cache", "repair", server.url]) == 0
    assert main(["cache", "verify", server.url]) == 0
    assert main(["cache", "stats", server.url, "--json"]) == 0
    stats = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert stats["models"][0]["entries"] == 2
    assert sorted(cache.get_many(KEYS)) == sorted(KEYS[1:])


@pytest.mark.slow
@needs_redis
def test_a_value_of_another_type_is_none_of_ours(server: RedisServer) -> None:
    cache, raw = RedisCache(server.url), raw_client(server)
    raw.lpush(KEYS[0], b"x")
    assert cache.get_many(KEYS) == {}


@pytest.mark.slow
@needs_redis
def test_the_password_comes_from_the_environment_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server(tmp_path, password=SECRET) as server:
        bare = f"redis://127.0.0.1:{server.port}/0"
        with pytest.raises(ConfigError, match=PASSWORD_VARIABLE):
            RedisCache(bare)
        monkeypatch.setenv(PASSWORD_VARIABLE, "another")
        with pytest.raises(ConfigError, match=PASSWORD_VARIABLE) as told:
            RedisCache(bare)
        assert "another" not in str(told.value)
        monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
        RedisCache(bare).put_many({KEYS[0]: response()})
        monkeypatch.delenv(PASSWORD_VARIABLE)
        cache = RedisCache(f"redis://:{SECRET.replace('/', '%2F').replace('@', '%40')}@127.0.0.1:{server.port}/0")
        assert list(cache.get_many(KEYS)) == KEYS[:1]
        assert cache.where == bare
        server.kill()
        with pytest.raises(StorageError, match="cannot reach") as away:
            cache.get_many(KEYS)
        assert "hush" not in str(away.value)


@pytest.mark.slow
@needs_redis
def test_a_server_that_restarts_is_waited_for_and_has_kept_everything(server: RedisServer) -> None:
    cache = RedisCache(server.url)
    cache.put_many({KEYS[0]: response()})
    server.kill()
    again = Timer(1.0, server.start)
    again.start()
    cache.put_many({KEYS[1]: response()})
    again.join()
    assert sorted(cache.get_many(KEYS)) == sorted(KEYS[:2])


@pytest.mark.slow
@needs_redis
def test_a_full_server_is_a_storage_error_and_one_that_forgets_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    with redis_server(tmp_path, *limits) as server:
        cache = RedisCache(server.url)
        assert not caplog.records
        large = {f"{number:064x}": Response({"text": "x" * 100_000}, USAGE) for number in range(60)}

        def fill() -> None:
            for key, each in large.items():
                cache.put_many({key: each})

        with pytest.raises(StorageError, match="room"):
            fill()
        assert not cache.damaged()
        raw_client(server).config_set("maxmemory-policy", "allkeys-lru")
        raw_client(server).config_set("appendonly", "no")
        RedisCache(server.url)
        assert "noeviction" in caplog.text
        assert "appendonly" in caplog.text


@pytest.mark.slow
@needs_redis
def test_a_run_stops_while_the_server_is_away_and_goes_on_to_the_same_bytes(
    server: RedisServer, tmp_path: Path, capsys: Printed
) -> None:
    names = ("labels.jsonl", "summary.json", "trace.jsonl")
    with serve() as model:
        spec = f"vllm:{model.model}@{model.url}"
        on_disk = write_config(tmp_path / "disk", spec)
        assert main(["run", str(on_disk)]) == 0
        paid = sum(model.log.requests.values())
        config = write_config(tmp_path / "shared", spec)
        config.write_text(config.read_text().replace('folder = "cache"', f'url = "{server.url}"'))
        server.kill()
        assert main(["run", str(config)]) == 3
        said = capsys.readouterr().err
        assert "start it" in said
        assert "to go on: the same again" in said  # there is nothing to resume
        assert sum(model.log.requests.values()) == paid
        server.start()
        assert main(["run", str(config)]) == 0
        again = sum(model.log.requests.values())
        assert again == 2 * paid
        for name in names:
            assert (tmp_path / "shared/run" / name).read_bytes() == (tmp_path / "disk/run" / name).read_bytes()
        # Another machine, or the same run anew: nothing is asked again.
        assert main(["run", str(config), "--out", str(tmp_path / "more")]) == 0
        assert sum(model.log.requests.values()) == again
