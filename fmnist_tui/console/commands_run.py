"""`fmnist-tui run preset|config|resume|repeat`: from options to a worker that trains. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fmnist_tui.console import options as o

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
    epochs: o.EpochsOption = None,
    scale_schedule: o.ScaleScheduleOption = False,
    seed: o.SeedOption = None,
    data: o.DataOption = None,
    split: o.SplitOption = None,
    run_name: o.NameOption = None,
    sweep: o.SweepOption = None,
    seeds: o.SeedsOption = None,
    group: o.GroupOption = None,
    device: o.DeviceOption = "auto",
    gpus: o.GpusOption = "1",
    nodes: o.NodesOption = 1,
    rendezvous: o.RendezvousOption = None,
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: o.NowOption = False,
    retries: o.RetriesOption = 0,
    detach: o.DetachOption = False,
    json: o.JsonOption = False,
) -> int:
    """Train a preset.

    A background process trains; this command starts it and shows how it gets on.

    Ctrl-C once stops the run with a checkpoint, twice kills it.

    Closing the terminal changes nothing: look again with 'fmnist-tui runs watch last'.
    """
    from fmnist_tui.presets import load_preset

    changes = _changes(epochs, seed, run_name, data, split) | {"group": group}
    start = _start(device, gpus, nodes, rendezvous, runs_dir, data_dir, now, retries, detach, json)
    return _train(load_preset(name), settings, changes, scale_schedule, start, sweep or [], seeds)


@app.command("config", epilog=EXIT_CODES)
def run_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file like those of 'presets show'.")],
    settings: o.SetOption = None,
    epochs: o.EpochsOption = None,
    scale_schedule: o.ScaleScheduleOption = False,
    seed: o.SeedOption = None,
    data: o.DataOption = None,
    split: o.SplitOption = None,
    run_name: o.NameOption = None,
    sweep: o.SweepOption = None,
    seeds: o.SeedsOption = None,
    group: o.GroupOption = None,
    device: o.DeviceOption = "auto",
    gpus: o.GpusOption = "1",
    nodes: o.NodesOption = 1,
    rendezvous: o.RendezvousOption = None,
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: o.NowOption = False,
    retries: o.RetriesOption = 0,
    detach: o.DetachOption = False,
    json: o.JsonOption = False,
) -> int:
    """Train what a TOML file describes.

    To begin one: fmnist-tui presets show quick > mine.toml
    """
    from fmnist_tui.presets import load_file

    changes = _changes(epochs, seed, run_name, data, split) | {"group": group}
    start = _start(device, gpus, nodes, rendezvous, runs_dir, data_dir, now, retries, detach, json)
    return _train(load_file(file), settings, changes, scale_schedule, start, sweep or [], seeds)


@app.command("resume", epilog=EXIT_CODES)
def run_resume(
    run: o.RunArgument,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            metavar="N",
            parser=o.whole_number,
            help="Train for N epochs in all; a finished run goes on only with more than it had.",
            show_default=False,
            rich_help_panel=o.CHANGES,
        ),
    ] = None,
    checkpoint: o.FromOption = "last",
    device: o.ResumeDeviceOption = None,
    gpus: o.ResumeGpusOption = None,
    nodes: o.NodesOption = 1,
    rendezvous: o.RendezvousOption = None,
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: o.NowOption = False,
    retries: o.RetriesOption = 0,
    detach: o.DetachOption = False,
    json: o.JsonOption = False,
) -> int:
    """Go on from a run's last checkpoint, in the same run directory.

    The run keeps its configuration; for another one start a new run.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.launch import resume
    from fmnist_tui.runs.store import find_run, last_launch

    found = find_run(paths.runs_dir(runs_dir), run)
    before = last_launch(found.directory)
    if data_dir is None and before.data_dir is not None:
        data_dir = Path(before.data_dir)
    device, gpus = device or before.device, gpus or str(before.gpus)
    start = _start(device, gpus, nodes, rendezvous, runs_dir, data_dir, now, retries, detach, json)
    return resume(found, start, checkpoint, epochs)


@app.command("repeat", epilog=EXIT_CODES)
def run_repeat(
    run: o.RunArgument,
    device: o.ResumeDeviceOption = None,
    gpus: o.ResumeGpusOption = None,
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    now: o.NowOption = False,
    retries: o.RetriesOption = 0,
    detach: o.DetachOption = False,
    json: o.JsonOption = False,
) -> int:
    """Train a run once more: a new run with exactly its configuration and seed.

    Says where versions, device or data are not what they were.

    On one CPU, with training.deterministic = true and nothing different, it ends in the same weights bit for bit.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.repeat import repeat
    from fmnist_tui.runs.store import find_run, last_launch

    found = find_run(paths.runs_dir(runs_dir), run)
    before = last_launch(found.directory)
    if data_dir is None and before.data_dir is not None:
        data_dir = Path(before.data_dir)
    device, gpus = device or before.device, gpus or str(before.gpus)
    return repeat(found, _start(device, gpus, 1, None, runs_dir, data_dir, now, retries, detach, json))


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


def _start(
    device: str,
    gpus: str,
    nodes: int,
    rendezvous: str | None,
    runs_dir: Path | None,
    data_dir: Path | None,
    now: bool,
    retries: int,
    detach: bool,
    json: bool,
) -> Start:
    """The options on where and how. Raises UsageError for a device that is not there."""
    from fmnist_tui import paths
    from fmnist_tui.console.configure import check_device, check_gpus, check_rendezvous
    from fmnist_tui.console.launch import Start

    check_device(device)
    check_rendezvous(nodes, rendezvous)
    return Start(
        runs_dir=paths.runs_dir(runs_dir),
        data_dir=paths.data_dir_override(data_dir),
        device=device,
        gpus=check_gpus(gpus, device),
        nodes=nodes,
        rendezvous=rendezvous,
        now=now,
        retries=retries,
        detach=detach,
        json=json,
    )


def _train(
    base: RunConfig,
    settings: list[str] | None,
    changes: dict[str, Any],
    scale_schedule: bool,
    start: Start,
    sweep: list[str],
    seeds: int | None,
) -> int:
    from fmnist_tui.console.configure import configure
    from fmnist_tui.console.launch import start_new

    config, notes = configure(base, settings or [], changes, scale_schedule)
    if sweep or seeds is not None:
        from fmnist_tui.console.sweep import start_sweep, sweep_configs

        return start_sweep(sweep_configs(config, sweep, seeds, settings or []), notes, start)
    return start_new(config, notes, start)
