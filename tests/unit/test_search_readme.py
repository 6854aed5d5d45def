"""The walk through the search: its examples run, its quotes are the source's, and every name in it exists."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

import icm_api

PACKAGE = Path(icm_api.__file__).parent
TEXT = (PACKAGE / "search" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
QUOTES = [block for block in BLOCKS if block.startswith("# ")]
PROSE = re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL)
NAMES = sorted(set(re.findall(r"`([A-Za-z_][\w.]*)`", PROSE)))
FILES = sorted(set(re.findall(r"[\w/]+\.py\b", TEXT)))


@cache
def defined() -> frozenset[str]:
    """Names of classes, functions, their members (`Class.name`) and parameters, and all strings, in the package."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.ClassDef(name=name, body=body):
                    found |= {name, *(f"{name}.{member}" for member in map(_member, body))}
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                    found.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)) | ast.Constant(value=str(name)):
                    found.add(name)
    return frozenset(found)


def _member(node: ast.stmt) -> str:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def found_in_package(name: str) -> Any:
    """What a dotted path from `icm_api` on leads to; None if it leads nowhere."""
    try:
        return resolve_name(f"icm_api.{name}")
    except (AttributeError, ImportError):
        return None


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name: str) -> None:
    assert name in defined() or found_in_package(name) is not None


@pytest.mark.parametrize("name", FILES)
def test_every_file_exists(name: str) -> None:
    assert (PACKAGE / name).is_file() or (PACKAGE.parent / name).is_file()


@pytest.mark.parametrize("quote", QUOTES, ids=lambda quote: quote.splitlines()[0])
def test_quotes_are_the_source(quote: str) -> None:
    head, *lines = quote.splitlines()
    module, name = head.removeprefix("# ").replace("/", ".").split(".py: ")
    source = iter([line.strip() for line in inspect.getsource(found_in_package(f"{module}.{name}")).splitlines()])
    for line in map(str.strip, lines):
        # `in` goes on after the line found last, so that the order counts too.
        assert line == "..." or line in source


def test_examples_run() -> None:
    examples = "\n\n".join(block for block in BLOCKS if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(examples, {}, "search/README.md", "search/README.md", 0)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner().run(test).failed == 0


def test_there_is_something_to_check() -> None:
    assert len(QUOTES) >= 3
    assert len(NAMES) > 40
    assert found_in_package("search.anneal.Nothing") is None
    assert "no_such_function" not in defined()
