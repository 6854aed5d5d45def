"""What the package offers: complete, documented, and free to import."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import icm_api
from icm_api.cli.main import main
from icm_api.cli.verbs import VERBS


def test_all_is_sorted_and_each_name_is_there() -> None:
    assert icm_api.__all__ == sorted(set(icm_api.__all__))
    assert [name for name in icm_api.__all__ if not hasattr(icm_api, name)] == []


@pytest.mark.parametrize("name", [name for name in icm_api.__all__ if name not in ("Constraint", "Label")])
def test_every_public_name_is_documented(name: str) -> None:
    text = getattr(icm_api, name).__doc__ or ""
    # A dataclass without a docstring gets its own signature for one.
    assert len(text) > 20
    assert not text.startswith(f"{name}(")


LAZY = ["icm_api", "icm_api.config"]


@pytest.mark.parametrize("package", LAZY)
def test_a_name_is_what_a_type_checker_takes_it_for(package: str) -> None:
    module = importlib.import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    stated = {
        name.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert set(stated) == set(module.__all__)
    for name, home in stated.items():
        assert getattr(module, name) is getattr(importlib.import_module(str(home)), name)


@pytest.mark.parametrize("package", LAZY)
def test_names_are_listed_and_unknown_ones_refused(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        _ = module.Nothing


@pytest.mark.parametrize("package", LAZY)
def test_no_name_is_a_module_too(package: str) -> None:
    """The module would take the place of what is offered, once anything imports it."""
    modules = {found.name for found in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert not modules & set(importlib.import_module(package).__all__)


HEAVY = "torch transformers openai anthropic starlette uvicorn aiohttp httpx2 diskcache numpy pydantic rich tenacity"


@pytest.mark.parametrize(
    "code", ["import icm_api", "from icm_api import Dataset, Labeling, Task, IcmError", "import icm_api.cli.main"]
)
def test_importing_it_loads_no_backend_and_no_sdk(code: str) -> None:
    code = f"import sys; {code}; sys.exit(' '.join(set('{HEAVY}'.split()) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_its_work_and_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, _, function = VERBS[name].work.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    with pytest.raises(SystemExit, match=r"^0$"):
        main([name, "--help"])
    said = capsys.readouterr().out
    assert VERBS[name].description.partition(" ")[0] in said


def test_actions_of_the_cache_are_there() -> None:
    module = importlib.import_module("icm_api.cli.cache")
    actions = {"stats", "verify", "repair", "prune", "export"}
    assert {name.removesuffix("_verb") for name in vars(module) if name.endswith("_verb")} == actions
