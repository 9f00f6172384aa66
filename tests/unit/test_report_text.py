"""The report as text: any name stands in its cell, and HTML says what Markdown says."""

from __future__ import annotations

import html.parser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_tui.config import RunConfig
from fmnist_tui.report import markdown, render, words
from fmnist_tui.report.blocks import Column, Table
from tests.unit.report_runs import Tables, finish, only_row, preset, read_markdown

HOSTILE = (
    "a|b",
    "`code` **bold** _em_ ~~gone~~ [link](x) ![image](y)",
    "<script>alert(1)</script> &lt; &amp; A&B",
    "back\\slash \\| end\\",
    "snake_case __init__ _",
    "# heading",
    "日本語 Grafikkarte",
    '\'; DROP "x"',
    "👨\u200d👩\u200d👧",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_shown_as_it_is(runs_dir: Path, name: str) -> None:
    config = preset("wrn").model_copy(update={"preset": None, "name": name})
    finish(runs_dir, RunConfig.model_validate(config.model_dump()), device_name=name)
    row = only_row(runs_dir)
    assert (row["Preset"], row["Device"]) == (name, name)
    assert read_html(render(runs_dir, "html"))["Full data, custom split"] == [row]


@settings(max_examples=60, deadline=None)  # a loaded machine is no error
@given(st.text(max_size=40), st.text(alphabet="|\\`*_[]()<>&;:~#!a 1", max_size=40))
def test_any_text_comes_back_from_a_cell(anything: str, marks: str) -> None:
    table = Table((Column("a"), Column("b", True)), ((anything, marks), (marks, anything)))
    first, second = read_markdown(markdown.write([table]))[""]
    expected = (words.one_line(anything), words.one_line(marks))
    assert (first["a"], first["b"]) == expected == (second["b"], second["a"])


def test_line_breaks_and_control_characters_stay_in_their_cell(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"), device_name="GPU\n| x |\r\n\n# y\t\x1b[31mz")
    row = only_row(runs_dir)
    assert row["Device"] == "GPU | x | # y z"
    assert read_html(render(runs_dir, "html"))["Full data, custom split"] == [row]


def test_the_source_is_aligned(runs_dir: Path) -> None:
    from rich.cells import cell_len

    finish(runs_dir, preset("wrn"), device_name="日本語")
    finish(runs_dir, preset("densenet", training__epochs=2))
    lines = render(runs_dir).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| Model Name"))
    table = lines[start : start + 4]
    assert len({cell_len(line) for line in table}) == 1
    assert set(table[1]) == set("|-: ")
    assert render(runs_dir).endswith("|\n")


class _Html(html.parser.HTMLParser):
    """Collects tables by heading, and every tag and attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: Tables = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.heading, self.text = "", ""
        self.header: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text = ""
        if tag == "table":
            self.tables[self.heading], self.header = [], []
        if tag == "tr":
            self.cells = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h1", "h2"):
            self.heading = self.text
        if tag in ("td", "th"):
            self.cells.append(self.text)
        if tag == "tr" and not self.header:
            self.header = self.cells
        elif tag == "tr":
            self.tables[self.heading].append(dict(zip(self.header, self.cells, strict=True)))


def read_html(text: str) -> Tables:
    """The tables of the report itself; what follows of single runs is the business of test_report_html."""
    parser = _Html()
    parser.feed(text.partition("<h2>Runs</h2>")[0])
    assert not {"script", "img", "link", "iframe"} & {tag for tag, _ in parser.tags}
    assert not {"src", "href"} & {name for _, attributes in parser.tags for name in attributes}
    return parser.tables


def test_html_says_what_markdown_says(runs_dir: Path) -> None:
    for name in ("wrn", "quick", "densenet"):
        finish(runs_dir, preset(name))
    page = render(runs_dir, "html")
    assert read_html(page) == read_markdown(render(runs_dir))
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")
    assert "prefers-color-scheme: dark" in page and "://" not in page and "@import" not in page
