"""The page as a browser's parser sees it: what data say is text, ids are one of a kind, nothing is fetched."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from icm_api.report import write_report
from icm_api.report.text import clean
from icm_api.runs import FinishedRun, check_labels, draw_labels
from tests.finished import DIAGNOSIS, MadeUp, finished_run
from tests.hostile import HOSTILE, LABEL
from tests.unit.test_report_reading import compared_row, write_comparison

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

VOID = {"meta", "link", "br"}
PAGE_TAGS = re.findall(
    r"\w+",
    "html head meta title link style body header h1 h2 h3 p section dl div dt dd small nav ul li a main table thead tr "
    "th tbody td tfoot figure figcaption article span bdi details summary pre code footer i br",
)
FIGURE_TAGS = ["svg", "g", "path", "defs", "text", "use", "clippath", "rect", "title", "desc"]
ALLOWED = {*PAGE_TAGS, *FIGURE_TAGS}


class Page(HTMLParser):
    """Tags, attributes and text of a page; a tag that is not closed in turn is an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data
            self.texts.append(data)


def made(**changes: Any) -> MadeUp:
    return MadeUp(
        **{"texts": HOSTILE * 2, "labels": (LABEL, "_b", "c"), "name": '<i onload="x">', "diagnosis": DIAGNOSIS}
        | changes
    )


def written(tmp_path: Path, what: MadeUp, **options: Any) -> str:
    folder = finished_run(tmp_path, what)
    return write_report(folder, tmp_path / "page.html", **options).page.read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is said in words: drawing its figures is nearly all that a page takes."""
    monkeypatch.setattr("icm_api.report.page.svg", lambda chart, *, narrow: Markup("<svg></svg>"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile")
    run = finished_run(
        folder,
        made(
            diagnosis={**DIAGNOSIS, "reasons": [HOSTILE[0]], "advice": [HOSTILE[1]], "verdict": "unsure"},
            config={"search": {"engine": "gibbs"}, "prices": {"input": 1, "output": 1, "currency": "<b>EUR"}},
        ),
    )
    comparison = write_comparison(folder / "c", [compared_row(HOSTILE[0], 0.5, 0.4, 0.6), compared_row("_$x", 0.9)])
    found = write_report(run, folder / "page.html", gold=folder / "gold.jsonl", comparison=comparison)
    return found.page.read_text(encoding="utf-8")


def test_everything_from_data_is_text(hostile: str) -> None:
    page = Page(hostile)
    assert {tag for tag, _ in page.tags} <= ALLOWED
    for text in HOSTILE:
        assert any(clean(text) in shown for shown in page.texts), text
    for text in (LABEL, '<i onload="x">-0', '<i onload="x">, group 0'):
        assert text in page.text
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
        assert "src" not in attributes


def test_what_no_html_can_hold_has_a_stand_in(hostile: str) -> None:
    assert "\u2400 nothing, \u241b[31m red, \ufffd" in hostile
    assert not set(hostile) & set(map(chr, [*range(9), 11, 12, *range(14, 32), 0x7F]))


def test_the_page_fetches_nothing_and_forbids_scripts(hostile: str) -> None:
    page = Page(hostile)
    [policy] = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    outside = [a for _, attributes in page.tags for a in attributes.values() if a and "://" in a]
    assert set(outside) == {"http://www.w3.org/2000/svg"}
    styles = hostile.split("<style>")[1].split("</style>")[0]
    assert "url(" not in styles
    assert "@import" not in styles


def test_ids_are_one_of_a_kind_and_references_lead_somewhere(hostile: str) -> None:
    page = Page(hostile)
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert set(ids.values()) == {1}
    references = {str(a["href"]) for _, a in page.tags if str(a.get("href") or "").startswith("#")}
    clips = {str(a["clip-path"])[4:-1] for _, a in page.tags if "clip-path" in a}
    assert {reference[1:] for reference in references | clips} <= set(ids)
    assert len(references) > 10


def test_every_figure_is_an_image_with_title_and_description(hostile: str) -> None:
    page = Page(hostile)
    images = [attributes for tag, attributes in page.tags if tag == "svg"]
    # Six figures, each for a wide and a narrow screen.
    assert len(images) == 12
    ids = {attributes.get("id") for _, attributes in page.tags}
    for attributes in images:
        assert attributes["role"] == "img"
        assert set(str(attributes["aria-labelledby"]).split()) <= ids
        assert "viewbox" in attributes
        assert "width" not in attributes
    assert sum(tag == "desc" for tag, _ in page.tags) == 12


def test_figures_take_their_colours_from_the_page(hostile: str) -> None:
    drawn = "".join(part.split("</svg>")[0] for part in hostile.split("<svg ")[1:] if "viewBox" in part)
    for colour in ("#0072b2", "#d55e00", "#009e73", "#1f2329", "#c9ced6", "#000000"):
        assert colour not in drawn
    for name in ("currentColor", "var(--rule)", "var(--s1)", "var(--s2)"):
        assert name in drawn


def test_a_label_that_looks_like_a_colour_stays_what_it_is(tmp_path: Path) -> None:
    rows = [compared_row("#0072b2", 0.5)]
    html = written(tmp_path, made(), comparison=write_comparison(tmp_path / "c", rows))
    assert html.count(">#0072b2<") == 2


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, made())
    first = write_report(folder)
    before = {path.name: path.read_bytes() for path in first.page.parent.iterdir()}
    assert len(before) == 5
    assert all(before[path.name].startswith(b"\x89PNG") for path in first.figures)
    write_report(folder)
    assert {path.name: path.read_bytes() for path in first.page.parent.iterdir()} == before


@pytest.mark.usefixtures("undrawn")
def test_labels_that_were_not_judged_are_said_to_be_so(tmp_path: Path) -> None:
    html = written(tmp_path, made(diagnosis=None))
    assert "The labels were not judged" in Page(html).text
    assert "calibr." not in html


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["coherent", "not coherent", "collapsed", "unsure"])
def test_the_verdict_comes_first_in_words_then_what_to_do(tmp_path: Path, name: str) -> None:
    diagnosis = {**DIAGNOSIS, "coherent": name, "advice": ["look at it"]}
    text = Page(written(tmp_path, made(diagnosis=diagnosis))).text
    parts = [f"Verdict\n{name}, unchecked\n", "look at it", "U, utility", "checked by anyone?", "What ran on what"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)


@pytest.mark.usefixtures("undrawn")
def test_a_check_that_passed_is_what_makes_the_page_say_salient(tmp_path: Path) -> None:
    run = FinishedRun.open(finished_run(tmp_path, made(texts=[f"text {at}" for at in range(40)])))
    found = run.result.labeling
    answers = tmp_path / "answers.jsonl"
    rows = ({"id": key, "label": found[key]} for key in draw_labels(run, 20).ids)
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "Verdict\ncoherent, unchecked\n" in Page(write_report(run.folder).page.read_text(encoding="utf-8")).text
    check_labels(run, answers)
    text = Page(write_report(run.folder).page.read_text(encoding="utf-8")).text
    assert "Verdict\nsalient: coherent and checked\n" in text
    assert "20 are right" in text


def test_many_labels_are_drawn_together(tmp_path: Path) -> None:
    labels = [f"label {letter}" for letter in "abcdefghij"]
    page = Page(written(tmp_path, made(labels=labels)))
    assert "4 other labels" in page.text
    assert all(label in page.text for label in labels)


@pytest.mark.slow
def test_a_large_run_makes_no_large_page(tmp_path: Path) -> None:
    what = MadeUp(["a long text " * 400] * 6000, steps=9000, diagnosis=DIAGNOSIS)
    html = written(tmp_path, what)
    assert len(html) < 700_000
    text = Page(html).text
    assert "Of 9,001 steps, 2,000 evenly spaced ones are drawn." in text
    assert "Of 9,001 steps, 500 evenly spaced ones are drawn." in text
    assert html.count('<article class="card example">') == 100
    assert "… and 3,600 more characters" in text
    assert "The first 50 are listed." in text
