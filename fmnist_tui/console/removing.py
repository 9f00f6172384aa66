"""Free the disk: `runs delete`, of whole runs, and `runs prune`, of finished runs' spare checkpoints.

Called by `commands_disk`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from fmnist_tui import paths
from fmnist_tui.console import words
from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.console.output import UsageError, console, print_error, print_json, say
from fmnist_tui.runs import disk, store
from fmnist_tui.runs.disk import Keep, Spare
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.runs.store import Run

COLUMNS = (Column("Run", folds=True), Column("Spare checkpoints", rank=1), Column("Frees", right=True))
STAYS: dict[Keep, str] = {
    "last": "Results, curves, predictions and the last checkpoint stay.",
    "best": "Results, curves, predictions and the best checkpoint stay.",
    "none": "Results, curves and predictions stay; nothing can be evaluated anew, exported or trained further.",
}


def delete(runs_dir: Path, names: Sequence[str], yes: bool) -> int:
    """Delete the runs that were named, all or none where one can't be; asks first. Returns the exit code.

    Raises RunError for a run at work and for a name that fits none or several.
    """
    runs = _named(runs_dir, names)
    alive = [run for run in runs if run.state.alive]
    if alive:
        what = "at work" if any(run.state.at_work for run in alive) else "queued"
        stop_first = " && ".join(paths.command_line("runs", "stop", run.id, of=runs_dir) for run in alive)
        raise RunError(
            f"{', '.join(run.id for run in alive)}: {'is' if len(alive) == 1 else 'are'} {what}; "
            f"nothing was deleted. Stop first: {stop_first}"
        )
    if not yes:
        _check_terminal("delete", "deletes", "add --yes")
        for run in runs:
            say(f"  {run.id}  {run.state}  {words.size(disk.bytes_on_disk(run.directory.path))}")
        if not typer.confirm(f"Delete {words.count(len(runs), 'run')} with all files?", err=True):
            say("Nothing was deleted.")
            return ExitCode.DONE
    for run in runs:
        store.delete_run(run)
        say(f"deleted {run.id}")
    return ExitCode.DONE


def prune(runs_dir: Path, names: Sequence[str], keep: Keep, dry_run: bool, yes: bool, json: bool) -> int:
    """Remove the spare checkpoints of the runs that were named, or of every finished one; asks first.

    Returns the exit code. Raises RunError for a run that has not finished and a name that fits none or several.
    """
    looked_at = [(run, disk.spare_checkpoints(run.directory, keep)) for run in _finished(runs_dir, names)]
    spares = [(run, spare) for run, spare in looked_at if spare.files]
    if not spares:
        say("There are no spare checkpoints.")
        return ExitCode.DONE
    if not json:
        _print_table(spares)
    if not (dry_run or yes):
        _check_terminal("prune", "removes anything", "add --yes, or --dry-run to see what there is")
        if not typer.confirm(f"{STAYS[keep]} Remove these checkpoints?", err=True):
            say("Nothing was removed.")
            return ExitCode.DONE
    freed, code = 0, ExitCode.DONE
    for run, spare in spares:
        try:
            removed = spare if dry_run else disk.prune(run, keep)
        except RunError as error:
            print_error(error.told(words.remedies(runs_dir)))
            code = ExitCode.FAILED
            continue
        freed += removed.bytes
        if json:
            files = [str(path.relative_to(run.directory.path)) for path in removed.files]
            print_json({"run": run.id, "files": files, "bytes": removed.bytes, "removed": not dry_run})
    if not (json or dry_run):
        say(f"{words.size(freed)} freed. {STAYS[keep]}")
    return code


def _named(runs_dir: Path, names: Sequence[str]) -> list[Run]:
    """Each run once."""
    return list({run.id: run for run in (store.find_run(runs_dir, name) for name in names)}.values())


def _finished(runs_dir: Path, names: Sequence[str]) -> list[Run]:
    """The runs that were named, which are to have finished; without a name all that have."""
    if not names:
        return [run for run in store.list_runs(runs_dir) if run.state is State.FINISHED]
    runs = _named(runs_dir, names)
    for run in runs:
        disk.refuse_unfinished(run)
    return runs


def _print_table(spares: Sequence[tuple[Run, Spare]]) -> None:
    rows = [(run.id, ", ".join(path.stem for path in spare.files), words.size(spare.bytes)) for run, spare in spares]
    if len(rows) > 1:
        rows.append((f"{len(rows)} runs", "", words.size(sum(spare.bytes for _, spare in spares))))
    console().print(FittedTable(COLUMNS, rows))


def _check_terminal(command: str, does: str, instead: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"runs {command}: asks before it {does}, and here is no terminal to ask on; {instead}")
