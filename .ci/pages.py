"""Makes the pages of the site: the README, the cookbook, and a reference page for each module with public names.

Run by mkdocs (plugin gen-files); nothing is written to the checkout.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import mkdocs_gen_files
import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "icm_api"
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def page(name: str, text: str) -> None:
    """Write one page of the site."""
    with mkdocs_gen_files.open(name, "w") as file:
        file.write(text)


def linked(text: str, folder: str) -> str:
    """Links between files of the checkout as links between pages; other files lose theirs."""

    def target(found: re.Match[str]) -> str:
        path = found[1]
        if path.endswith(".ipynb"):
            return f"]({folder}{Path(path).stem}.md)"
        if path.endswith("cookbook/README.md") or path.rstrip("/") == "cookbook":
            return "](recipes/index.md)"
        if path.endswith((".png", ".svg")):
            return f"]({path.removeprefix('cookbook/')})"
        return "]"

    return LINK.sub(target, text)


def public_modules() -> list[str]:
    """Modules that define a public class or function."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [
            node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        if parts[-1] not in ("__init__", "__main__") and any(not name.startswith("_") for name in names):
            found.append(".".join(parts))
    return found


def main() -> None:
    """All pages, and the navigation."""
    navigation = ["- [icm_api](index.md)"]
    page("index.md", linked((ROOT / "README.md").read_text(encoding="utf-8"), "recipes/"))
    cookbook = ROOT / "cookbook"
    if (cookbook / "README.md").exists():
        navigation.append("- [Cookbook](recipes/index.md)")
        page("recipes/index.md", linked((cookbook / "README.md").read_text(encoding="utf-8"), ""))
    for path in sorted(cookbook.glob("*.ipynb")):
        text, _ = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]
        page(f"recipes/{path.stem}.md", linked(text, ""))
        navigation.append(f"    - [{path.stem}](recipes/{path.stem}.md)")
    navigation.append("- Reference")
    for module in public_modules():
        name = f"reference/{module}.md"
        page(name, f"# {module}\n\n::: {module}\n")
        navigation.append(f"    - [{module.removeprefix('icm_api.')}]({name})")
    page("SUMMARY.md", "\n".join(navigation) + "\n")


main()
