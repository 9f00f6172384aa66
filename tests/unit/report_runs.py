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
from fmnist_tui.runs.result import Provenance, Result
from fmnist_tui.runs.status import State, Status

PARAMETERS = {"wrn": 36_478_906, "densenet": 768_730, "dpn": 47_751_450, "quick": 77_850, "mine": 768_730}
MADE_WITH = Provenance(fmnist_tui="0.1.0", python="3.11.7", torch="2.14.1", platform="Linux", command=["fmnist-tui"])


def preset(name: str, /, **changes: Any) -> RunConfig:
    """A preset with fields changed; '__' stands for the dot: optimizer__lr=0.05."""
    return fields.with_changes(presets.load_preset(name), {key.replace("__", "."): v for key, v in changes.items()})


def result_of(config: RunConfig, run_id: str, **values: Any) -> Result:
    """What the trainer would write of a run with this configuration."""
    images = {"custom": (30_000, 40_000), "standard": (60_000, 10_000)}[config.data.split]
    if config.data.source == "sample":
        images = (6_000, 2_000)
    written: dict[str, Any] = {
        "id": run_id,
        "name": config.name,
        "preset": config.preset,
        "model": config.model.kind,
        "parameters": PARAMETERS.get(config.preset or "", 1_234_567),
        "seed": config.seed,
        "data_source": config.data.source,
        "split": config.data.split,
        "train_images": images[0],
        "test_images": images[1],
        "epochs": config.training.epochs,
        "steps": 23_600,
        "complete": True,
        "test_accuracy": 94.8125,
        "test_loss": 0.2234,
        "best_accuracy": 94.93,
        "best_epoch": 187,
        "train_accuracy": 99.97,
        "train_seconds": 4_100.5,
        "eval_seconds": 210.25,
        "total_seconds": 4_330.0,
        "images_per_second": 9_870.4,
        "device": "cuda:0",
        "device_name": "NVIDIA H200",
        "precision": "bf16",
        "memory_format": "channels_last",
        "compile": "off",
        "deterministic": False,
        "micro_batch": config.training.batch_size,
        "peak_memory_bytes": 3_000_000_000,
        "starts": 1,
        "started": "2026-11-23T14:25:01.123Z",
        "finished": "2026-11-23T15:37:11.123Z",
        "provenance": MADE_WITH,
    }
    return Result(**(written | values))


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
