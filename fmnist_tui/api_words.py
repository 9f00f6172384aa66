"""What helps, in the words of `api`: its functions' arguments. `fmnist_tui.remedies` has the command line's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fmnist_tui import paths
from fmnist_tui.remedies import Told

PYTHON: Mapping[str, str] = {
    "data": "In a shell, `apt-get install dataset-fashion-mnist` or `fmnist-tui data fetch` gets the full data set; "
    "data_dir names another directory that holds it.",
    "data damaged": "In a shell, `fmnist-tui data fetch --data-dir {directory}` replaces damaged files; "
    "data_dir names another directory that holds the full data set.",
    "first run": "runs_dir names another directory; in a shell, `fmnist-tui run preset quick` starts a run",
    "other checkpoint": "there is another: which={other!r}",
}
"""For what the functions of `api` raise; a Remedy's values are text."""

ARGUMENTS: Mapping[str, str] = {"RUN": "name", "runs-dir": "runs_dir", "data-dir": "data_dir"}
"""What they call the values that the command line names so."""


@contextmanager
def words_of_python() -> Iterator[None]:
    """What is raised within says what is wrong and what helps as a caller in Python can do it. Decorates a function."""
    try:
        yield
    except Told as error:
        of_variable = paths.runs_dir_is_variable() and error.value == paths.runs_dir()
        names = {**ARGUMENTS, "runs-dir": "FMNIST_TUI_RUNS_DIR"} if of_variable else ARGUMENTS
        error.args = (error.told(PYTHON, names),)
        raise
