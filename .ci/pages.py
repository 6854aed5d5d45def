"""Makes the pages of the site: README, guide, cookbook, configuration keys, and a reference page a public module.

Run by mkdocs (plugin gen-files); nothing is written to the checkout. Pages in cookbook/guide are taken as they are.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from runpy import run_path

import mkdocs_gen_files
import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "icm_api"
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)#]+)\)")
GUIDE = {
    "icm_api/search/README.md": ("guide/search.md", "How the search works"),
    "cookbook/guide/real_models.md": ("guide/real_models.md", "On real models"),
    "cookbook/guide/providers.md": ("guide/providers.md", "Providers"),
    "cookbook/guide/costs.md": ("guide/costs.md", "What it costs"),
    "cookbook/guide/price_of_a_label.md": ("guide/price_of_a_label.md", "The price of a label"),
    "cookbook/guide/verdicts.md": ("guide/verdicts.md", "Verdicts"),
    "cookbook/guide/intervals.md": ("guide/intervals.md", "Intervals"),
    "cookbook/guide/your_files.md": ("guide/your_files.md", "Your own files"),
    "cookbook/guide/reward_models.md": ("guide/reward_models.md", "Reward models"),
    "cookbook/guide/assistant.md": ("guide/assistant.md", "A better assistant"),
    "cookbook/guide/large_sets.md": ("guide/large_sets.md", "Data sets of any size"),
    "cookbook/guide/training.md": ("guide/training.md", "Fine-tune on the labels"),
    "cookbook/guide/search_quality.md": ("guide/search_quality.md", "How good the search is"),
    "cookbook/guide/run_folder.md": ("guide/run_folder.md", "What a run leaves behind"),
    "CONTRIBUTING.md": ("guide/contributing.md", "Contributing"),
    "SECURITY.md": ("guide/security.md", "Security"),
    "CHANGELOG.md": ("guide/changelog.md", "Changelog"),
}
"""File of the checkout -> its page and the page's name."""


def page(name: str, text: str) -> None:
    """Write one page of the site."""
    with mkdocs_gen_files.open(name, "w") as file:
        file.write(text)


def linked(text: str, place: str = "") -> str:
    """Links between files of the checkout as links between pages; of links to other files, the text alone.

    Args:
        text: Markdown.
        place: the page's folder on the site.
    """

    def target(found: re.Match[str]) -> str:
        mark, text, path = found.groups()
        if path in GUIDE:
            page = GUIDE[path][0]
        elif path.endswith(".ipynb"):
            page = f"recipes/{Path(path).stem}.md"
        elif path.endswith("cookbook/README.md"):
            page = "recipes/index.md"
        elif mark:
            page = path.removeprefix("cookbook/")
        else:
            return text
        return f"{mark}[{text}]({posixpath.relpath(page, place or '.')})"

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
    page("index.md", linked((ROOT / "README.md").read_text(encoding="utf-8")))
    navigation.append("- Guide")
    for path, (name, title) in GUIDE.items():
        if not path.startswith("cookbook/"):
            page(name, linked((ROOT / path).read_text(encoding="utf-8"), "guide"))
        navigation.append(f"    - [{title}]({name})")
    page("guide/keys.md", run_path(str(ROOT / ".ci" / "config_keys.py"))["keys_page"]())
    navigation.append("    - [Every key of a configuration](guide/keys.md)")
    cookbook = ROOT / "cookbook"
    if (cookbook / "README.md").exists():
        navigation.append("- [Cookbook](recipes/index.md)")
        page("recipes/index.md", linked((cookbook / "README.md").read_text(encoding="utf-8"), "recipes"))
    for path in sorted(cookbook.glob("*.ipynb")):
        text, _ = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]
        page(f"recipes/{path.stem}.md", linked(text, "recipes"))
        navigation.append(f"    - [{path.stem}](recipes/{path.stem}.md)")
    navigation.append("- Reference")
    for module in public_modules():
        name = f"reference/{module}.md"
        page(name, f"# {module}\n\n::: {module}\n")
        navigation.append(f"    - [{module.removeprefix('icm_api.')}]({name})")
    page("SUMMARY.md", "\n".join(navigation) + "\n")


main()
