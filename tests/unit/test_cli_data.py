"""The data set as the launcher and the `data` commands get it: downloads, refusals, what is said meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui import paths
from fmnist_tui.cli import main
from fmnist_tui.config import DataConfig
from fmnist_tui.console.launch import get_data
from fmnist_tui.data import source
from fmnist_tui.data.files import FULL_FILES
from fmnist_tui.data.source import DataError, Progress

NAMES = [spec.name for spec in FULL_FILES]


@pytest.fixture(autouse=True)
def no_installed_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without the Debian package."""
    monkeypatch.setattr(paths, "DEBIAN_DATA_DIR", tmp_path / "not-installed")


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories that were downloaded into; each download is refused after its first bytes."""
    directories: list[Path] = []

    def fetch(directory: Path, progress: Progress | None = None) -> Path:
        directories.append(directory)
        assert progress is not None
        progress(NAMES[0], 100, 1000)
        progress(NAMES[0], 200, 1000)
        raise DataError("no network")

    monkeypatch.setattr(source, "fetch", fetch)
    return directories


def test_a_run_downloads_what_no_place_has_and_leaves_nothing_when_it_cannot(
    fetched: list[Path], tmp_path: Path, runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "preset", "wrn", "--device=cpu"]) == 3
    error = capsys.readouterr().err
    assert fetched == [paths.cache_data_dir()]
    assert error.count(f"downloading {NAMES[0]}") == 1, "one line a file where there is no terminal"
    assert "no network" in error and "not-installed" in error and "--data sample" in error
    assert not runs_dir.exists()


def test_a_directory_that_was_named_is_never_filled_unasked(
    fetched: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError):
        get_data(DataConfig(), tmp_path / "mine")
    monkeypatch.setenv("FMNIST_TUI_DATA_DIR", str(tmp_path / "mine"))
    with pytest.raises(DataError):
        get_data(DataConfig(), None)
    assert fetched == []


def test_the_sample_needs_no_download(fetched: list[Path]) -> None:
    get_data(DataConfig(source="sample"), None)
    assert fetched == []


def test_fetch_goes_into_the_cache_or_where_it_is_told(
    fetched: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "fetch"]) == 3
    assert main(["data", "fetch", "--data-dir", "mine"]) == 3
    assert fetched == [paths.cache_data_dir(), tmp_path / "mine"]
    assert "no network" in capsys.readouterr().err


def test_status_names_what_is_missing_and_what_is_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / NAMES[1]).write_bytes(b"not the labels")
    assert main(["data", "status", "--data-dir", "mine"]) == 0
    captured = capsys.readouterr()
    rows: dict[str, Any] = {line.split()[0]: line for line in captured.out.splitlines() if "ubyte" in line}
    assert "damaged" in rows[NAMES[1]] and "14 bytes" in rows[NAMES[1]]
    assert "missing" in rows[NAMES[0]]
    assert "not found" in captured.err
    assert main(["data", "status", "--json", "--data-dir", "mine"]) == 0
    captured = capsys.readouterr()
    objects = [json.loads(line) for line in captured.out.splitlines()]
    assert [item["state"] for item in objects] == ["missing", "damaged", "missing", "missing"]
    assert not any(item["used"] for item in objects) and "not found" in captured.err
    for name in NAMES:
        (directory / name).write_bytes(b"nothing")
    assert main(["data", "status", "--data-dir", "mine"]) == 0
    assert "refuse the damaged files" in capsys.readouterr().err
    assert main(["data", "status", "--json", "--data-dir", "mine"]) == 0
    assert not any(json.loads(line)["used"] for line in capsys.readouterr().out.splitlines())


@pytest.mark.full_data
def test_status_as_json_says_which_files_a_run_uses(full_data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "status", "--json", "--data-dir", str(full_data_dir)]) == 0
    captured = capsys.readouterr()
    used = [item for line in captured.out.splitlines() if (item := json.loads(line))["used"]]
    assert [item["name"] for item in used] == list(NAMES)
    assert f"A run uses {used[0]['directory']}." in captured.err


def test_the_help_of_fetch_says_what_its_directory_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Download into this directory; else into $FMNIST_TUI_DATA_DIR, else into your cache." in said
    assert "no other is then searched" not in said
