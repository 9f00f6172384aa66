"""Where runs, data and presets live, with the environment variables that move them.

Called by every launcher and by the trainer; nothing here creates a directory.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import platformdirs

APP_NAME = "fmnist-tui"
DEBIAN_DATA_DIR = Path("/usr/share/datasets/fashion-mnist")


class NoHome(ValueError):
    """This user has no home directory to keep files in; the text says what to set."""


def _from_environment(variable: str) -> Path | None:
    value = os.environ.get(variable, "").strip()
    return _absolute(Path(value)) if value else None


def _absolute(path: Path) -> Path:
    """The path with '~' expanded, from the root; like a shell's, the '~' of an unknown user stays as it is."""
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return path.absolute()


_named: list[Path] = []
"""The runs directories that the command line's options named, before the command and after it."""


def name_runs_dir(directory: Path | None) -> None:
    """Have `runs_dir` mean this one from now on, as an option of the command line says; None takes that back."""
    if directory is None:
        _named.clear()
    else:
        _named.append(directory)


def runs_dir_is_variable() -> bool:
    """Whether ``FMNIST_TUI_RUNS_DIR`` says where runs lie, and no option of the command line."""
    return not _named and _from_environment("FMNIST_TUI_RUNS_DIR") is not None


def _usual_runs_dir() -> Path:
    return _absolute(_from_environment("FMNIST_TUI_RUNS_DIR") or Path("runs"))


def runs_dir(option: Path | None = None) -> Path:
    """The directory that holds the runs: the option, the one named last, ``FMNIST_TUI_RUNS_DIR``, or ``./runs``."""
    named = option or (_named[-1] if _named else None)
    return _absolute(named) if named else _usual_runs_dir()


def command_line(*parts: str, of: Path) -> str:
    """A command of ours as it must be typed here; names the runs directory `of` where it isn't the usual one."""
    return shlex.join(["fmnist-tui", *parts]) + naming(of)


def naming(directory: Path) -> str:
    """What a command of ours needs to name this runs directory: ' --runs-dir DIR'; '' where it is the usual one."""
    try:
        usual = directory == _usual_runs_dir()
    except FileNotFoundError:  # ./runs of a current directory that was deleted
        usual = False
    return "" if usual else f" --runs-dir {shlex.quote(str(directory))}"


def _of_user(variable: str, usual: Callable[..., Path]) -> Path:
    """The directory a variable names, else the user's own as `usual` has it. Raises NoHome where there is neither."""
    named = _from_environment(variable)
    if named is not None:
        return named
    try:
        directory = usual(APP_NAME, appauthor=False)
    except RuntimeError:  # seen with platformdirs 4.14; older ones leave the '~' in the path
        directory = Path("~")
    if not directory.is_absolute():
        home = os.environ.get("HOME")
        wrong = ": is not set, and the system knows no home directory of this user"
        if home is not None:
            wrong = f" = {home!r}: is not an absolute path"
        instead = "FMNIST_TUI_CACHE_DIR, FMNIST_TUI_CONFIG_DIR and FMNIST_TUI_STATE_DIR"
        raise NoHome(f"HOME{wrong}; set HOME to a directory, or {instead}")
    return directory


def check_home() -> None:
    """Raise NoHome where a run, or the app, would find no place for what this user's runs share."""
    cache_dir()
    user_presets_dir()
    state_dir()


def cache_dir() -> Path:
    """What can be made anew: ``FMNIST_TUI_CACHE_DIR`` or the user's cache directory. Raises NoHome."""
    return _of_user("FMNIST_TUI_CACHE_DIR", platformdirs.user_cache_path)


def cache_data_dir() -> Path:
    """Where a downloaded data set is kept."""
    return cache_dir() / "fashion-mnist"


def kernels_dir() -> Path:
    """Where what is compiled for this machine is kept."""
    return cache_dir() / "kernels"


def data_dir_override(option: Path | None = None) -> Path | None:
    """The data directory a user named: the option, else ``FMNIST_TUI_DATA_DIR``, else None."""
    chosen = option or _from_environment("FMNIST_TUI_DATA_DIR")
    return _absolute(chosen) if chosen else None


def user_presets_dir() -> Path:
    """Where presets a user saves go: below ``FMNIST_TUI_CONFIG_DIR`` or the user's config directory. Raises NoHome."""
    return _of_user("FMNIST_TUI_CONFIG_DIR", platformdirs.user_config_path) / "presets"


def state_dir() -> Path:
    """What this user's runs on this machine share (the device queue): ``FMNIST_TUI_STATE_DIR`` or the user's state.

    Raises NoHome.
    """
    return _of_user("FMNIST_TUI_STATE_DIR", platformdirs.user_state_path)


def shipped_presets_dir() -> Path:
    """The presets that come with the program: inside the wheel, or at the top of a checkout."""
    packaged = Path(__file__).parent / "shipped_presets"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "presets"


def preset_dirs() -> list[Path]:
    """Directories searched for presets, first match wins: ``./presets``, the user's, the shipped ones.

    In a checkout ``./presets`` are the shipped ones and come last, as anywhere else.
    """
    shipped = shipped_presets_dir()
    own = (Path("presets").absolute(), user_presets_dir())
    return [*(directory for directory in own if directory != shipped), shipped]
