"""Packages that an SDK imports whole and that hardly anybody uses are read when somebody asks for a name of theirs.

`import openai` reads every type of every route: two thirds of its time, in every run. Nothing of the SDK is changed or
left out, and what was imported before stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any


class _OnDemand(Loader):
    """Runs a package's own file at the first use of a name that it does not have yet; submodules need it not."""

    def __init__(self, real: Loader) -> None:
        self._real = real
        self._lock = RLock()

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def found(name: str) -> Any:
            with self._lock:
                # Another thread may have been first; and while the file runs, a name that is missing is missing.
                if module.__dict__.pop("__getattr__", None) is not None:
                    self._real.exec_module(module)
            try:
                return module.__dict__[name]
            except KeyError:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}") from None

        module.__dict__["__getattr__"] = found


class _Finder(MetaPathFinder):
    """Finds a package and the packages below it, to be run on demand."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._package and not fullname.startswith(f"{self._package}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None and spec.submodule_search_locations is not None:
            spec.loader = _OnDemand(spec.loader)
        return spec


@contextmanager
def on_demand(package: str) -> Iterator[None]:
    """Within it, what is imported of a package runs when a name of it is asked for.

    Args:
        package: its whole name; packages below it are treated alike, and plain modules run at once.
    """
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
