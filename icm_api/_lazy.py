"""Names that a package imports when they are first asked for (PEP 562), so that to import the package loads nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

    Args:
        package: its `__name__`.
        homes: by module, the names to import from it, with spaces between.

    Example:
        >>> get, names = lazy(__name__, {"math": "sqrt pi"})
        >>> get("sqrt")(4.0)
        2.0
        >>> {"pi", "sqrt"} <= set(names())
        True
    """
    modules = {name: module for module, names in homes.items() for name in names.split()}
    known = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        known[name] = value = getattr(import_module(modules[name]), name)
        return value

    def names() -> list[str]:
        return sorted({*known, *modules})

    return get, names
