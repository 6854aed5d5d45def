"""Every example in a docstring does what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import icm_api

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(icm_api.__path__, "icm_api.")
    if not found.name.endswith("__main__") and found.name not in ("icm_api.pocket.train",)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{error.name} is not installed")
    assert doctest.testmod(module).failed == 0


def test_there_are_examples() -> None:
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES if "search." in name) > 5
