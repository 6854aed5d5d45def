"""load_jsonl: what a good line becomes, and which message a bad one gets."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icm_api.data import DataSource, load_examples, load_jsonl
from icm_api.errors import ConfigError, DataError
from icm_api.types import Dataset, Example


def write(tmp_path: Path, *lines: str | bytes, end: bytes = b"\n") -> Path:
    path = tmp_path / "claims.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + end for line in lines))
    return path


def load(tmp_path: Path, *lines: str | bytes, fields: list[str] | None = None) -> Dataset:
    return load_jsonl(write(tmp_path, *lines), fields=fields)


def test_a_full_line_becomes_an_example(tmp_path: Path) -> None:
    line = '{"id": "a", "question": "1+1?", "claim": "2", "group": "q1", "answer": 2, "n": 7, "tags": ["x"]}'
    assert load(tmp_path, line)[0] == Example(
        "a", {"question": "1+1?", "claim": "2"}, "q1", "2", {"n": 7, "tags": ["x"]}
    )


def test_named_fields_are_exactly_the_texts_and_others_go_into_metadata(tmp_path: Path) -> None:
    example = load(tmp_path, '{"text": "t", "note": "n", "answer": "A"}', fields=["text", "answer"])[0]
    assert example == Example("1", {"text": "t", "answer": "A"}, None, "A", {"note": "n"})


def test_other_keys_for_id_group_and_answer(tmp_path: Path) -> None:
    path = write(tmp_path, '{"key": 3, "question": "q", "final": 4, "text": "t", "id": "not the id"}')
    data = load_jsonl(path, fields=["text"], id_field="key", group_field="question", answer_field="final")
    assert data[0] == Example("3", {"text": "t"}, "q", "4", {"id": "not the id"})


@pytest.mark.parametrize("fields", [None, ["text"]])
def test_gold_labels_are_nowhere_in_an_example(tmp_path: Path, fields: list[str] | None) -> None:
    line = '{"text": "t", "label": "SECRET", "gold": "SECRET", "n": 1}'
    assert load(tmp_path, line, fields=fields)[0] == Example("1", {"text": "t"}, metadata={"n": 1})
    boolean = '{"text": "t", "label": true, "gold": [1], "n": 1}'
    assert load(tmp_path, boolean, fields=fields)[0] == Example("1", {"text": "t"}, metadata={"n": 1})


@pytest.mark.parametrize("key", ["label", "gold"])
def test_gold_keys_cannot_be_asked_for(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, '{"text": "t", "label": "True", "gold": "True"}')
    with pytest.raises(ConfigError, match=f"{key!r} holds gold labels"):
        load_jsonl(path, fields=["text", key])
    with pytest.raises(ConfigError, match=f"{key!r} holds gold labels"):
        load_jsonl(path, group_field=key)
    with pytest.raises(ConfigError, match=f"{key!r} holds gold labels"):
        load_jsonl(path, answer_field=key)


@pytest.mark.parametrize("fields", ["text", []])
def test_fields_must_be_a_list_of_keys(tmp_path: Path, fields: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"fields=\['text'\]"):
        load(tmp_path, '{"text": "t"}', fields=fields)


def test_without_ids_the_line_number_is_the_id_and_blank_lines_count(tmp_path: Path) -> None:
    data = load(tmp_path, '{"text": "a"}', "", "  \t", '{"text": "b"}', '{"text": "c", "id": null}')
    assert data.ids == ("1", "4", "5")


def test_integer_ids_become_text(tmp_path: Path) -> None:
    assert load(tmp_path, '{"id": 7, "text": "a"}', '{"id": "8", "text": "b"}').ids == ("7", "8")


@pytest.mark.parametrize(
    ("json_text", "text"),
    [
        ("3", "3"),
        ("3.5", "3.5"),
        ("3.0", "3"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ('"3.0"', "3.0"),
        ("null", None),
    ],
)
@pytest.mark.parametrize("key", ["group", "answer"])
def test_numbers_become_text_such_that_equal_numbers_are_equal_texts(
    tmp_path: Path, key: str, json_text: str, text: str | None
) -> None:
    example = load(tmp_path, f'{{"text": "t", "{key}": {json_text}}}')[0]
    assert getattr(example, key) == text


def test_bom_carriage_returns_and_a_missing_last_line_end(tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n{"text": "b"}')
    assert [(e.id, e.fields["text"]) for e in load_jsonl(path)] == [("1", "a"), ("3", "b")]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_unicode_line_separators_do_not_end_a_line(tmp_path: Path, mark: str) -> None:
    assert load(tmp_path, f'{{"text": "a{mark}b"}}', '{"text": "c"}')[0].fields["text"] == f"a{mark}b"


BAD_LINES = [
    ('{"text": " \\n"}', "text field 'text' is empty; fill it"),
    ('{"n": 3}', r"no text field: none of the keys \['n'\] holds a text"),
    ('{"label": "True"}', r"no text field: none of the keys \['label'\]"),
    (b'{"text": "\xff"}', "not UTF-8: byte 11 of the line is 0xff"),
    ('{"text": "a"', r"not valid JSON: .* at character 13, near '{\"text\": \"a\"'"),
    ('["text"]', "a list, not a JSON object"),
    ('"text"', "a string, not a JSON object"),
    ("null", "null, not a JSON object"),
    ("3", "a number, not a JSON object"),
    ('{"text": "a", "group": true}', "'group' is true or false; it must be a string or a number"),
    ('{"text": "a", "group": {}}', "'group' is an object"),
    ('{"text": "a", "answer": ["b"]}', "'answer' is a list"),
    ('{"text": "a", "answer": " "}', "'answer' is empty; leave the key out"),
    ('{"text": "a", "text": "b"}', "key 'text' occurs twice in one object"),
    ('{"text": "a", "meta": {"k": 1, "k": 2}}', "key 'k' occurs twice in one object"),
    ('{"text": "a", "n": NaN}', "NaN is no JSON number"),
    ('{"text": "a", "n": [-Infinity]}', "-Infinity is no JSON number"),
    ('{"text": "a", "n": 1e999}', "the number 1e999 is too large"),
    ('{"text": "\\uD83D"}', r"a \\u escape is half of a surrogate pair"),
    ("[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("line", "what"), BAD_LINES)
def test_a_bad_line_is_named_with_its_number_and_reason(tmp_path: Path, line: str | bytes, what: str) -> None:
    path = write(tmp_path, '{"text": "good"}', "", line, '{"text": "good"}')
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}:3: {what}"):
        load_jsonl(path)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"id": true, "text": "a"}', "'id' is true or false; an id is a string or an integer"),
        ('{"id": 1.5, "text": "a"}', "'id' is a number; an id is a string or an integer"),
        ('{"id": "", "text": "a"}', "'id' is empty"),
        ('{"text": "a"}', "has no 'id', but line 1 has one; give every line an id, or none"),
        ('{"id": 5, "text": "a"}', r"id '5' occurs twice, first on line 1; ids must be unique"),
    ],
)
def test_a_bad_id_is_named(tmp_path: Path, line: str, what: str) -> None:
    with pytest.raises(DataError, match=f"claims.jsonl:2: {what}$|claims.jsonl:2: {what};"):
        load(tmp_path, '{"id": "5", "text": "x"}', line)


def test_an_id_after_lines_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"claims.jsonl:3: has an 'id', but line 2 has none"):
        load(tmp_path, "", '{"text": "a"}', '{"id": "x", "text": "b"}')


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"id": 2, "other": "a"}', r"text field 'text' is missing; the line has the keys \['id', 'other'\]"),
        ('{"id": 2, "text": 4}', "text field 'text' is a number; it must be a string"),
        ('{"id": 2, "text": null}', r"text field 'text' is empty \(null"),
        ('{"id": 2, "text": ""}', "text field 'text' is empty"),
    ],
)
def test_a_named_field_is_required_on_every_line(tmp_path: Path, line: str, what: str) -> None:
    with pytest.raises(DataError, match=f"claims.jsonl:2: {what}"):
        load(tmp_path, '{"id": 1, "text": "a"}', line, fields=["text"])


def test_the_message_reads_as_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, '{"id": "b", "text": "t"}', "", '{"id": "a", "text": "t"}', '{"id": "a", "text": "u"}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        load_jsonl("claims.jsonl")
    assert str(caught.value) == "claims.jsonl:4: id 'a' occurs twice, first on line 3; ids must be unique"


def test_a_long_bad_line_is_quoted_in_part(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, '{"text": "' + "long " * 10_000 + '" HERE}')
    assert "HERE" in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 150


def test_only_the_first_error_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, "oops", "oops again")
    assert "claims.jsonl:1:" in str(caught.value)
    assert ":2:" not in str(caught.value)


def test_files_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        load_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="this is a directory"):
        load_jsonl(tmp_path)
    with pytest.raises(DataError, match="cannot be read: Not a directory"):
        load_jsonl(write(tmp_path, "{}") / "below")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_file_without_lines_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match="the file is empty"):
        load_jsonl(path)


TEXT = st.text(min_size=1).filter(str.strip)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner | TEXT) | st.dictionaries(TEXT, inner),
    max_leaves=4,
)
TAKEN = {"id", "group", "answer", "label", "gold", "text"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(TEXT, min_size=1, max_size=4, unique=True),
    text=TEXT,
    group=st.none() | TEXT,
    extra=st.dictionaries(TEXT.filter(lambda key: key not in TAKEN), JSON, max_size=3),
    ascii_only=st.booleans(),
)
def test_what_json_wrote_is_what_is_loaded(
    tmp_path: Path, ids: list[str], text: str, group: str | None, extra: dict[str, object], ascii_only: bool
) -> None:
    lines = [json.dumps({"id": key, "text": text, "group": group, **extra}, ensure_ascii=ascii_only) for key in ids]
    assert list(load(tmp_path, *lines)) == [Example(key, {"text": text}, group, None, extra) for key in ids]


def test_the_examples_are_frozen(tmp_path: Path) -> None:
    example = load(tmp_path, '{"text": "a", "n": 1}')[0]
    for mapping in (example.fields, example.metadata):
        with pytest.raises(TypeError):
            mapping["text"] = "b"  # type: ignore[index]


def test_a_key_of_ids_that_no_row_has_is_no_reason_to_count_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Nr,text\n7,a\n")
    with pytest.raises(DataError, match=r"a\.csv:2: has no 'nr', stated as the key of the ids; it has .*'Nr'"):
        load_examples(DataSource(str(path), id="nr"))
    assert [each.id for each in load_examples(DataSource(str(path), id="Nr"))] == ["7"]
