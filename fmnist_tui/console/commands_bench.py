"""`fmnist-tui bench`: measured speed and memory of presets on this machine. Registered by `cli`.

What it does is in `console.bench`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_tui.console import options as o
from fmnist_tui.console.output import UsageError

if TYPE_CHECKING:
    from fmnist_tui.config import RunConfig

THOROUGH_SECONDS = 120.0
"""For each preset with --thorough."""
ROUNDS = 3


def rounds_number(text: str) -> int:
    """An option's value as a number of rounds, 3 to 100."""
    number = o.whole_number(text)
    if not ROUNDS <= number <= 100:
        raise typer.BadParameter(
            f"{text!r} is not from {ROUNDS} to 100; a ratio of fewer rounds has no spread to judge"
        )
    return number


def bench_seconds(text: str) -> float:
    """An option's value as the seconds to measure a preset for, 1 or more."""
    value = o.seconds(text)
    if value < 1:
        raise typer.BadParameter(f"{text!r} is under 1; in less no speed can be measured")
    return value


PresetsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PRESET",
        help="Presets; all of them where none is named. See: fmnist-tui presets list.",
        autocompletion=o.complete_presets,
        show_default=False,
    ),
]
ThoroughOption = Annotated[
    bool,
    typer.Option(
        "--thorough",
        help="Take two minutes for each preset instead of under five for all; on a GPU try to compile, as a run does.",
        show_default=False,
    ),
]
SecondsOption = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        metavar="S",
        parser=bench_seconds,
        help="Take about S seconds for each preset, 1 or more.",
        show_default=False,
    ),
]
CompareOption = Annotated[
    bool,
    typer.Option(
        "--compare",
        help="Also train the same network in the usual loop (DataLoader, fp32), in turns, and print the ratio.",
        show_default=False,
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch",
        metavar="N",
        parser=o.positive_number,
        help="Measure steps of N images, however long they take; by default the preset's, or on a CPU what fits.",
        show_default=False,
    ),
]
RoundsOption = Annotated[
    int | None,
    typer.Option(
        "--rounds",
        metavar="N",
        parser=rounds_number,
        help=f"Rounds of --compare, {ROUNDS} or more; by default {ROUNDS}.",
        show_default=False,
    ),
]
ScalingOption = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="N,N,...",
        help="Also train on N GPUs at once, for each N (all: every GPU), and print how it scales. "
        "With --device cpu: N processes.",
        show_default=False,
    ),
]
FromOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Measure nothing: show what --json --output wrote, in a file or in a directory's files; repeatable.",
        show_default=False,
    ),
]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.", show_default=False)]


def bench_command(
    presets: PresetsArgument = None,
    thorough: ThoroughOption = False,
    seconds: SecondsOption = None,
    batch: BatchOption = None,
    compare: CompareOption = False,
    rounds: RoundsOption = None,
    gpus: ScalingOption = None,
    settings: o.SetOption = None,
    data: o.DataOption = None,
    device: o.DeviceOption = "auto",
    data_dir: o.DataDirOption = None,
    json: o.JsonOption = False,
    markdown: MarkdownOption = False,
    source_files: FromOption = None,
    output: o.OutputOption = None,
) -> int:
    """Measure how fast presets train and evaluate on this machine, and in what memory.

    Takes under five minutes for all presets; a slow CPU then gets few steps and small batches, and the output says so.

    A batch size given with --batch N or --set training.batch_size=N is kept, however long its steps take.

    --compare measures the data path with the preset's own batch size; of these two only --set changes that.

    A process of its own trains a few real steps of each preset; nothing is kept.
    """
    _check_output(json, markdown, output)
    _check_time(thorough, seconds, rounds, compare)
    if source_files:
        _check_from(presets, gpus, batch)

    from fmnist_tui.console import bench
    from fmnist_tui.report.bench import read_records

    form = "json" if json else "markdown" if markdown else "text"
    if source_files:
        bench.show(read_records(source_files), form, output)
        return 0
    configs = bench.configurations(presets or [], settings or [], device, data, data_dir)
    options = bench.child_options(device, data_dir, data, (rounds or ROUNDS) if compare else 0)
    if gpus is not None:
        options += ["--ranks", *map(str, bench.counts(gpus, device))]
    options += _batch_options(batch, settings or [], configs)
    return bench.measure(configs, options, THOROUGH_SECONDS if thorough else seconds, form, output)


def _check_output(json: bool, markdown: bool, output: Path | None) -> None:
    """Raises UsageError where the records can't be written as asked for, before anything is measured."""
    if json and markdown:
        raise UsageError("--json and --markdown exclude each other; choose one")
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no directory {output.parent}; nothing was measured")


def _check_time(thorough: bool, seconds: float | None, rounds: int | None, compare: bool) -> None:
    """Raises UsageError for options on how long to measure that don't go together."""
    if rounds is not None and not compare:
        raise UsageError(f"--rounds {rounds}: is of the comparison; add --compare")
    if thorough and seconds is not None:
        raise UsageError(f"--seconds {seconds:g}: --thorough says how long already; leave one of them out")


def _check_from(presets: list[str] | None, gpus: str | None, batch: int | None) -> None:
    """Raises UsageError for what is of a measurement: with --from there is none."""
    if presets:
        raise UsageError(f"--from: measures nothing, so {presets[0]} can't be measured; leave one of them out")
    if gpus is not None:
        raise UsageError("--from: measures nothing; leave --gpus out")
    if batch is not None:
        raise UsageError("--from: measures nothing; leave --batch out")


def _batch_options(batch: int | None, settings: list[str], configs: Sequence[RunConfig]) -> list[str]:
    """What has the child keep a batch size that was asked for, by --batch or as a field of the configuration."""
    from fmnist_tui.console.bench import sets_batch

    if batch is None and any(sets_batch(setting) for setting in settings):
        batch = configs[0].training.batch_size
    return [] if batch is None else ["--batch", str(batch)]
