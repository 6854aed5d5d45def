"""The response cache: keys, damage, full disks, several processes, and processes that are killed."""

import hashlib
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_api.errors import StorageError
from icm_api.model.client.cache import ResponseCache
from icm_api.model.client.entries import Bodies, cache_key
from icm_api.model.request import Request, Response
from icm_api.types import Usage

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
USAGE = Usage(requests=1, prompt_tokens=12, completion_tokens=3)


def response(number: float = -0.5) -> Response:
    return Response({"logprobs": {" True": number}}, USAGE)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ResponseCache]:
    store = ResponseCache(tmp_path / "cache")
    yield store
    store.close()


def edit(cache: ResponseCache, statement: str, *values: object) -> None:
    cache.close()
    connection = sqlite3.connect(cache.directory / "cache.db")
    with connection:
        connection.execute(statement, values)
    connection.close()


def run_python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_defect_13_cache_key_has_the_model() -> None:
    body = {"prompt": "x", "forms": [" True"]}
    assert cache_key("openai/api.openai.com/a", Request(body)) != cache_key("openai/api.openai.com/b", Request(body))


def test_defect_1_the_cache_key_is_of_the_prompt_and_of_all_else_that_shapes_the_answer() -> None:
    body: dict[str, Any] = {"prompt": "x", "forms": [" True", " False"], "temperature": 0}
    changes: list[dict[str, Any]] = [
        {"prompt": "y"},
        {"forms": [" True"]},
        {"forms": [" False", " True"]},
        {"temperature": 1},
        {"sample": 0},
        {"sample": 1},
    ]
    requests = [Request(body), *(Request({**body, **change}) for change in changes)]
    requests += [Request(body, sample=1), Request(body, endpoint="/v1/completions")]
    assert len({cache_key("m", request) for request in requests}) == len(requests)
    assert cache_key("m", Request(body, prefix="p", tokens=9)) == cache_key("m", Request(body))


def test_the_key_does_not_depend_on_the_order_of_fields_and_never_changes() -> None:
    key = cache_key("pocket/x", Request({"prompt": "1+1=", "forms": [" 2"]}))
    assert key == cache_key("pocket/x", Request({"forms": [" 2"], "prompt": "1+1="}))
    # Pinned: another key for the same request would make users pay for everything again.
    assert key == "3ab95524e3bae6dd59d09d43208f9e3f3a948fa013f6fcfb3f78a0a34abdb913"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_body_that_is_no_json_has_no_key(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        cache_key("m", Request({"x": number}))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResponseCache]:
    store = ResponseCache(tmp_path_factory.mktemp("shared"))
    yield store
    store.close()


@settings(max_examples=40)
@given(body=st.dictionaries(st.text(), JSON, max_size=4), usage=st.tuples(*[st.integers(0, 2**40)] * 4))
def test_what_was_put_comes_back(
    shared: ResponseCache, body: dict[str, object], usage: tuple[int, int, int, int]
) -> None:
    shared.put_many({"k": Response(body, Usage(*usage))})
    assert shared.get_many(["k", "absent"]) == {"k": Response(body, Usage(*usage))}


def test_entries_outlive_the_process_object_and_large_ones_are_in_the_same_file(tmp_path: Path) -> None:
    large = Response({"text": "x" * 1_000_000}, USAGE)
    first = ResponseCache(tmp_path)
    first.put_many({"a": response(), "b": large})
    first.close()
    second = ResponseCache(tmp_path)
    assert second.get_many(["a", "b"]) == {"a": response(), "b": large}
    assert len(second) == 2
    second.close()
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"cache.db"}


def test_nothing_is_evicted(cache: ResponseCache) -> None:
    connection = sqlite3.connect(cache.directory / "cache.db")
    settings = dict(connection.execute("SELECT key, value FROM Settings").fetchall())
    connection.close()
    assert settings["eviction_policy"] == "none"
    assert settings["cull_limit"] == 0
    assert settings["size_limit"] == 2**40
    assert settings["statistics"] == 0


def test_a_flipped_bit_anywhere_in_an_entry_is_noticed_and_can_be_repaired(cache: ResponseCache) -> None:
    cache.put_many({"a": response(-1.0), "b": response(-2.0)})
    connection = sqlite3.connect(cache.directory / "cache.db")
    (raw,) = connection.execute("SELECT value FROM Cache WHERE key = 'a'").fetchone()
    connection.close()
    for at in range(0, len(raw), 7):
        flipped = bytes([*raw[:at], raw[at] ^ 1, *raw[at + 1 :]])
        edit(cache, "UPDATE Cache SET value = ? WHERE key = 'a'", flipped)
        with pytest.raises(StorageError, match="entry a is damaged") as caught:
            cache.get_many(["b", "a"])
        assert str(cache.directory) in str(caught.value)
    assert cache.repair() == ("a",)
    assert cache.get_many(["a", "b"]) == {"b": response(-2.0)}
    assert cache.repair() == ()


def test_an_entry_under_anothers_key_is_damage(cache: ResponseCache) -> None:
    cache.put_many({"a": response()})
    edit(cache, "UPDATE Cache SET key = 'b'")
    with pytest.raises(StorageError, match="entry b"):
        cache.get_many(["b"])


class Explosive:
    """Unpickling this writes a file: the proof that somebody unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


def test_cve_2025_69872_a_pickled_value_is_refused_and_not_run(cache: ResponseCache, tmp_path: Path) -> None:
    cache.put_many({"a": response()})
    edit(cache, "UPDATE Cache SET mode = 4, value = ?", pickle.dumps(Explosive(tmp_path / "ran")))
    for action in (lambda: cache.get_many(["a"]), cache.repair):
        with pytest.raises(StorageError, match="pickled"):
            action()
    (cache.directory / "evil.val").write_bytes(pickle.dumps(Explosive(tmp_path / "ran")))
    edit(cache, "UPDATE Cache SET filename = 'evil.val', value = NULL")
    with pytest.raises(StorageError, match="pickled"):
        cache.get_many(["a"])
    assert not (tmp_path / "ran").exists()


def test_cve_2025_69872_a_pickled_key_is_refused_and_not_run(cache: ResponseCache, tmp_path: Path) -> None:
    cache.put_many({"a": response()})
    edit(cache, "UPDATE Cache SET raw = 0, key = ?", pickle.dumps(Explosive(tmp_path / "ran")))
    with pytest.raises(StorageError, match="not plain text"):
        cache.repair()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("place", ["absolute", "relative"])
@pytest.mark.parametrize("mode", [1, 2, 3])
def test_a_row_that_names_a_file_is_refused_and_the_file_stays(
    cache: ResponseCache, tmp_path: Path, place: str, mode: int
) -> None:
    """By default diskcache deletes the file of a row that goes, and the folders that this empties."""
    victim = tmp_path / "folder" / "victim"
    victim.parent.mkdir()
    victim.write_bytes(b"not the cache's")
    cache.put_many({"a": response(), "b": response()})
    name = str(victim) if place == "absolute" else "../folder/victim"
    edit(cache, "UPDATE Cache SET mode = ?, filename = ? WHERE key = 'a'", mode, name)
    actions = (
        lambda: cache.get_many(["b", "a"]),
        lambda: list(cache.entries()),
        cache.damaged,
        cache.repair,
        lambda: cache.delete(["b", "a"]),
        lambda: cache.put_many({"b": response(-2.0), "a": response(-2.0)}),
    )
    for action in actions:
        with pytest.raises(StorageError, match=r"names a file.*move it away") as caught:
            action()
        assert str(cache.directory) in str(caught.value)
        assert victim.read_bytes() == b"not the cache's"
    # Not even once it has expired, which is when diskcache no longer reads it.
    edit(cache, "UPDATE Cache SET expire_time = 1 WHERE key = 'a'")
    with pytest.raises(StorageError, match="names a file"):
        cache.put_many({"b": response(-2.0), "a": response(-2.0)})
    assert victim.read_bytes() == b"not the cache's"
    # What was refused changed nothing.
    assert cache.get_many(["b"]) == {"b": response()}


def test_only_plain_bytes_under_text_keys_are_written(cache: ResponseCache) -> None:
    cache.put_many({"a": response()})
    connection = sqlite3.connect(cache.directory / "cache.db")
    rows = connection.execute("SELECT key, raw, mode, typeof(value) FROM Cache").fetchall()
    connection.close()
    assert rows == [("a", 1, 1, "blob")]
    with pytest.raises(TypeError, match="must be str"):
        cache.get_many([("a", 1)])  # type: ignore[list-item]


def test_a_batch_is_kept_whole_or_not_at_all(cache: ResponseCache) -> None:
    bad = Response({"logprobs": float("nan")}, USAGE)
    with pytest.raises(ValueError, match="JSON"):
        cache.put_many({"a": response(), "b": bad})
    assert len(cache) == 0


def test_a_directory_that_cannot_be_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot open the response cache in .*file"):
        ResponseCache(tmp_path / "file" / "cache")


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_text("these are no pages of SQLite, " * 100)
    with pytest.raises(StorageError, match="not a database"):
        ResponseCache(tmp_path)


def test_a_read_only_file_says_what_to_do(cache: ResponseCache) -> None:
    cache.put_many({"a": response()})
    cache._cache._sql("PRAGMA query_only = 1")
    with pytest.raises(StorageError, match=r"readonly.*can be written") as caught:
        cache.put_many({"b": response()})
    assert caught.value.exit_code == 3
    cache.put_many({"b": response()})
    assert len(cache) == 2


FULL = """
    import resource, sys
    from pathlib import Path
    from icm_api.model.client.cache import ResponseCache
    from icm_api.errors import StorageError
    from icm_api.model.request import Request, Response
    from icm_api.types import Usage

    cache = ResponseCache(Path(sys.argv[1]))
    kept = 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    try:
        while kept < 1000:
            cache.put_many({f"{kept}-{at}": Response({"text": "x" * 4000}, Usage(1)) for at in range(4)})
            kept += 1
    except StorageError as error:
        print(kept, error)
    # Room again: the same object goes on.
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    cache.put_many({"after": Response({}, Usage(1))})
    cache.close()
"""


def test_a_full_disk_is_a_storage_error_and_loses_nothing(tmp_path: Path) -> None:
    process = run_python(FULL, tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    number, message = out.split(" ", 1)
    assert "has room" in message
    assert str(tmp_path) in message
    assert 0 < int(number) < 100
    cache = ResponseCache(tmp_path)
    keys = [f"{batch}-{at}" for batch in range(int(number)) for at in range(4)]
    assert len(cache.get_many([*keys, "after"])) == len(keys) + 1
    assert len(cache) == len(keys) + 1
    cache.close()


WRITER = """
    import sys
    from pathlib import Path
    from icm_api.model.client.cache import ResponseCache
    from icm_api.model.request import Request, Response
    from icm_api.types import Usage

    cache = ResponseCache(Path(sys.argv[1]))
    for batch in range(15):
        own = {f"{sys.argv[2]}-{batch}-{at}": Response({"n": at}, Usage(1)) for at in range(10)}
        cache.put_many({**own, "shared": Response({"n": 0}, Usage(1))})
        assert cache.get_many(own) == own
    cache.close()
"""


def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    writers = [run_python(WRITER, tmp_path / "cache", name) for name in "abc"]
    for writer in writers:
        _, err = writer.communicate(timeout=60)
        assert writer.returncode == 0, err
    cache = ResponseCache(tmp_path / "cache")
    assert len(cache) == 3 * 15 * 10 + 1
    assert cache.repair() == ()
    cache.close()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from icm_api.model.client.cache import ResponseCache
    from icm_api.model.request import Request, Response
    from icm_api.types import Usage

    cache = ResponseCache(Path(sys.argv[1]))
    cache.put_many({str(at): Response({"n": at}, Usage(1)) for at in range(50)})
    cache._cache._sql("BEGIN IMMEDIATE")
    cache._cache._sql("DELETE FROM Cache")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_put_survives_kill_9_and_a_half_made_change_does_not(tmp_path: Path) -> None:
    process = run_python(KILLED, tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    cache = ResponseCache(tmp_path)
    entries = cache.get_many(map(str, range(50)))
    assert entries == {str(at): Response({"n": at}, Usage(1)) for at in range(50)}
    cache.close()


def test_entries_are_plain_json_after_the_checksum(cache: ResponseCache) -> None:
    before = time.time()
    cache.put_many({"a": response()})
    connection = sqlite3.connect(cache.directory / "cache.db")
    (raw,) = connection.execute("SELECT value FROM Cache").fetchone()
    connection.close()
    content = json.loads(raw[64:])
    assert before - 1 <= content.pop("time") <= time.time() + 1
    assert content == {"body": {"logprobs": {" True": -0.5}}, "usage": [1, 12, 3, 0], "source": ""}
    assert os.fsencode(raw[:64]).isalnum()


def test_entries_of_three_numbers_without_source_or_time_are_still_read(cache: ResponseCache) -> None:
    content = b'{"body":{"n":1},"usage":[1,12,3]}'
    checksum = hashlib.sha256(b"old\n" + content).hexdigest().encode()
    cache.put_encoded({"old": checksum + content})
    [entry] = cache.entries()
    assert (entry.source, entry.time, entry.response) == ("", None, Response({"n": 1}, Usage(1, 12, 3)))


def test_bodies_are_decoded_when_looked_at_and_no_earlier() -> None:
    bodies = Bodies([b'{"a":1}', b"broken", b'{"b":[2]}'])
    assert (len(bodies), bodies[0], bodies[-1]) == (3, {"a": 1}, {"b": [2]})
    assert list(bodies[::2]) == [{"a": 1}, {"b": [2]}]
    # Nobody can change what the next one finds.
    bodies[0]["a"] = 2  # type: ignore[index]
    assert bodies[0] == {"a": 1}
    with pytest.raises(ValueError, match="Expecting value"):
        list(bodies)
