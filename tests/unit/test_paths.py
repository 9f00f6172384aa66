"""Where runs, data and presets live, and the environment variables that move them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import platformdirs
import pytest

from fmnist_tui import paths
from fmnist_tui.cli import main
from fmnist_tui.runs.status import ExitCode


def test_runs_lie_where_the_option_the_environment_or_the_current_directory_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paths.runs_dir() == tmp_path / "runs"
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", "elsewhere")
    assert paths.runs_dir() == tmp_path / "elsewhere"
    assert paths.runs_dir(Path("option")) == tmp_path / "option"
    assert paths.runs_dir(Path("/abs")) == Path("/abs")
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", "  ")
    assert paths.runs_dir() == tmp_path / "runs", "an empty variable is none"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", "~/runs")
    assert paths.runs_dir() == tmp_path / "home" / "runs"
    assert paths.runs_dir(Path("~/other")) == tmp_path / "home" / "other"
    assert paths.data_dir_override(Path("~/data")) == tmp_path / "home" / "data"


def test_the_home_of_nobody_is_a_name_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMNIST_TUI_DATA_DIR", "~no-such-user-xyz/data")
    assert paths.data_dir_override() == tmp_path / "~no-such-user-xyz" / "data"
    assert paths.runs_dir(Path("~no-such-user-xyz")) == tmp_path / "~no-such-user-xyz"


def test_data_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.data_dir_override() is None
    monkeypatch.setenv("FMNIST_TUI_DATA_DIR", "data")
    assert paths.data_dir_override() == tmp_path / "data"
    assert paths.data_dir_override(Path("/option")) == Path("/option")
    monkeypatch.setenv("FMNIST_TUI_CACHE_DIR", "cache")
    assert paths.cache_data_dir() == tmp_path / "cache" / "fashion-mnist"
    assert paths.kernels_dir() == tmp_path / "cache" / "kernels"
    monkeypatch.delenv("FMNIST_TUI_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert paths.cache_data_dir().parts[-2:] == ("fmnist-tui", "fashion-mnist")
    if sys.platform == "linux":
        assert paths.cache_data_dir() == tmp_path / "xdg" / "fmnist-tui" / "fashion-mnist"


def _refuses(name: str, appauthor: bool) -> Path:
    raise RuntimeError("could not determine the home directory")


def _keeps_the_tilde(name: str, appauthor: bool) -> Path:
    return Path("~", ".local", name)


@pytest.mark.parametrize("usual", [_refuses, _keeps_the_tilde], ids=["platformdirs 4.14", "older"])
def test_without_a_home_directory_it_says_what_to_set(
    usual: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container whose user has no line in /etc/passwd; never a directory called '~' in the current one."""
    for name, place in (("CACHE", paths.cache_dir), ("CONFIG", paths.user_presets_dir), ("STATE", paths.state_dir)):
        paths.check_home()
        monkeypatch.delenv(f"FMNIST_TUI_{name}_DIR")
        monkeypatch.setattr(platformdirs, f"user_{name.lower()}_path", usual)
        with pytest.raises(paths.NoHome):
            place()
        with pytest.raises(paths.NoHome):
            paths.check_home()
        monkeypatch.setenv(f"FMNIST_TUI_{name}_DIR", str(tmp_path / name))
    monkeypatch.delenv("FMNIST_TUI_CONFIG_DIR")
    instead = "set HOME to a directory, or FMNIST_TUI_CACHE_DIR, FMNIST_TUI_CONFIG_DIR and FMNIST_TUI_STATE_DIR"
    monkeypatch.delenv("HOME", raising=False)
    assert main(["run", "preset", "quick"]) == ExitCode.USAGE
    said = f"error: HOME: is not set, and the system knows no home directory of this user; {instead}\n"
    assert capsys.readouterr().err == said
    monkeypatch.setenv("HOME", "somewhere")
    assert main(["presets", "path"]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"error: HOME = 'somewhere': is not an absolute path; {instead}\n"


def test_preset_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local, users, shipped = paths.preset_dirs()
    assert local == tmp_path / "presets"
    assert users == paths.user_presets_dir() == tmp_path / "config" / "presets"
    assert (shipped / "wrn.toml").is_file()
    monkeypatch.setenv("FMNIST_TUI_CONFIG_DIR", "relative")
    assert paths.user_presets_dir() == tmp_path / "relative" / "presets"
    monkeypatch.setenv("FMNIST_TUI_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(shipped.parent)
    assert paths.preset_dirs() == [users, shipped], "in a checkout they are not named twice, and come last"


def test_a_wheels_presets_lie_inside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "fmnist_tui"
    monkeypatch.setattr(paths, "__file__", str(package / "paths.py"))
    assert paths.shipped_presets_dir() == tmp_path / "site-packages" / "presets"
    (package / "shipped_presets").mkdir(parents=True)
    assert paths.shipped_presets_dir() == package / "shipped_presets"


def test_nothing_here_creates_a_directory(tmp_path: Path) -> None:
    code = """
from pathlib import Path
from fmnist_tui import paths, presets
paths.runs_dir(), paths.cache_data_dir(), paths.data_dir_override(Path("data")), paths.preset_dirs()
assert presets.find_presets()
"""
    hidden = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "c"), "XDG_CACHE_HOME": str(tmp_path / "k")}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FMNIST_TUI_")} | hidden
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
