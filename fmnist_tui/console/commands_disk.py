"""`fmnist-tui runs delete` and `runs prune`: whole runs, or what finished ones no longer need, from the disk.

Registered by `cli`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fmnist_tui.console import options as o

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]


def delete_command(runs: o.RunsArgument, yes: YesOption = False, runs_dir: o.RunsDirOption = None) -> int:
    """Delete runs with all their files. A run at work is refused."""
    from fmnist_tui import paths
    from fmnist_tui.console.removing import delete

    return delete(paths.runs_dir(runs_dir), runs, yes)


def prune_command(
    runs: o.AnyRunsArgument = None,
    keep: Annotated[
        Literal["last", "best", "none"],
        typer.Option("--keep", help="The checkpoint that stays. none: only results, curves and predictions do."),
    ] = "last",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.", show_default=False)
    ] = False,
    yes: YesOption = False,
    runs_dir: o.RunsDirOption = None,
    json: o.JsonOption = False,
) -> int:
    """Free the disk of finished runs' spare checkpoints; of all of them where no RUN is named.

    A run keeps three checkpoints, of about 300 MB each for wrn. One is enough to evaluate, export or go on with.

    Results, curves, predictions and mistakes stay. Runs that have not finished keep everything.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.removing import prune

    return prune(paths.runs_dir(runs_dir), runs or [], keep, dry_run, yes, json)
