"""`fmnist-tui runs ...`: list, show, watch, compare, mistakes, export and stop runs in a directory.

Registered by `cli`, and so is what else the group has: `commands_comment`, `commands_disk`, `commands_queue`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fmnist_tui.console import options as o

app = typer.Typer(no_args_is_help=True)

STOP_SECONDS = 120.0
"""How long `runs stop` waits by default."""


@app.command("list")
def list_command(
    filter: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILTER",
            help="Only runs that pass, in the words of the app's filter: a part of a name or id, preset:wrn, "
            "state:running,lost, 'acc>94' (quote < and >). Words that begin with - take runs away; put -- before them.",
            show_default=False,
        ),
    ] = None,
    group: o.GroupFilterOption = None,
    runs_dir: o.RunsDirOption = None,
    json: o.JsonOption = False,
) -> int:
    """List the runs, newest first; with FILTER only those that pass all its words."""
    from fmnist_tui import paths
    from fmnist_tui.console import words
    from fmnist_tui.console.output import UsageError, print_json, say
    from fmnist_tui.console.tables import print_runs, run_object
    from fmnist_tui.runs.filter import parse_filter
    from fmnist_tui.runs.left_out import left_out_runs
    from fmnist_tui.runs.store import list_runs

    wanted = parse_filter(" ".join(filter or []))
    if wanted.problems:
        raise UsageError(f"FILTER = {wanted.problems[0]}")
    directory = paths.runs_dir(runs_dir)
    every = list_runs(directory)
    grouped = [run for run in every if group is None or (run.config is not None and run.config.group == group)]
    runs = [run for run in grouped if wanted.matches(run)]
    if json:
        for run in runs:
            print_json(run_object(run))
    elif runs:
        print_runs(runs)
    elif grouped:
        say(f"None of {words.count(len(grouped), 'run')} in {directory} passes the filter.")
    elif group is not None:
        say(f"There are no runs of the group {group!r} in {directory}.")
    else:
        first = paths.command_line("run", "preset", "quick", of=directory)
        say(f"There are no runs in {directory}. Start one with: {first}")
    if note := left_out_runs(directory):
        say(note)
    return 0


@app.command("show")
def show_command(run: o.RunArgument, runs_dir: o.RunsDirOption = None, json: o.JsonOption = False) -> int:
    """Show everything about one run: state, results, configuration, versions, files."""
    from fmnist_tui import paths
    from fmnist_tui.console.details import run_details, run_details_object
    from fmnist_tui.console.output import console, print_json
    from fmnist_tui.runs.store import find_run

    found = find_run(paths.runs_dir(runs_dir), run)
    if json:
        print_json(run_details_object(found))
    else:
        console().print(run_details(found))
    return 0


@app.command("watch")
def watch_command(run: o.RunArgument, runs_dir: o.RunsDirOption = None, json: o.JsonOption = False) -> int:
    """Watch a run until it ends. Ctrl-C ends the watching only; the run goes on.

    Ends with the run's own exit code.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.output import say
    from fmnist_tui.console.summary import print_summary
    from fmnist_tui.console.watch import Interrupts, exit_code, follow, opened_view
    from fmnist_tui.runs.errors import RunError
    from fmnist_tui.runs.store import find_run

    found = find_run(paths.runs_dir(runs_dir), run)
    if found.status is None:
        raise RunError(f"{found.id}: cannot be watched: {found.problem}")
    with Interrupts() as interrupts, opened_view(json) as view:
        last, ended = follow(found.directory, view, interrupts)
    if not ended:
        stop = paths.command_line("runs", "stop", last.id, of=last.directory.path.parent)
        say(f"No longer watching; {last.id} goes on. Stop it with: {stop}")
        return 0
    print_summary(last, json)
    return exit_code(last)


@app.command("compare")
def compare_command(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Two to eight runs: a unique part of each one's id, or 'last'.",
            autocompletion=o.complete_runs,
            show_default=False,
        ),
    ],
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    json: o.JsonOption = False,
) -> int:
    """Compare runs: settings that differ, who leads at equal epochs, and whether that is more than noise.

    Runs that have ended are tested on the same test images, two by two: McNemar's test and a bootstrap interval.
    """
    from fmnist_tui import paths
    from fmnist_tui.analysis import compare
    from fmnist_tui.analysis.epochs import evaluations
    from fmnist_tui.console.compare import comparison_object, comparison_text, find_runs
    from fmnist_tui.console.output import console, print_json

    found = find_runs(paths.runs_dir(runs_dir), runs)
    records = [evaluations(run.directory) for run in found]
    pairs = compare.pairs(found, paths.data_dir_override(data_dir))
    if json:
        print_json(comparison_object(found, records, pairs))
    else:
        console().print(comparison_text(found, records, pairs))
    return 0


@app.command("mistakes")
def mistakes_command(
    run: o.RunArgument,
    pair: Annotated[
        str | None,
        typer.Option(
            "--pair",
            metavar="TRUE,PREDICTED",
            help="List the images of this pair of classes instead, most confident first: --pair Shirt,Coat. "
            "--json has the matrix all the same.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", metavar="N", parser=o.positive_number, help="List this many pairs or images.")
    ] = 10,
    at: Annotated[
        str, typer.Option("--at", metavar="WHICH", help="Which evaluation: last, best, or the number of an epoch.")
    ] = "last",
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    json: o.JsonOption = False,
) -> int:
    """Show which classes a run takes for which, on its test images: matrix, scores by class, worst pairs."""
    from fmnist_tui import paths
    from fmnist_tui.console import mistakes
    from fmnist_tui.console.output import console, print_json
    from fmnist_tui.runs.store import find_run

    wanted = mistakes.parse_pair(pair) if pair is not None else None
    found = find_run(paths.runs_dir(runs_dir), run)
    shown = mistakes.find_evaluation(found, at, paths.data_dir_override(data_dir), wanted is not None)
    if json:
        for record in mistakes.as_objects(shown, wanted, top):
            print_json(record)
    else:
        console().print(mistakes.as_text(shown, wanted, top))
    return 0


@app.command("logs")
def logs_command(
    run: o.RunArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on printing until the run ends or Ctrl-C.", show_default=False)
    ] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines",
            "-n",
            metavar="N",
            parser=o.count_number,
            help="Print the last N lines only.",
            show_default=False,
        ),
    ] = None,
    runs_dir: o.RunsDirOption = None,
) -> int:
    """Print what a run's worker wrote: its messages, warnings and tracebacks (worker.log).

    On a terminal its colours and other control sequences are left out.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.logs import print_log
    from fmnist_tui.runs.store import find_run

    print_log(find_run(paths.runs_dir(runs_dir), run), lines, follow)
    return 0


@app.command("stop")
def stop_command(
    run: o.RunArgument,
    after_epoch: Annotated[
        bool,
        typer.Option("--after-epoch", help="Let the epoch at work end first; returns at once.", show_default=False),
    ] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="Kill it; what came after the last checkpoint is lost.", show_default=False),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has stopped.")] = True,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", parser=o.seconds, help="Wait this long at most."),
    ] = STOP_SECONDS,
    runs_dir: o.RunsDirOption = None,
) -> int:
    """Stop a run with a checkpoint; 'fmnist-tui run resume' goes on from there."""
    from fmnist_tui import paths
    from fmnist_tui.console.output import UsageError
    from fmnist_tui.console.stop import kill, stop
    from fmnist_tui.runs.store import find_run

    if after_epoch and now:
        raise UsageError("--after-epoch and --now: exclude each other; give one of them")
    found = find_run(paths.runs_dir(runs_dir), run)
    if now:
        return kill(found)
    return stop(found, after_epoch, timeout if wait and not after_epoch else None)


FormOption = Annotated[
    Literal["csv", "tensorboard", "onnx", "safetensors"],
    typer.Option("--to", help="csv, tensorboard: the metrics. onnx, safetensors: the network.", show_default=False),
]
ExportOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="Where to: a directory for csv and tensorboard, else a file, or - for stdout. Else here, named after "
        "the run.",
        show_default=False,
    ),
]
WeightsOption = Annotated[
    Literal["last", "best"] | None,
    typer.Option("--checkpoint", help="The weights to export; else the last.", show_default=False),
]


@app.command("export")
def export_command(
    run: o.RunArgument,
    to: FormOption,
    output: ExportOption = None,
    checkpoint: WeightsOption = None,
    runs_dir: o.RunsDirOption = None,
) -> int:
    """Write a run in the form of another program.

    csv: a directory with train.csv, eval.csv, system.csv and event.csv.

    tensorboard: a directory with an event file, for 'tensorboard --logdir'.

    onnx: takes (B, 1, 28, 28) float32 pixels from 0 to 1, normalises them itself, gives (B, 10) logits.

    safetensors: the network's state dict, with the normalisation in its metadata.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.exporting import export
    from fmnist_tui.console.output import print_error
    from fmnist_tui.console.torch_process import TorchFailed
    from fmnist_tui.runs.status import ExitCode
    from fmnist_tui.runs.store import find_run

    try:
        export(find_run(paths.runs_dir(runs_dir), run), to, output, checkpoint)
    except TorchFailed as error:
        print_error(str(error))
        return ExitCode.FAILED
    return 0
