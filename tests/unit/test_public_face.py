"""What the package offers: complete, documented, and free to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import icm_api


def test_all_is_sorted_and_each_name_is_there() -> None:
    assert icm_api.__all__ == sorted(set(icm_api.__all__))
    assert [name for name in icm_api.__all__ if not hasattr(icm_api, name)] == []


@pytest.mark.parametrize("name", [name for name in icm_api.__all__ if name not in ("Constraint", "Label")])
def test_every_public_name_is_documented(name: str) -> None:
    text = getattr(icm_api, name).__doc__ or ""
    # A dataclass without a docstring gets its own signature for one.
    assert len(text) > 20
    assert not text.startswith(f"{name}(")


def test_importing_it_loads_no_backend_and_no_sdk() -> None:
    heavy = "{'torch', 'transformers', 'openai', 'anthropic', 'starlette', 'uvicorn', 'aiohttp'}"
    code = f"import sys, icm_api; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
