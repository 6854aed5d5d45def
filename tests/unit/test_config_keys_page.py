"""The page of the site that lists the keys of a configuration: all of them, each with a meaning."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from pydantic import BaseModel

from icm_api.config import Config

keys_page: Callable[..., str] = run_path(str(Path(__file__).parents[2] / ".ci" / "config_keys.py"))["keys_page"]
SCHEMA = Config.model_json_schema()


def keys() -> Iterator[tuple[str, str]]:
    """Every table of the schema with every key, by pydantic's own account of it."""
    for table, about in SCHEMA["properties"].items():
        for name in re.findall(r"#/\$defs/(\w+)", str(about)):
            yield from ((table, key) for key in SCHEMA["$defs"][name]["properties"] if key != "kind")


@pytest.mark.parametrize(("table", "key"), sorted(set(keys())))
def test_every_key_has_a_row_with_a_meaning(table: str, key: str) -> None:
    chapters = [
        chapter for chapter in keys_page().split("\n## ") if chapter.startswith((f"`[{table}]", f"`[[{table}]]"))
    ]
    rows = [row for chapter in chapters for row in re.findall(rf"^\| `{key}` \|.*$", chapter, re.MULTILINE)]
    assert rows
    for row in rows:
        _, value, _, meaning = re.split(r"(?<!\\) \| ", row.removeprefix("| ").removesuffix(" |"))
        assert value
        assert len(meaning) > 5


def test_there_is_a_chapter_for_each_kind_of_constraint() -> None:
    kinds = SCHEMA["properties"]["constraints"]["items"]["discriminator"]["mapping"]
    assert kinds
    assert [kind for kind in kinds if f'kind = "{kind}"' not in keys_page()] == []


def test_defaults_and_bounds_are_as_the_schema_has_them() -> None:
    assert '| `labels` | list of text | `["True", "False"]` |' in keys_page()
    assert "| `alpha` | number above 0 | `50.0` |" in keys_page()
    assert "| `path` | path | required |" in keys_page()


def test_a_key_without_a_meaning_is_an_error() -> None:
    class Section(BaseModel):
        """Says nothing of its key.

        Attributes:
            other: a key that it has.
        """

        other: int = 1
        silent: int = 1

    class Whole(BaseModel):
        section: Section = Section()

    with pytest.raises(ValueError, match=r"\[section\] silent"):
        keys_page(Whole)


def test_a_meaning_may_go_on_over_lines_and_serve_two_keys() -> None:
    class Section(BaseModel):
        """A section.

        Attributes:
            one, two: a meaning that is
                long: so long.
            three: short.
        """

        one: int
        two: int
        three: Any = None

    class Whole(BaseModel):
        section: Section

    page = keys_page(Whole)
    assert page.count("| a meaning that is long: so long. |") == 2
    assert "| `three` | any value |  | short. |" in page
