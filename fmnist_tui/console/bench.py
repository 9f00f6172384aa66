"""What `fmnist-tui bench` does: what is measured, one preset after the other, and the records in the form asked for.

Each preset is measured by a process of its own (`bench_child`), so that this one never imports torch. Called by
`commands_bench`.
"""

from __future__ import annotations

import time
from io import StringIO
from pathlib import Path

from rich.console import Console

from fmnist_tui import paths
from fmnist_tui.config import RunConfig
from fmnist_tui.console.bench_child import MeasuringFailed, measured
from fmnist_tui.console.blocks import print_blocks
from fmnist_tui.console.configure import check_device, check_gpus, configure
from fmnist_tui.console.launch import get_data
from fmnist_tui.console.output import PIPE_WIDTH, UsageError, console, print_error, print_json, print_notes, write_text
from fmnist_tui.presets import find_presets, load_preset
from fmnist_tui.report import markdown
from fmnist_tui.report.bench import BenchRecord
from fmnist_tui.report.bench_tables import bench_report, markdown_page
from fmnist_tui.runs.queue import snapshot
from fmnist_tui.runs.status import ExitCode

TOTAL_SECONDS = 270.0
"""For all presets together: a user on any machine has an answer in under five minutes."""
MOST_SECONDS = 60.0
"""For one preset, where few are asked for."""
LEAST_SECONDS = 5.0
"""For a preset that comes last after others took longer than they should have."""


def sets_batch(setting: str) -> bool:
    """Whether a `--set` is of the batch size."""
    return setting.partition("=")[0].strip() == "training.batch_size"


def counts(text: str, device: str) -> list[int]:
    """What `--gpus` asks for. Raises UsageError for a number of GPUs that is not here."""
    if device == "mps":
        raise UsageError(f"--gpus {text}: torch's processes can't share work on Apple's GPU; leave --gpus out")
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise UsageError(f"--gpus {text}: a number is missing; for example --gpus 1,2")
    return list(dict.fromkeys(check_gpus(part, device) for part in parts))


def configurations(
    names: list[str], settings: list[str], device: str, data: str | None, data_dir: Path | None
) -> list[RunConfig]:
    """What is to be measured. Raises ConfigError, UsageError or DataError before anything is."""
    check_device(device)
    configs = [configure(load_preset(name), settings, {})[0] for name in dict.fromkeys(names or find_presets())]
    wanted = [config.data.model_copy(update={"source": data or config.data.source}) for config in configs]
    for data_config in {one.source: one for one in wanted}.values():
        get_data(data_config, data_dir)
    return configs


def child_options(device: str, data_dir: Path | None, data: str | None, rounds: int) -> list[str]:
    """What the measuring processes are told besides the configuration."""
    named = paths.data_dir_override(data_dir)
    options = ["--device", device, "--rounds", str(rounds)]
    options += ["--source", data] if data else []
    return options + (["--data-dir", str(named)] if named else [])


def measure(configs: list[RunConfig], options: list[str], seconds: float | None, form: str, output: Path | None) -> int:
    """Measure one after the other, each for this long; what can't be measured is said, and stops none of the others."""
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
        show(records, form, output)
    return code


def _disturbances() -> list[str]:
    """Runs at work on this machine's devices, which slow the measured ones down."""
    return [
        f"{entry.run_id} is at work on {queue.device}; what is measured beside it is too slow"
        for queue in snapshot()
        for entry in queue.on
    ]


def show(records: list[BenchRecord], form: str, output: Path | None) -> None:
    """The records in the form asked for, on stdout or in a file. Raises UsageError where that can't be written."""
    if form == "text" and output is None:
        print_blocks(bench_report(records), console())
        return
    if form == "json":
        text = "".join(record.to_json() + "\n" for record in records)
    elif form == "markdown":
        text = markdown.write(markdown_page(records))
    else:
        buffer = StringIO()
        print_blocks(bench_report(records), Console(file=buffer, width=PIPE_WIDTH, markup=False, highlight=False))
        text = buffer.getvalue()
    write_text(text, output)
