"""Finished runs of any configuration for the tests of the report, and its tables as a reader sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from fmnist_tui import fields, presets
from fmnist_tui.config import RunConfig
from fmnist_tui.report import render
from fmnist_tui.runs import starting
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State, Status
from tests.results import result_of


def preset(name: str, /, **changes: Any) -> RunConfig:
    """A preset with fields changed; '__' stands for the dot: optimizer__lr=0.05."""
    return fields.with_changes(presets.load_preset(name), {key.replace("__", "."): v for key, v in changes.items()})


def finish(runs_dir: Path, config: RunConfig, state: State = State.FINISHED, **values: Any) -> RunDirectory:
    """A run of this configuration as it lies on disk after its end."""
    run = starting.create_run(runs_dir, config, device="cuda:0")
    replace_bytes(run.result, result_of(config, run.id, **values).to_json().encode())
    replace_bytes(run.status, Status(state=state, epochs=config.training.epochs).to_json().encode())
    return run


Tables = dict[str, list[dict[str, str]]]


def read_markdown(text: str) -> Tables:
    """The tables of a Markdown text as a reader would see them, by the heading above: a mapping for each row."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    tables: Tables = {}
    heading = ""
    cells: list[str] = []
    header: list[str] = []
    for token, following in zip(tokens, [*tokens[1:], Token("", "", 0)], strict=True):
        if token.type == "heading_open":
            heading = following.content
        elif token.type == "table_open":
            tables[heading], header = [], []
        elif token.type == "tr_open":
            cells = []
        elif token.type in ("th_open", "td_open"):
            assert following.children is not None
            assert {child.type for child in following.children} <= {"text", "text_special"}, following.content
            cells.append("".join(child.content for child in following.children))
        elif token.type == "tr_close":
            if header:
                tables[heading].append(dict(zip(header, cells, strict=True)))
            header = header or cells
    return tables


def only_row(runs_dir: Path, heading: str = "Full data, custom split") -> dict[str, str]:
    (row,) = read_markdown(render(runs_dir))[heading]
    return row
