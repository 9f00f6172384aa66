"""Where and how a run is trained: the options of `run ...` as they were given, checked and made a `Start`.

Called by `commands_run`; what is heavy is imported within the functions, as there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fmnist_tui.console.launch import Start
    from fmnist_tui.runs.layout import RunDirectory
    from fmnist_tui.runs.slurm import SlurmSettings


class Where(NamedTuple):
    """The options on where a run is trained, as they were given."""

    device: str | None
    gpus: str | None
    nodes: int | None
    rendezvous: str | None
    runs_dir: Path | None
    data_dir: Path | None
    launcher: str | None
    slurm: list[str]
    """`--set slurm.KEY=VALUE` options."""
    slurm_before: SlurmSettings | None = None


def as_before(run: RunDirectory, where: Where) -> Where:
    """The options of a run that goes on, with what it was last started with where they are left out."""
    from fmnist_tui.console.configure import check_only_slurm
    from fmnist_tui.runs.launch import last_launch
    from fmnist_tui.runs.slurm import split_settings

    before = last_launch(run)
    own, slurm = split_settings(where.slurm)
    check_only_slurm(own)
    launcher = where.launcher or before.launcher
    data_dir = where.data_dir
    if data_dir is None and before.data_dir is not None:
        data_dir = Path(before.data_dir)
    nodes = where.nodes
    if nodes is None:  # machines of one's own have to be named again, with where they meet
        nodes = before.nodes if launcher == before.launcher == "slurm" else 1
    return where._replace(
        device=where.device or before.device,
        gpus=where.gpus or str(before.gpus),
        nodes=nodes,
        data_dir=data_dir,
        launcher=launcher,
        slurm=slurm,
        slurm_before=before.slurm,
    )


def start_options(where: Where, now: bool, retries: int, detach: bool, json: bool) -> Start:
    """The options on where and how. Raises UsageError for a device that is not there, ConfigError for slurm.KEY."""
    from fmnist_tui import paths
    from fmnist_tui.console import configure
    from fmnist_tui.console.launch import Start
    from fmnist_tui.runs.slurm import slurm_settings

    device, gpus, nodes = where.device or "auto", where.gpus or "1", 1 if where.nodes is None else where.nodes
    configure.check_slurm_settings(where.slurm, where.launcher or "local")
    slurm = None
    if where.launcher == "slurm":
        count = configure.check_job(gpus, device, where.rendezvous, now, nodes)
        device = "cuda" if device == "auto" else device  # a node whose driver is broken must not train on its CPU
        slurm = slurm_settings(where.slurm, where.slurm_before)
    else:
        configure.check_device(device)
        configure.check_rendezvous(nodes, where.rendezvous)
        count = configure.check_gpus(gpus, device)
    return Start(
        runs_dir=paths.runs_dir(where.runs_dir),
        data_dir=paths.data_dir_override(where.data_dir),
        device=device,
        gpus=count,
        nodes=nodes,
        rendezvous=where.rendezvous,
        now=now,
        retries=retries,
        detach=detach,
        json=json,
        slurm=slurm,
    )
