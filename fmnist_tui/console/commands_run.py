"""`fmnist-tui run preset|config|resume|repeat`: from options to a worker that trains. Registered by `cli`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from fmnist_tui.console import options as o
from fmnist_tui.console import run_options as r
from fmnist_tui.console.kept import KeepsConfiguration
from fmnist_tui.console.where import Where, as_before, start_options

if TYPE_CHECKING:
    from fmnist_tui.config import RunConfig
    from fmnist_tui.console.launch import Start

app = typer.Typer(no_args_is_help=True)

EXIT_CODES = (
    "Exit codes: 0 done; 2 bad usage or configuration; 3 the data set can't be had; 4 training failed; "
    "130 stopped by you, with a checkpoint to go on from."
)


@app.command("preset", epilog=EXIT_CODES)
def run_preset(
    name: o.PresetArgument,
    settings: o.SetOption = None,
    epochs: r.EpochsOption = None,
    scale_schedule: r.ScaleScheduleOption = False,
    seed: r.SeedOption = None,
    data: o.DataOption = None,
    split: r.SplitOption = None,
    run_name: r.NameOption = None,
    sweep: r.SweepOption = None,
    seeds: r.SeedsOption = None,
    group: r.GroupOption = None,
    device: o.DeviceOption = "auto",
    gpus: r.GpusOption = "1",
    nodes: r.NodesOption = 1,
    rendezvous: r.RendezvousOption = None,
    launcher: r.LauncherOption = "local",
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: r.NowOption = False,
    retries: r.RetriesOption = 0,
    detach: r.DetachOption = False,
    dry_run: r.DryRunOption = False,
    json: o.JsonOption = False,
) -> int:
    """Train a preset.

    A background process trains; this command starts it and shows how it gets on.

    Ctrl-C once stops the run with a checkpoint, twice kills it.

    Closing the terminal changes nothing: look again with 'fmnist-tui runs watch last'.
    """
    from fmnist_tui.presets import load_preset
    from fmnist_tui.runs.slurm import split_settings

    changes = _changes(epochs, seed, run_name, data, split) | {"group": group}
    own, slurm = split_settings(settings or [])
    where = Where(device, gpus, nodes, rendezvous, runs_dir, data_dir, launcher, slurm)
    start = start_options(where, now, retries, detach, json)
    return _train(load_preset(name), own, changes, scale_schedule, start, sweep or [], seeds, dry_run)


@app.command("config", epilog=EXIT_CODES)
def run_config(
    file: o.FileArgument,
    settings: o.SetOption = None,
    epochs: r.EpochsOption = None,
    scale_schedule: r.ScaleScheduleOption = False,
    seed: r.SeedOption = None,
    data: o.DataOption = None,
    split: r.SplitOption = None,
    run_name: r.NameOption = None,
    sweep: r.SweepOption = None,
    seeds: r.SeedsOption = None,
    group: r.GroupOption = None,
    device: o.DeviceOption = "auto",
    gpus: r.GpusOption = "1",
    nodes: r.NodesOption = 1,
    rendezvous: r.RendezvousOption = None,
    launcher: r.LauncherOption = "local",
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: r.NowOption = False,
    retries: r.RetriesOption = 0,
    detach: r.DetachOption = False,
    dry_run: r.DryRunOption = False,
    json: o.JsonOption = False,
) -> int:
    """Train what a TOML file describes.

    To begin one: fmnist-tui presets show quick --explain > mine.toml
    """
    from fmnist_tui.presets import load_file
    from fmnist_tui.runs.slurm import split_settings

    changes = _changes(epochs, seed, run_name, data, split) | {"group": group}
    own, slurm = split_settings(settings or [])
    where = Where(device, gpus, nodes, rendezvous, runs_dir, data_dir, launcher, slurm)
    start = start_options(where, now, retries, detach, json)
    return _train(load_file(file), own, changes, scale_schedule, start, sweep or [], seeds, dry_run)


@app.command("resume", cls=KeepsConfiguration, epilog=EXIT_CODES)
def run_resume(
    run: o.RunArgument,
    epochs: r.ResumeEpochsOption = None,
    stop_at_accuracy: r.StopAtAccuracyOption = None,
    checkpoint: r.FromOption = "last",
    device: r.ResumeDeviceOption = None,
    gpus: r.ResumeGpusOption = None,
    nodes: r.ResumeNodesOption = None,
    rendezvous: r.RendezvousOption = None,
    launcher: r.ResumeLauncherOption = None,
    settings: r.SlurmSetOption = None,
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: r.NowOption = False,
    retries: r.RetriesOption = 0,
    detach: r.DetachOption = False,
    json: o.JsonOption = False,
) -> int:
    """Go on from a run's last checkpoint, in the same run directory.

    The run keeps its configuration; for another one start a new run.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.launch import resume
    from fmnist_tui.runs.store import find_run

    found = find_run(paths.runs_dir(runs_dir), run)
    given = Where(device, gpus, nodes, rendezvous, runs_dir, data_dir, launcher, settings or [])
    where = as_before(found.directory, given)
    return resume(found, start_options(where, now, retries, detach, json), checkpoint, epochs, stop_at_accuracy)


@app.command("repeat", cls=KeepsConfiguration, epilog=EXIT_CODES)
def run_repeat(
    run: o.RunArgument,
    device: r.ResumeDeviceOption = None,
    gpus: r.ResumeGpusOption = None,
    launcher: r.ResumeLauncherOption = None,
    settings: r.SlurmSetOption = None,
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: r.NowOption = False,
    retries: r.RetriesOption = 0,
    detach: r.DetachOption = False,
    json: o.JsonOption = False,
) -> int:
    """Train a run once more: a new run with exactly its configuration and seed.

    Says where versions, device or data are not what they were.

    On one CPU, with training.deterministic = true and nothing different, it ends in the same weights bit for bit.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.repeat import repeat
    from fmnist_tui.runs.store import find_run

    found = find_run(paths.runs_dir(runs_dir), run)
    given = Where(device, gpus, None, None, runs_dir, data_dir, launcher, settings or [])
    where = as_before(found.directory, given)
    return repeat(found, start_options(where, now, retries, detach, json))


@app.command("join")
def run_join(run: o.RunArgument, runs_dir: o.RunsDirOption = None) -> int:
    """Have this machine take part in a run that another one has started with --nnodes.

    The runs directory must be on a file system that both see. Ctrl-C stops the run on all machines, with a checkpoint.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.launch import join
    from fmnist_tui.runs.store import find_run

    return join(find_run(paths.runs_dir(runs_dir), run))


def _changes(
    epochs: int | None, seed: int | None, name: str | None, data: str | None, split: str | None
) -> dict[str, Any]:
    """The fields that options of their own set."""
    return {
        "training.epochs": epochs,
        "seed": seed,
        "name": name,
        "data.source": data,
        "data.split": split,
    }


def _train(
    base: RunConfig,
    settings: list[str],
    changes: dict[str, Any],
    scale_schedule: bool,
    start: Start,
    sweep: list[str],
    seeds: int | None,
    dry_run: bool,
) -> int:
    from fmnist_tui.console import dry_run as dry
    from fmnist_tui.console.configure import configure
    from fmnist_tui.console.launch import start_new

    if sweep or seeds is not None:
        from fmnist_tui.console.sweep import check_start, start_sweep, sweep_configs

        configs, notes = sweep_configs(base, sweep, seeds, settings, changes, scale_schedule)
        if not dry_run:
            return start_sweep(configs, notes, start)
        check_start(start)
        return dry.dry_run(configs, notes, start)
    config, notes = configure(base, settings, changes, scale_schedule)
    return dry.dry_run([config], notes, start) if dry_run else start_new(config, notes, start)
