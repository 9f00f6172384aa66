"""`run preset|config ... --dry-run`: what a run, or each of a sweep, would be and do; nothing is made or started.

What the command would refuse is refused here too. Called by `commands_run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from fmnist_tui import paths
from fmnist_tui.analysis.outlook import duration, earlier_run, memory_estimate, plan, size
from fmnist_tui.config import RunConfig
from fmnist_tui.console import words
from fmnist_tui.console.details import section
from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.console.launch import Start, behind, check_place
from fmnist_tui.console.output import as_json, console, plain_value, print_json, print_notes, say
from fmnist_tui.data import source
from fmnist_tui.fields import differences, field_value
from fmnist_tui.monitor import list_gpus
from fmnist_tui.presets import shipped_preset
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.runs.store import list_runs


def dry_run(configs: Sequence[RunConfig], notes: Sequence[str], start: Start) -> int:
    """Print what these runs would be; returns the exit code. Raises RunError and DataError as starting them would.

    But that the full data set is not here: it would be fetched, and is not.
    """
    check_place(start)
    data = {found: _data_directory(found, start) for found in {config.data.source for config in configs}}
    ahead = behind(start) if not start.now and start.slurm is None else None
    if start.json:
        for config in configs:
            print_json(_object(config, start, data[config.data.source], ahead))
        return ExitCode.DONE
    print_notes(notes)
    if len(configs) == 1:
        console().print(_text(configs[0], start, data[configs[0].data.source]))
    else:
        console().print(_table(configs, start))
    if ahead is not None:
        say(
            f"It would wait for its device behind {ahead}." if len(configs) == 1 else f"They would wait behind {ahead}."
        )
    made = "No run was made." if len(configs) == 1 else f"None of these {len(configs)} runs was made."
    say(f"{made} Without --dry-run the command trains.")
    return ExitCode.DONE


def _data_directory(kind: str, start: Start) -> Path | None:
    """Where the images are, contents checked; None where they would be fetched. Raises DataError."""
    if kind == "sample":
        return source.load_sample().directory
    try:
        source.find(start.data_dir)
    except source.DataError:
        if paths.data_dir_override(start.data_dir) is not None:
            raise
        return None
    return source.verify(start.data_dir)[0].directory


def _earlier(config: RunConfig, start: Start) -> dict[str, Any] | None:
    """The newest finished run of this network on such a device, and how long this one would take at its speed."""
    runs = list_runs(start.runs_dir) if start.runs_dir.exists() and start.gpus == start.nodes == 1 else []
    found = earlier_run(config, start.device, runs, bool(list_gpus().gpus))
    if found is None:
        return None
    return {
        "run": found.run.id,
        "same_settings": found.same,
        "images_per_second": found.speed.images_per_second,
        "seconds": duration(config, found.speed).total,
    }


def _changed(config: RunConfig) -> dict[str, tuple[Any, Any]]:
    """By field, what the shipped preset has and what the run would have."""
    shipped = shipped_preset(config.preset) if config.preset else None
    return differences(config, shipped) if shipped is not None else {}


def _object(config: RunConfig, start: Start, data: Path | None, ahead: str | None) -> dict[str, Any]:
    work, cost = plan(config), size(config)
    return {
        "name": config.name,
        "preset": config.preset,
        "group": config.group,
        "seed": config.seed,
        "config": as_json(config),
        "changed": {key: [plain_value(was), plain_value(now)] for key, (was, now) in _changed(config).items()},
        "parameters": cost.parameters,
        "flops_per_image": cost.flops_per_image,
        "memory_bytes": {"fp32": memory_estimate(config, 4), "bf16": memory_estimate(config, 2)},
        "train_images": work.train_images,
        "test_images": work.test_images,
        "steps_per_epoch": work.steps_per_epoch,
        "steps": work.steps,
        "epochs": work.epochs,
        "evaluations": work.evaluations,
        "device": start.device,
        "gpus": start.gpus,
        "nodes": start.nodes,
        "launcher": "local" if start.slurm is None else "slurm",
        "data_directory": None if data is None else str(data),
        "runs_dir": str(start.runs_dir),
        "queued_behind": ahead,
        "earlier": _earlier(config, start),
    }


def _text(config: RunConfig, start: Start, data: Path | None) -> RenderableType:
    work, cost, earlier = plan(config), size(config), _earlier(config, start)
    cut = " (training.max_steps ends it)" if work.cut_short else ""
    on = f"{start.gpus * start.nodes} GPUs, {start.device}" if start.gpus * start.nodes > 1 else start.device
    rows = [
        ("preset", config.preset or "none"),
        ("seed", str(config.seed)),
        ("network", f"{config.model.kind}, {cost.parameters:,} parameters"),
        ("images", f"{work.train_images:,} to train on, {work.test_images:,} to test on ({config.data.split} split)"),
        ("data", "not here: it would be fetched" if data is None else str(data)),
        ("steps", f"{work.steps:,}: {words.count(work.epochs, 'epoch')} of {work.steps_per_epoch:,}{cut}"),
        ("evaluations", str(work.evaluations)),
        ("device", on if start.slurm is None else f"{on}, a Slurm job"),
        (
            "memory",
            f"about {words.size(memory_estimate(config, 4))} in fp32, {words.size(memory_estimate(config, 2))} in bf16",
        ),
        ("time", _time(earlier)),
        ("runs directory", str(start.runs_dir)),
    ]
    changed = [(key, f"{field_value(was)} -> {field_value(now)}") for key, (was, now) in _changed(config).items()]
    head = Text.assemble((config.name, "bold"), "  would be started")
    return Group(head, *section("Run", rows), *section("Changed", changed), Text())


def _table(configs: Sequence[RunConfig], start: Start) -> RenderableType:
    """The runs of a sweep, a row each."""
    columns = (
        Column("run", folds=True),
        Column("seed", 1, right=True),
        Column("parameters", 2, right=True),
        Column("steps", 3, right=True),
        Column("time", 1, right=True),
    )
    rows, seconds = list[tuple[str, ...]](), list[float | None]()
    for config in configs:
        earlier = _earlier(config, start)
        seconds.append(None if earlier is None else float(earlier["seconds"]))
        figures = (str(config.seed), f"{size(config).parameters:,}", f"{plan(config).steps:,}")
        rows.append((config.name, *figures, words.duration(seconds[-1])))
    whole = sum(known) if len(known := [one for one in seconds if one is not None]) == len(seconds) else None
    rows.append((f"{len(configs)} runs", "", "", "", words.duration(whole)))
    return FittedTable(columns, rows)


def _time(earlier: dict[str, Any] | None) -> str:
    if earlier is None:
        return "not known: no run of this network has finished here; 'fmnist-tui bench' measures"
    like = "at the speed of" if earlier["same_settings"] else "at the speed, with other settings, of"
    return f"about {words.duration(earlier['seconds'])} {like} {earlier['run']}"
