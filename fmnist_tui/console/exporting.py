"""`runs export`: what a run measured or learned in the forms of other programs. Called by `commands_runs`."""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fmnist_tui.console import words
from fmnist_tui.console.options import STDOUT
from fmnist_tui.console.output import UsageError, print_line, say
from fmnist_tui.console.torch_process import run_module
from fmnist_tui.runs import disk
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.metrics import read_metrics
from fmnist_tui.runs.store import Run

Form = Literal["csv", "tensorboard", "onnx", "safetensors"]
Which = Literal["last", "best"]

NEEDS = {
    "tensorboard": ("tensorboard",),
    "onnx": ("onnx", "onnxscript"),
    "safetensors": ("safetensors",),
}
"""The packages of the extra that has the form's name."""


def export(run: Run, form: Form, output: str | None, checkpoint: Which | None) -> None:
    """Write the run in this form and print where it is: a directory for csv and tensorboard, else a file, or stdout.

    Without `output` that is in the current directory and named after the run. What an earlier export wrote there is
    replaced. Raises UsageError, RunError or TorchFailed.
    """
    if form in ("csv", "tensorboard"):
        if checkpoint is not None:
            raise UsageError(f"--checkpoint {checkpoint}: the {form} export holds metrics, not weights; leave it out")
        _check_extra(form)
        if output == STDOUT:
            raise UsageError(f"--output -: the {form} export is a directory, which stdout can't hold; name one")
        directory = Path(f"{run.id}-{form}" if output is None else output)
        _export_metrics(run, form, directory)
        print_line(directory)
        return
    which = checkpoint or "last"
    _check_extra(form)
    if output == STDOUT and sys.stdout.isatty():
        raise UsageError(f"--output -: {form} is no text, and stdout is a terminal; redirect it, or name a file")
    path = Path(f"{run.id}-{which}.{form}" if output is None else output)
    if output != STDOUT:
        _check_file(path)
    if run.config is None:
        raise RunError(f"{run.id}: its network cannot be exported: {run.problem}")
    if not run.directory.checkpoint(which).is_file():
        raise RunError(f"{run.id}: has no {which} checkpoint to export; {disk.why_no_checkpoint(run.directory)}")
    if output != STDOUT:
        _export_network(run, form, which, path)
        print_line(path)
        return
    with tempfile.TemporaryDirectory() as folder:  # not the process's stdout: a library may print there
        path = Path(folder) / f"{run.id}.{form}"
        _export_network(run, form, which, path)
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def _export_network(run: Run, form: Form, which: Which, path: Path) -> None:
    arguments = (str(run.directory.path), "--to", form, "--checkpoint", which, "--output", str(path.absolute()))
    run_module("fmnist_tui.training.export", *arguments)


def _check_extra(form: Form) -> None:
    missing = [package for package in NEEDS.get(form, ()) if find_spec(package) is None]
    if missing:
        raise UsageError(
            f"--to {form}: {' and '.join(missing)} is not installed; get it with: pip install 'fmnist-tui[{form}]'"
        )


def _check_file(path: Path) -> None:
    """What can be known before torch is started."""
    if path.is_dir():
        raise UsageError(f"--output {path}: is a directory; name a file")
    if path.exists() and not path.is_file():
        raise UsageError(f"--output {path}: is a device or a pipe; name a file, or - for stdout")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: {path.parent} is no directory; make it first, or name another place")


def _export_metrics(run: Run, form: Form, directory: Path) -> None:
    metrics = read_metrics(run.directory)
    if not (metrics.train or metrics.eval or metrics.system or metrics.event):
        unread = f"no line of {run.directory.metrics.name} can be read; they are damaged, or of a newer fmnist-tui"
        raise RunError(f"{run.id}: {unread if metrics.passed_over else 'has no metrics yet'}")
    if metrics.passed_over:
        lines = words.count(metrics.passed_over, "line")
        say(f"{run.id}: left out {lines} of {run.directory.metrics.name}, damaged or of a newer fmnist-tui")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if form == "csv":
            from fmnist_tui.report.metrics_csv import write_metrics

            for name, text in write_metrics(metrics).items():
                replace_bytes(directory / name, text.encode())
        else:
            from fmnist_tui.report.tensorboard_events import write_events

            write_events(run, metrics, directory)
    except FileExistsError:
        raise UsageError(f"--output {directory}: is a file; name a directory") from None
    except OSError as error:
        raise UsageError(f"--output {directory}: cannot be written: {error.strerror or error}") from None
