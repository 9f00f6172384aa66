"""The console script `fmnist-tui`: which commands there are, and how an error leaves the program.

The commands themselves are in `console`. Nothing heavy is imported here: `--help` needs neither pydantic nor
torch nor Textual, and each command imports what it uses.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fmnist_tui import __version__
from fmnist_tui.console import (
    commands_bench,
    commands_comment,
    commands_data,
    commands_disk,
    commands_evaluate,
    commands_presets,
    commands_queue,
    commands_report,
    commands_run,
    commands_runs,
    doctor,
    output,
    predicting,
)
from fmnist_tui.console.options import DataDirOption, RunsDirOption

HELP_OPTIONS = ["--help", "-h"]


class CommandsInOrder(typer.core.TyperGroup):
    """Lists the commands in the order people need them; Ctrl-C aborts the one at work."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was given. Typer makes of Ctrl-C an exit code and no word (seen with 0.29)."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None

    def list_commands(self, ctx: Any) -> list[str]:
        """Names for the help."""
        return ["run", "runs", "report", "evaluate", "predict", "presets", "data", "bench", "doctor"]


app = typer.Typer(
    name="fmnist-tui",
    cls=CommandsInOrder,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": HELP_OPTIONS},
)
commands_runs.app.command("comment")(commands_comment.comment_command)
commands_runs.app.command("delete")(commands_disk.delete_command)
commands_runs.app.command("prune")(commands_disk.prune_command)
commands_runs.app.command("queue")(commands_queue.queue_command)
commands_runs.app.command("move")(commands_queue.move_command)
app.add_typer(commands_run.app, name="run", help="Train: a preset, a TOML file, or a run that was stopped.")
app.add_typer(commands_runs.app, name="runs", help="List, show, watch, comment on, stop, export and delete runs.")
app.add_typer(
    commands_presets.app, name="presets", help="List, show and check presets: configurations that have a name."
)
app.add_typer(commands_data.app, name="data", help="The full Fashion-MNIST data set: where it is, get it, check it.")
app.command("report")(commands_report.report_command)
app.command("predict")(predicting.predict_command)
app.command("bench")(commands_bench.bench_command)
app.command("evaluate")(commands_evaluate.evaluate_command)
app.command("doctor")(doctor.doctor_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fmnist-tui {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True, show_default=False
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="On an error print the traceback; works in any place.", show_default=False)
    ] = False,
    runs_dir: RunsDirOption = None,
    data_dir: DataDirOption = None,
) -> int:
    """Train Fashion-MNIST classifiers and watch them in the terminal.

    Without a command it opens the app. To begin: fmnist-tui run preset quick
    """
    from fmnist_tui import paths

    if context.invoked_subcommand is None:
        return _open_app(paths.runs_dir(runs_dir), paths.data_dir_override(data_dir))
    # Said before the command, they hold for it, a runs directory by its option's callback; its own options come first.
    if data_dir is not None:
        os.environ["FMNIST_TUI_DATA_DIR"] = str(paths.data_dir_override(data_dir))
    return 0


def _hide_types(command: Any, names: list[str]) -> None:
    """Leave out of the help the types that Typer 0.29 tells: <bool> of a flag, <list[Path]> of an argument."""
    context = typer.Context(command, help_option_names=names)
    for parameter in command.get_params(context):
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None
    for member in getattr(command, "commands", {}).values():
        _hide_types(member, names)


def _open_app(runs_dir: Path, data_dir: Path | None) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise output.UsageError("the app needs a terminal; without one use the commands: fmnist-tui --help")
    if (term := os.environ.get("TERM", "")).lower() in ("dumb", "unknown"):
        raise output.UsageError(
            f"TERM = {term}: such a terminal can't show the app; name yours, for example TERM=xterm-256color, "
            "or use the commands: fmnist-tui --help"
        )
    from fmnist_tui import paths
    from fmnist_tui.tui.app import run_app

    paths.check_home()
    return run_app(runs_dir, data_dir)


def main(arguments: list[str] | None = None) -> int:
    """The console script: run one command line and return its exit code (`runs.status.ExitCode`).

    An error is one plain message on stderr; its traceback follows only with --debug.
    """
    given = sys.argv[1:] if arguments is None else arguments
    from fmnist_tui import paths

    debug = "--debug" in given
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or int(columns) == 0:  # 0, as a terminal without a size has: nothing fits there
        os.environ.pop("COLUMNS", None)
    given = [argument for argument in given if argument != "--debug"]
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as a daemon's
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - to the end
        # A terminal that can't show a glyph gets '?', never a traceback.
        getattr(sys, name).reconfigure(errors="replace")
    command = typer.main.get_command(app)
    _hide_types(command, HELP_OPTIONS)
    try:
        code = command.main(given, prog_name="fmnist-tui", standalone_mode=False)
        sys.stdout.flush()  # here a full disk under it is an error, later a traceback
    except (KeyboardInterrupt, typer.Abort):
        output.say("Interrupted.")
        return 130
    except BrokenPipeError:  # who read it has read enough, as `head` does; where the parser meets that, it ends with 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python writes out at its end
        return 1
    except Exception as error:
        if debug:
            import traceback

            traceback.print_exc()
        return output.report_error(error)
    finally:
        paths.name_runs_dir(None)
    return code if isinstance(code, int) else 0
