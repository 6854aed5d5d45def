"""Runs the notebooks of the cookbook, keeps their outputs with no trace of this machine, and lists them in its README.

`python -m tests.cookbook_build [NUMBER ...]` does so for all, or for some: `python -m tests.cookbook_build 01 05`.
Nothing is asserted here; `tests/e2e/test_cookbook.py` holds what is kept against a run from a clean kernel.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

COOKBOOK = Path(__file__).resolve().parents[1] / "cookbook"
README = COOKBOOK / "README.md"
SECONDS = {"11": 3600}
"""That one cell may take, by the notebook's number; 300 in all others."""

_BEGIN, _END = "<!-- made by tests/cookbook_build.py -->\n", "<!-- end -->\n"
_BILL = re.compile(r"^in all +([\d,]+) +([\d,]+) +[\d,]+$.* ([\d.]+) USD$", re.MULTILINE | re.DOTALL)


def numbered() -> tuple[Path, ...]:
    """The notebooks, in order."""
    return tuple(sorted(COOKBOOK.glob("[0-9][0-9]_*.ipynb")))


def read(path: Path) -> Any:
    """A notebook as it is kept."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def executed(path: Path) -> Any:
    """The notebook with the outputs of a run from a clean kernel, in `cookbook/`, scrubbed.

    Raises:
        CellExecutionError: a cell raised.
    """
    notebook = read(path)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        client = NotebookClient(
            notebook,
            timeout=SECONDS.get(path.name[:2], 300),
            record_timing=False,
            allow_error_names=[],
            resources={"metadata": {"path": str(COOKBOOK)}},
        )
        client.execute(env=_environment(root))
        for at, cell in enumerate(notebook.cells, start=1):
            cell["id"], cell["metadata"] = f"cell-{at:02d}", {}
            if cell["cell_type"] == "code":
                cell["outputs"] = [_scrubbed(output, root) for output in _joined(cell["outputs"])]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def _environment(root: Path) -> dict[str, str]:
    """Nothing of the user's own settings reaches the kernel, and what it writes lies under `root`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ICM_", "JUPYTER", "IPYTHON"))}
    return kept | {"TMPDIR": str(root), "IPYTHONDIR": str(root / "ipython"), "COLUMNS": "120"}


def _joined(outputs: Sequence[Any]) -> Iterator[Any]:
    """A stream arrives in pieces that chance cuts."""
    last: Any = None
    for output in outputs:
        if last is not None and _stream(last) is not None and _stream(last) == _stream(output):
            last["text"] += output["text"]
            continue
        if last is not None:
            yield last
        last = output
    if last is not None:
        yield last


def _stream(output: Any) -> str | None:
    name: str | None = output.get("name") if output["output_type"] == "stream" else None
    return name


def _scrubbed(output: Any, root: Path) -> Any:
    """Without folders and ports of this machine, and colours of a terminal."""
    text = json.dumps(output).replace(r"\r\n", r"\n")
    work = re.escape(str(root)) + r"/icm-[^/\s\"'\\]+"
    text = re.sub(work + "/", "", text)
    text = re.sub(work, ".", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\\u001b\[[0-9;]*m", "", text)
    return nbformat.from_dict(json.loads(text))  # type: ignore[no-untyped-call]


def written(notebook: Any) -> str:
    """A notebook as a file: the same notebook, the same bytes."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def said(notebook: Any) -> list[list[str]]:
    """Per code cell the lines that it printed, without those that name a time."""
    return [_lines(cell["outputs"]) for cell in notebook.cells if cell["cell_type"] == "code"]


def _lines(outputs: Sequence[Any]) -> list[str]:
    text = "".join(output.get("text", output.get("data", {}).get("text/plain", "")) for output in outputs)
    return [line.rstrip() for line in text.splitlines() if "seconds" not in line]


def table() -> str:
    """A row a notebook: what it teaches, in its own words, and the bill that it printed."""
    rows = ["| notebook | you will learn | requests | prompt tokens | at the stated price |", "|---|---|--:|--:|--:|"]
    for path in numbered():
        notebook = read(path)
        head = notebook.cells[0]["source"]
        title = head.split("\n", 1)[0].removeprefix("# ")
        learn = " ".join(head.split("**You will learn** ", 1)[1].split("\n\n", 1)[0].split())
        requests, tokens, money = _bill(notebook)
        rows.append(f"| [{title}]({path.name}) | {learn} | {requests} | {tokens} | {money} USD |")
    return "\n".join(rows) + "\n"


def _bill(notebook: Any) -> tuple[str, str, str]:
    bills = _BILL.findall("\n".join("\n".join(lines) for lines in said(notebook)))
    assert len(bills) == 1, "a notebook ends with one bill"
    requests, tokens, money = bills[0]
    return requests, tokens, money


def readme() -> str:
    """The README with the table as it should be."""
    before, rest = README.read_text(encoding="utf-8").split(_BEGIN)
    return before + _BEGIN + table() + _END + rest.split(_END)[1]


def main(chosen: Sequence[str]) -> None:
    """Run the chosen notebooks, or all, in place."""
    for path in numbered():
        if not chosen or path.name.startswith(tuple(chosen)):
            path.write_text(written(executed(path)), encoding="utf-8")
            print(path.name, flush=True)
    README.write_text(readme(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
