"""`icm-api report` as a user meets it, and its page as a browser shows it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from icm_api.cli.main import main
from tests.command_line import Printed, mistake
from tests.finished import DIAGNOSIS, MadeUp, finished_run
from tests.hostile import HOSTILE, LABEL
from tests.unit.test_report_reading import compared_row, write_comparison
from tests.worlds import write_world

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE, DESKTOP = (360, 800), (1280, 900)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of the embedded model, and gold labels."""
    folder = tmp_path_factory.mktemp("world")
    assert main(["run", str(write_world(folder, "facts", 16)), "--json"]) == 0
    return folder


def test_a_report_goes_into_the_run_folder_with_its_figures(world: Path, capsys: Printed) -> None:
    assert main(["report", str(world / "run")]) == 0
    out = capsys.readouterr().out.splitlines()
    folder = world / "run" / "report"
    summary = json.loads((world / "run" / "summary.json").read_text())
    assert out[0] == f"verdict: {summary['diagnosis']['verdict']}"
    assert out[1].startswith("  what it means: ")
    assert out[2].startswith("  what to do next: ")
    out = out[next(at for at, line in enumerate(out) if line.startswith("labels: ")) - 1 :]
    assert out[1] == "labels: " + ", ".join(f"{label} {n}" for label, n in summary["label_counts"].items())
    assert out[2].startswith("sent in 1 session: ")
    assert out[3] == f"wrote {folder / 'report.html'}"
    names = ("search", "acceptance", "balance", "confidence")
    assert out[4:] == [f"wrote {folder / f'report-{name}.png'}" for name in names]
    html = (folder / "report.html").read_text(encoding="utf-8")
    summary = json.loads((world / "run" / "summary.json").read_text())
    assert f"{summary['utility']:.3f}" in html
    assert f"{summary['usage']['requests']:,}" in html
    assert f"{summary['planned']['most_prompt_tokens']:,}" in html.partition("planned, at most")[2]
    assert "reliability" not in html
    assert main(["resume", str(world / "run"), "--json"]) == 0, "a report does not get in the way of its run"


@pytest.mark.slow
def test_with_gold_and_a_file_name(world: Path, tmp_path: Path, capsys: Printed) -> None:
    out = tmp_path / "x" / "page.html"
    assert main(["report", str(world / "run"), "--out", str(out), "--gold", str(world / "gold.jsonl")]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrote")] == [f"wrote {out}"]
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
    page = out.read_text(encoding="utf-8")
    assert main(["evaluate", str(world / "run"), "--gold", str(world / "gold.jsonl"), "--json"]) == 0
    accuracy = json.loads(capsys.readouterr().out)["accuracy"]["value"]
    assert f"<dt>Accuracy</dt><dd>{accuracy:.1%} (" in page
    assert 'id="figure-reliability"' in page
    assert main(["report", str(world / "run"), "--out", str(out), "--png"]) == 0
    assert (tmp_path / "x" / "page-search.png").is_file()


@pytest.mark.slow
def test_gold_in_other_words_is_mapped_as_evaluate_maps_it(world: Path, tmp_path: Path, capsys: Printed) -> None:
    written = (world / "gold.jsonl").read_text().replace('"True"', '"1"').replace('"False"', '"0"')
    gold, out = tmp_path / "numbers.jsonl", tmp_path / "page.html"
    gold.write_text(written)
    command = ["report", str(world / "run"), "--out", str(out), "--gold", str(gold)]
    assert main([*command, "--map", "1=True,0=False"]) == 0
    mapped = out.read_text(encoding="utf-8")
    command[-1] = str(world / "gold.jsonl")
    assert main(command) == 0
    assert mapped == out.read_text(encoding="utf-8")
    gold.write_text((world / "gold.jsonl").read_text().replace('"gold": ', '"right": '))
    command[-1] = str(gold)
    assert main(command) == 2
    assert "no gold label under 'gold' or 'label'" in capsys.readouterr().err
    assert main([*command, "--label-field", "right"]) == 0
    assert mapped == out.read_text(encoding="utf-8")


def test_the_bars_of_a_comparison_are_shown(world: Path, tmp_path: Path, capsys: Printed) -> None:
    comparison = write_comparison(tmp_path / "c", [compared_row("zero-shot", 0.48, 0.4, 0.56)])
    out = tmp_path / "page.html"
    assert main(["report", str(world / "run"), "--out", str(out), "--comparison", str(comparison)]) == 0
    assert "48.0%" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_without_its_libraries_a_report_says_what_to_install(
    world: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    said = mistake(capsys, "report", world / "run")
    assert said == f"icm-api: a report needs {library}: pip install 'icm-api[report]'\n"


def test_mistakes_get_one_line(world: Path, tmp_path: Path, capsys: Printed) -> None:
    assert "it is not there" in mistake(capsys, "report", tmp_path / "nowhere")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(world / "run", unfinished)
    (unfinished / "summary.json").unlink()
    assert "summary.json is missing; put it back as it was, or `icm-api resume" in mistake(capsys, "report", unfinished)
    assert "no such file" in mistake(capsys, "report", world / "run", "--gold", tmp_path / "no.jsonl").lower()
    assert "comparison.json is missing" in mistake(capsys, "report", world / "run", "--comparison", tmp_path)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An ordinary page, and one of hostile data, each with all its sections."""
    found = []
    for name, made in (
        ("plain", MadeUp([f"A claim about number {at}." for at in range(60)], diagnosis=DIAGNOSIS)),
        ("hostile", MadeUp(HOSTILE * 3, (LABEL, "_b", "w" * 200), '<img src=x onerror="alert(9)">', 20, DIAGNOSIS)),
    ):
        folder = tmp_path_factory.mktemp(name)
        run = finished_run(folder, made)
        rows = [compared_row(text[:80], 0.5, 0.4, 0.6) for text in made.texts[:5]]
        arguments = ["--gold", folder / "gold.jsonl", "--comparison", write_comparison(folder / "c", rows)]
        assert main(["report", str(run), *map(str, arguments)]) == 0
        found.append(run / "report" / "report.html")
    return found


@pytest.fixture(scope="module")
def browser() -> Any:
    """A Chromium without a window."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.live
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", [0, 1], ids=["plain", "hostile"])
def test_a_browser_shows_the_page_quietly_and_within_the_screen(
    browser: Any, pages: list[Path], size: tuple[int, int], scheme: str, which: int
) -> None:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page = context.new_page()
    heard: list[str] = []

    def dismiss(dialog: Any) -> None:
        heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", dismiss)
    page.on(
        "request", lambda request: heard.extend(url for url in [request.url] if not url.startswith(("file:", "data:")))
    )
    page.goto(pages[which].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.mouse.move(100, 400)
    page.wait_for_timeout(200)
    wide, room = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= room
    assert heard == []
    shown = page.inner_text("body")
    assert [text for text in (HOSTILE[:2] if which else ["A claim about number 1"]) if text not in shown] == []
    assert page.evaluate("document.scripts.length + document.images.length") == 0
    outside = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('svg') && "
        "(e.getBoundingClientRect().right > innerWidth + 1 || e.getBoundingClientRect().left < -1)).length"
    )
    assert outside == 0
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert contrast(paper, ink) > 7
    assert (luminance(paper) < luminance(ink)) == (scheme == "dark")
    figures = page.evaluate(
        "[...document.querySelectorAll('figure svg')].filter(e => e.checkVisibility())"
        ".map(e => [...e.querySelectorAll('text')].map(t => getComputedStyle(t).fill))"
    )
    assert len(figures) == 6
    assert {fill for texts in figures for fill in texts} == {ink}
    context.close()


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)" (WCAG 2)."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
