"""Where `doctor` finds runs, presets and what a user's runs share, and what is wrong with these places."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmnist_tui.runs.store import Run

LITTLE_DISK = 2_000_000_000
"""Bytes; a wrn run keeps three checkpoints of about 300 MB."""


def directories(runs_dir: Path | None, problems: list[str]) -> dict[str, Any]:
    """The places as plain values; what is wrong with them goes to `problems`."""
    from fmnist_tui import paths
    from fmnist_tui.runs import disk
    from fmnist_tui.runs.status import State

    directory = paths.runs_dir(runs_dir)
    runs = _runs(directory, problems)
    existing = _existing(directory)
    if existing.is_dir() and not _takes_files(directory):
        problems.append(f"{existing} is not writable; choose another place with --runs-dir or FMNIST_TUI_RUNS_DIR.")
    free = shutil.disk_usage(existing).free
    if free < LITTLE_DISK:
        problems.append(f"Only {free / 1e9:.1f} GB are free in {existing}; large runs need about 1 GB each.")
    if not _takes_files(paths.state_dir()):
        problems.append(
            f"{paths.state_dir()} can't be written, so runs do not wait for one another; "
            "choose another place with FMNIST_TUI_STATE_DIR."
        )
    if not _takes_files(paths.cache_dir()):
        problems.append(
            f"{paths.cache_dir()} can't be written: it would keep a data set that is fetched, and layers compiled for "
            "this CPU; choose another place with FMNIST_TUI_CACHE_DIR."
        )
    return {
        "runs": str(directory),
        "runs_count": len(runs),
        "spare_checkpoints_bytes": sum(
            disk.spare_checkpoints(run.directory).bytes for run in runs if run.state is State.FINISHED
        ),
        "disk_free_bytes": free,
        "presets": [str(path) for path in paths.preset_dirs()],
        "data_cache": str(paths.cache_data_dir()),
        "state": str(paths.state_dir()),
    }


def _existing(directory: Path) -> Path:
    """The directory or, where it is not there yet, the nearest one above it that is."""
    return next(path for path in (directory, *directory.parents) if path.exists())


def _takes_files(directory: Path) -> bool:
    """Whether this user may write into a directory, or may make it."""
    existing = _existing(directory)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _runs(directory: Path, problems: list[str]) -> list[Run]:
    from fmnist_tui.runs.errors import RunError
    from fmnist_tui.runs.left_out import left_out_runs
    from fmnist_tui.runs.status import State
    from fmnist_tui.runs.store import list_runs

    try:
        runs = list_runs(directory)
        if note := left_out_runs(directory):
            problems.extend(note.splitlines())
    except RunError as error:
        problems.append(str(error))
        return []
    lost = [run for run in runs if run.state is State.LOST]
    if lost:
        problems.append(f"Runs whose process is gone: {', '.join(run.id for run in lost)}. {_how_to_go_on(lost)}")
    return runs


def _how_to_go_on(lost: list[Run]) -> str:
    """The command that resumes a lost run, or what is wrong with all of them."""
    from fmnist_tui import paths
    from fmnist_tui.console.summary import resume_hint

    whole = [run for run in lost if run.is_whole]
    if len(lost) == 1 or not whole:
        return resume_hint(lost[0])
    directory = whole[0].directory.path.parent
    return f"Go on with one of them: {paths.command_line('run', 'resume', whole[0].id, of=directory)}"
