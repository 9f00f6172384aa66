"""`fmnist-tui bench`: measured speed and memory of presets on this machine. Registered by `cli`.

Each preset is measured by a process of its own (`bench_child`), so that this one never imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fmnist_tui.console import options as o

if TYPE_CHECKING:
    from fmnist_tui.config import RunConfig
    from fmnist_tui.report.bench import BenchRecord

TOTAL_SECONDS = 270.0
"""For all presets together: a user on any machine has an answer in under five minutes."""
MOST_SECONDS = 60.0
"""For one preset, where few are asked for."""
THOROUGH_SECONDS = 120.0
"""For each preset with --thorough."""
LEAST_SECONDS = 5.0
"""For a preset that comes last after others took longer than they should have."""
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
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write to a file instead of stdout, in one step.", show_default=False
    ),
]


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
    output: OutputOption = None,
) -> int:
    """Measure how fast presets train and evaluate on this machine, and in what memory.

    Takes under five minutes for all presets; a slow CPU then gets few steps and small batches, and the output says so.

    A batch size given with --batch N or --set training.batch_size=N is kept, however long its steps take.

    --compare measures the data path with the preset's own batch size, which of the two only --set changes.

    A process of its own trains a few real steps of each preset; nothing is kept.
    """
    from fmnist_tui.console.output import UsageError

    if json and markdown:
        raise UsageError("--json and --markdown exclude each other; choose one")
    if rounds is not None and not compare:
        raise UsageError(f"--rounds {rounds}: is of the comparison; add --compare")
    if thorough and seconds is not None:
        raise UsageError(f"--seconds {seconds:g}: --thorough says how long already; leave one of them out")
    if thorough:
        seconds = THOROUGH_SECONDS
    if output is not None and not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no directory {output.parent}; nothing was measured")
    form = "json" if json else "markdown" if markdown else "text"
    if source_files:
        from fmnist_tui.report.bench import read_records

        if presets:
            raise UsageError(f"--from: measures nothing, so {presets[0]} can't be measured; leave one of them out")
        if gpus is not None:
            raise UsageError("--from: measures nothing; leave --gpus out")
        if batch is not None:
            raise UsageError("--from: measures nothing; leave --batch out")
        _show(read_records(source_files), form, output)
        return 0
    configs = _configurations(presets or [], settings or [], device, data, data_dir)
    options = _child_options(device, data_dir, data, (rounds or ROUNDS) if compare else 0)
    if gpus is not None:
        options += ["--ranks", *map(str, _counts(gpus, device))]
    if batch is None and any(_sets_batch(setting) for setting in settings or []):
        batch = configs[0].training.batch_size
    if batch is not None:
        options += ["--batch", str(batch)]
    return _measure(configs, options, seconds, form, output)


def _sets_batch(setting: str) -> bool:
    return setting.partition("=")[0].strip() == "training.batch_size"


def _counts(text: str, device: str) -> list[int]:
    """What `--gpus` asks for. Raises UsageError for a number of GPUs that is not here."""
    from fmnist_tui.console.configure import check_gpus
    from fmnist_tui.console.output import UsageError

    if device == "mps":
        raise UsageError(f"--gpus {text}: torch's processes can't share work on Apple's GPU; leave --gpus out")
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise UsageError(f"--gpus {text}: a number is missing; for example --gpus 1,2")
    return list(dict.fromkeys(check_gpus(part, device) for part in parts))


def _configurations(
    names: list[str], settings: list[str], device: str, data: str | None, data_dir: Path | None
) -> list[RunConfig]:
    """What is to be measured. Raises ConfigError, UsageError or DataError before anything is."""
    from fmnist_tui.console.configure import check_device, configure
    from fmnist_tui.console.launch import get_data
    from fmnist_tui.presets import find_presets, load_preset

    check_device(device)
    configs = [configure(load_preset(name), settings, {})[0] for name in dict.fromkeys(names or find_presets())]
    wanted = [config.data.model_copy(update={"source": data or config.data.source}) for config in configs]
    for data_config in {one.source: one for one in wanted}.values():
        get_data(data_config, data_dir)
    return configs


def _child_options(device: str, data_dir: Path | None, data: str | None, rounds: int) -> list[str]:
    from fmnist_tui import paths

    named = paths.data_dir_override(data_dir)
    options = ["--device", device, "--rounds", str(rounds)]
    options += ["--source", data] if data else []
    return options + (["--data-dir", str(named)] if named else [])


def _measure(
    configs: list[RunConfig], options: list[str], seconds: float | None, form: str, output: Path | None
) -> int:
    """Measure one after the other, each for this long; what can't be measured is said, and stops none of the others."""
    import time

    from fmnist_tui.console.bench_child import MeasuringFailed, measured
    from fmnist_tui.console.output import print_error, print_json, print_notes
    from fmnist_tui.runs.status import ExitCode

    print_notes(_disturbances())
    records: list[BenchRecord] = []
    code = int(ExitCode.DONE)
    until = time.monotonic() + TOTAL_SECONDS
    try:
        for number, config in enumerate(configs):
            left = (until - time.monotonic()) / (len(configs) - number)
            each = max(LEAST_SECONDS, min(MOST_SECONDS, left)) if seconds is None else seconds
            label = f"{config.preset} ({number + 1} of {len(configs)})"
            try:
                record = measured(config, [*options, "--seconds", f"{each:.1f}"], label)
            except MeasuringFailed as error:
                print_error(f"{config.preset}: {error}")
                code = error.code
                continue
            records.append(record)
            if form == "json" and output is None:
                print_json(record.model_dump(mode="json"))
    except KeyboardInterrupt:
        code = ExitCode.STOPPED
    if records and (form != "json" or output is not None):
        _show(records, form, output)
    return code


def _disturbances() -> list[str]:
    """Runs at work on this machine's devices, which slow the measured ones down."""
    from fmnist_tui.runs.queue import snapshot

    return [
        f"{entry.run_id} is at work on {queue.device}; what is measured beside it is too slow"
        for queue in snapshot()
        for entry in queue.on
    ]


def _show(records: list[BenchRecord], form: str, output: Path | None) -> None:
    """The records in the form asked for, on stdout or in a file. Raises UsageError where that can't be written."""
    import sys

    from fmnist_tui.console.blocks import print_blocks
    from fmnist_tui.console.output import PIPE_WIDTH, UsageError, console, say
    from fmnist_tui.report import markdown
    from fmnist_tui.report.bench_tables import bench_report, markdown_page
    from fmnist_tui.runs.files import replace_bytes

    if form == "text" and output is None:
        print_blocks(bench_report(records), console())
        return
    if form == "json":
        text = "".join(record.to_json() + "\n" for record in records)
    elif form == "markdown":
        text = markdown.write(markdown_page(records))
    else:
        from io import StringIO

        from rich.console import Console

        buffer = StringIO()
        print_blocks(bench_report(records), Console(file=buffer, width=PIPE_WIDTH, markup=False, highlight=False))
        text = buffer.getvalue()
    if output is None:
        sys.stdout.write(text)
        return
    try:
        replace_bytes(output, text.encode())
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    say(f"wrote {output}")
