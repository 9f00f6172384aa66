"""Everything about one run, for `runs show`: as text in sections, or as one JSON object."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fmnist_tui import paths
from fmnist_tui.analysis.calibration import BINS, Calibration, calibration
from fmnist_tui.analysis.differences import trained_with
from fmnist_tui.analysis.predictions import PredictionsError, load_predictions
from fmnist_tui.config import RunConfig
from fmnist_tui.console import words
from fmnist_tui.console.output import as_json
from fmnist_tui.console.states import state_text
from fmnist_tui.data.source import DataError
from fmnist_tui.fields import changed_fields, field_value, flatten
from fmnist_tui.presets import shipped_preset
from fmnist_tui.report.words import energy, one_line
from fmnist_tui.runs import disk
from fmnist_tui.runs.files import is_there
from fmnist_tui.runs.launch import read_launch
from fmnist_tui.runs.layout import CHECKPOINTS
from fmnist_tui.runs.lost import why_lost
from fmnist_tui.runs.provenance import described, recorded
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run

Rows = list[tuple[str, str]]


def run_details(run: Run) -> RenderableType:
    """A run in sections: state, result, configuration, what it was made with, files."""
    head = Text.assemble((run.id, "bold"), "  ", state_text(run.state))
    parts: list[RenderableType] = [head]
    if run.comment:
        parts.append(Text(run.comment, style="italic"))
    if run.problem:
        parts.append(Text(run.problem, style="red"))
    if run.status is not None:
        parts += section("State", _state_rows(run, run.status))
        if run.state is State.LOST:
            parts += [Text("\nLost", style="bold"), Text(why_lost(run), style="magenta")]
        if run.status.error:
            parts += [Text("\nError", style="bold"), Text(_told(run, run.status), style="red")]
    if run.result is not None and run.result is not run.earlier:
        parts += section("Result", _result_rows(run.result))
    if run.earlier is not None:
        parts += section("Earlier result", _result_rows(run.earlier))
    if run.earlier_problem:
        parts += [Text("\nEarlier result", style="bold"), Text(run.earlier_problem, style="red")]
    parts += section("Calibration", _calibration_rows(run))
    if run.config is not None:
        parts += section("Configuration", _config_rows(run, run.config))
    parts += section("Made with", _provenance_rows(run))
    parts += section("Files", _file_rows(run))
    return Group(*parts)


def section(title: str, rows: Rows) -> list[RenderableType]:
    """A title and its rows below it; nothing where there are none."""
    if not rows:
        return []
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(label, value)
    return [Text(f"\n{title}", style="bold"), grid]


def _told(run: Run, status: Status) -> str:
    return status.told(words.remedies(run.directory.path.parent))


def _state_rows(run: Run, status: Status) -> Rows:
    rows = [
        ("name", run.name),
        ("preset", (run.config.preset if run.config else None) or "none"),
        ("device", ", ".join(part for part in (status.device, status.device_name) if part)),
        ("host", status.host),
        ("created", words.local_time(status.created)),
        ("started", words.local_time(status.started)),
        ("ended", words.local_time(status.ended)),
        ("epoch", f"{status.epoch} of {status.epochs}"),
        ("step", f"{status.step:,} of {status.steps:,}"),
        ("test accuracy", words.percent(status.test_accuracy)),
        ("best accuracy", _with_epoch(status.best_accuracy, status.best_epoch)),
        ("loss", words.number(status.loss)),
        ("time at work", words.duration(status.active_seconds)),
    ]
    if status.stop_at_accuracy is not None:
        rows.append(("stops at", f"{words.percent(status.stop_at_accuracy)} test accuracy"))
    if status.beside:
        rows.append(("beside", f"{status.beside} (--now)"))
    if status.job is not None:
        rows.append(("Slurm job", status.job.id))
    if run.state is State.QUEUED:
        rows += [("queue", words.queued(status)), ("process", str(status.pid or words.NOTHING))]
    elif run.state.alive:
        rows += [
            ("phase", status.phase or words.NOTHING),
            ("speed", words.speed(status.images_per_second)),
            ("time left", words.duration(status.eta_seconds)),
            ("process", str(status.pid or words.NOTHING)),
        ]
    elif status.exit_code is not None:
        rows.append(("exit code", str(status.exit_code)))
    return rows


def _with_epoch(accuracy: float | None, epoch: int | None) -> str:
    return words.percent(accuracy) + (f" (epoch {epoch})" if epoch else "")


def _result_rows(result: Result) -> Rows:
    cut = "" if result.complete else " (cut short by training.max_steps)"
    rows = [
        ("test accuracy", f"{words.percent(result.test_accuracy)} at the last epoch"),
        ("best accuracy", _with_epoch(result.best_accuracy, result.best_epoch)),
        ("train accuracy", f"{words.percent(result.train_accuracy)} in the last epoch, on augmented images"),
        ("test loss", words.number(result.test_loss)),
        (
            "data",
            f"{result.data_source}, {result.split} split: {result.train_images:,} / {result.test_images:,} images"
            + (f", held out of the training images (fold {result.fold})" if result.hold_out else ""),
        ),
        ("parameters", f"{result.parameters:,}"),
        ("epochs", f"{result.epochs}, {words.count(result.steps, 'step')}{cut}"),
        ("training", f"{words.duration(result.train_seconds)}, {words.speed(result.images_per_second)}"),
        ("evaluating", words.duration(result.eval_seconds)),
        ("in all", f"{words.duration(result.total_seconds)} in {words.count(result.starts, 'start')}"),
        ("arithmetic", f"{result.precision}, {result.memory_format}, compile {result.compile}"),
        ("peak memory", words.size(result.peak_memory_bytes)),
    ]
    if result.energy_joules is not None:
        rows.append(("energy", f"{energy(result.energy_joules)} by the GPU's own counter"))
    return rows


def calibration_of(run: Run) -> tuple[Calibration | None, int | None, str]:
    """How sure a run was at its last evaluation, and that epoch; or why it can't be told ('' without predictions).

    Computed from predictions.npz and the true labels at each reading, so that it can't disagree with them.
    """
    if run.config is None or not is_there(run.directory.predictions):
        return None, None, ""
    try:
        found = load_predictions(run)
    except PredictionsError as error:
        return None, None, str(error)
    except DataError as error:
        return None, None, f"needs the true labels: {error.problem}"
    return calibration(found.probabilities, found.labels, found.classes), found.epoch, ""


def _calibration_rows(run: Run) -> Rows:
    found, epoch, why_not = calibration_of(run)
    if found is None:
        return [("ECE", why_not)] if why_not else []
    return [
        ("ECE", f"{found.ece:.2f} points over {BINS} bins, at epoch {epoch}"),
        ("confidence", f"{words.percent(found.confidence)} on average: {found.in_words}"),
    ]


def _config_rows(run: Run, config: RunConfig) -> Rows:
    """Every field as the run trained with it; what differs from the shipped preset, or from what it began with, says
    what it was there.
    """
    base = shipped_preset(config.preset) if config.preset else None
    begun, trained = flatten(config), trained_with(run)
    of_preset = changed_fields(flatten(base), trained) if base else {}
    rows = []
    for key, value in trained.items():
        was = [f"preset: {field_value(of_preset[key][0])}"] if key in of_preset else []
        if value != begun[key]:
            was.append(f"when made: {field_value(begun[key])}")
        rows.append((key, field_value(value) + (f"   ({', '.join(was)})" if was else "")))
    return rows


def _provenance_rows(run: Run) -> Rows:
    made = recorded(run)
    return [] if made is None else [(label, one_line(text)) for label, text in described(made).items()]


def _file_rows(run: Run) -> Rows:
    directory = run.directory
    files = [*(directory.checkpoint(which) for which in CHECKPOINTS)]
    files += [directory.metrics, directory.confusions, directory.predictions, directory.result, directory.worker_log]
    files += [directory.earlier_result, directory.earlier_predictions]
    rows = [("directory", str(directory.path))]
    rows += [
        (str(path.relative_to(directory.path)), words.size(path.stat().st_size)) for path in files if is_there(path)
    ]
    rows.append(("on disk", words.size(disk.bytes_on_disk(directory.path)) + _spare(run)))
    return rows


def _spare(run: Run) -> str:
    """How much of it `runs prune` would free."""
    if run.state is not State.FINISHED or not (spare := disk.spare_checkpoints(run.directory)).bytes:
        return ""
    prune = paths.command_line("runs", "prune", run.id, of=run.directory.path.parent)
    return f"; {words.size(spare.bytes)} of it are spare checkpoints: {prune}"


def run_details_object(run: Run) -> dict[str, Any]:
    """Everything about a run as one JSON object; what could not be read is null."""
    calibrated, epoch, why_not = calibration_of(run)
    return {
        "id": run.id,
        "name": run.name,
        "state": str(run.state),
        "comment": run.comment,
        "problem": run.problem,
        "directory": str(run.directory.path),
        "bytes_on_disk": disk.bytes_on_disk(run.directory.path),
        "checkpoints": [which for which in CHECKPOINTS if is_there(run.directory.checkpoint(which))],
        "config": as_json(run.config),
        "launch": as_json(read_launch(run.directory)),
        "status": as_json(run.status),
        "result": as_json(run.result),
        "earlier_result": as_json(run.earlier),
        "earlier_problem": run.earlier_problem,
        "provenance": as_json(recorded(run)),
        "calibration": calibrated
        and {
            "ece": calibrated.ece,
            "bins": BINS,
            "confidence": calibrated.confidence,
            "accuracy": calibrated.accuracy,
            "epoch": epoch,
        },
        "calibration_problem": why_not,
    }
