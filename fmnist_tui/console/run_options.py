"""The options of `fmnist-tui run ...`: what to change in a configuration, and where and how to train it.

Used in the signatures of `commands_run`. Those that other commands have too are in `options`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fmnist_tui.console.options import CHANGES, START, whole_number


def retries_number(text: str) -> int:
    """An option's value as a number of retries, 0 to 1000."""
    number = whole_number(text)
    if not 0 <= number <= 1000:
        raise typer.BadParameter(f"{text!r} is not from 0 to 1000")
    return number


def accuracy_limit(text: str) -> float:
    """An option's value as a test accuracy in percent; 0 for 'none'."""
    if text.strip().lower() == "none":
        return 0.0
    try:
        accuracy = float(text)
    except ValueError:
        accuracy = 0.0
    if not 0.0 < accuracy <= 100.0:
        raise typer.BadParameter(f"{text!r} is not a percentage above 0, up to 100, or none")
    return accuracy


EpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        parser=whole_number,
        help="Train for N epochs.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
ScaleScheduleOption = Annotated[
    bool,
    typer.Option(
        "--scale-schedule",
        help="With --epochs, or swept epochs: move milestones and warm-up in proportion.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        parser=whole_number,
        help="Set the seed; else it is the preset's.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
SplitOption = Annotated[
    Literal["custom", "standard"] | None,
    typer.Option(
        "--split",
        help="custom: half of the training images against all others; standard: the official split.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="TEXT",
        help="The run's name, which becomes part of its id; else the preset's.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
ResumeEpochsOption = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        parser=whole_number,
        help="Train for N epochs in all; a finished run goes on only with more than it had.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
StopAtAccuracyOption = Annotated[
    float | None,
    typer.Option(
        "--stop-at-accuracy",
        metavar="PERCENT|none",
        parser=accuracy_limit,
        help="Finish once a test accuracy reaches this; none takes the limit back. Else it is as before "
        "(training.stop_at_accuracy). A run that has reached it goes on only with more, or none.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
ResumeDeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:N or mps; else what the run was last started with.",
        show_default=False,
        rich_help_panel=START,
    ),
]
GpusOption = Annotated[
    str,
    typer.Option(
        "--gpus",
        metavar="N|all",
        help="GPUs (of each machine) to train one run on, each a share of every batch; with --device cpu: processes.",
        rich_help_panel=START,
    ),
]
ResumeGpusOption = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="N|all",
        help="GPUs to train on; else as many as the run was last started with.",
        show_default=False,
        rich_help_panel=START,
    ),
]
SweepOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=V1,V2,...",
        help="Start a run for each value of a field, for example --sweep optimizer.lr=0.05,0.1,0.2; repeatable: then "
        "for each combination.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        metavar="N",
        parser=whole_number,
        help="Start N runs that differ in the seed: the seed, the next one, and so on.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="TEXT",
        help="A name for runs that belong together, for 'runs list --group' and the report; a sweep makes one up.",
        show_default=False,
        rich_help_panel=CHANGES,
    ),
]
LauncherOption = Annotated[
    Literal["local", "slurm"],
    typer.Option(
        "--launcher",
        help="local: train here. slurm: submit a job to the cluster, with as many --gpus and --nodes; --set "
        "slurm.KEY=VALUE says what else it asks for (partition, time, ...).",
        rich_help_panel=START,
    ),
]
ResumeLauncherOption = Annotated[
    Literal["local", "slurm"] | None,
    typer.Option(
        "--launcher",
        help="local, or slurm for a job; else what the run was last started with.",
        show_default=False,
        rich_help_panel=START,
    ),
]
SlurmSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="slurm.KEY=VALUE",
        help="What the job asks Slurm for, where that is not as before; repeatable.",
        show_default=False,
        rich_help_panel=START,
    ),
]
NodesOption = Annotated[
    int,
    typer.Option(
        "--nnodes",
        "--nodes",
        metavar="N",
        parser=whole_number,
        help="Machines to train one run on; on the others: fmnist-tui run join RUN. Needs a runs directory that all of "
        "them see, and --rdzv; not so with --launcher slurm.",
        rich_help_panel=START,
    ),
]
ResumeNodesOption = Annotated[
    int | None,
    typer.Option(
        "--nnodes",
        "--nodes",
        metavar="N",
        parser=whole_number,
        help="Machines to go on with, which need --rdzv too; with --launcher slurm the nodes of the job, else as many "
        "as the last one had.",
        show_default=False,
        rich_help_panel=START,
    ),
]
RendezvousOption = Annotated[
    str | None,
    typer.Option(
        "--rdzv",
        metavar="HOST:PORT",
        help="Where the machines meet: an address of this one and a free port. Whoever reaches it can join.",
        show_default=False,
        rich_help_panel=START,
    ),
]
DetachOption = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Print the run's id and return at once; the run goes on in the background.",
        show_default=False,
        rich_help_panel=START,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check everything and say what would be trained, on what and for how long; make no run.",
        show_default=False,
        rich_help_panel=START,
    ),
]
NowOption = Annotated[
    bool,
    typer.Option(
        "--now",
        help="Start beside the run that is on the device, instead of waiting in its queue.",
        show_default=False,
        rich_help_panel=START,
    ),
]
RetriesOption = Annotated[
    int,
    typer.Option(
        "--retries",
        metavar="N",
        parser=retries_number,
        help="Where the device fails, go on from the last checkpoint, up to N times.",
        rich_help_panel=START,
    ),
]
FromOption = Annotated[
    Literal["last", "previous", "best"],
    typer.Option("--from", help="The checkpoint to go on from.", rich_help_panel=START),
]
