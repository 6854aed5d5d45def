"""What the documents for people say exists: links, files, verbs, names of the package, and configurations that load."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

from icm_api.cli.main import build_parser
from icm_api.config import load_config

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + list((ROOT / "cookbook").rglob("*.md"))
)
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
README = TEXTS["README.md"]


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[name])
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_files_of_the_project_that_are_named_exist(name: str) -> None:
    """`NAME` in a path is for the reader to fill in."""
    named = re.findall(r"`((?:icm_api|tests|cookbook)/[\w/.-]+)`", TEXTS[name])
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_verbs_are_the_commands(name: str) -> None:
    verbs = set(re.findall(r"\bicm-api ([a-z]+)\b", TEXTS[name]))
    help_text = build_parser().format_help()
    assert [verb for verb in sorted(verbs) if not re.search(rf"^    {verb}\b", help_text, re.MULTILINE)] == []


@pytest.mark.parametrize("name", TEXTS)
def test_names_are_the_packages(name: str) -> None:
    names = set(re.findall(r"\b(?:icm|icm_api)\.([a-z]\w*)\b(?!\.\w)", TEXTS[name])) - {"md", "py"}
    for each in names:
        # An AttributeError or ImportError names what is missing.
        resolve_name(f"icm_api.{each}")


def test_the_configuration_of_the_readme_loads(tmp_path: Path) -> None:
    [text] = [
        block for block in re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if "[data]" in block
    ]
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    config = load_config(path, environment=False)
    assert config.data.path == tmp_path / "claims.jsonl"
    assert [constraint.kind for constraint in config.constraints] == ["mutually_exclusive"]


def test_the_hooks_before_a_commit_are_checks_of_ci() -> None:
    command = README.partition("## Tests")[2].partition("```bash\n")[2].partition("```")[0]
    hooks = re.findall(r"entry: (.+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert len(hooks) == 5
    checks = [each.strip() for each in re.split(r"[&()\n]+", command)]
    assert [hook for hook in hooks if not any(check.startswith(hook) for check in checks)] == []
