"""Runs made, and made ready to go on: what a worker finds, and what is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from fmnist_tui import paths
from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset, to_toml
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import SCHEMA_VERSION
from fmnist_tui.runs.starting import create_run, prepare_resume
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import delete_run, list_runs, load_run
from tests.unit.stored_runs import finish, me, refused, write_status


def test_an_id_that_is_taken_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["20261123-142501-wrn-aaaa", "20261123-142501-wrn-aaaa", "20261123-142501-wrn-bbbb"])
    monkeypatch.setattr("fmnist_tui.runs.starting.new_run_id", lambda name: next(ids))
    config = load_preset("quick")
    made = [create_run(tmp_path, config).id for _ in range(2)]
    assert made == ["20261123-142501-wrn-aaaa", "20261123-142501-wrn-bbbb"]


def test_a_new_run_holds_everything_a_worker_needs(runs_dir: Path, config: RunConfig, tmp_path: Path) -> None:
    changes = {"name": "Kleidung 訓練", "optimizer.lr": 0.1 + 0.2}
    config = with_changes(config, changes)
    run = create_run(runs_dir, config, device="cpu", data_dir=Path("data"))
    assert run.path.parent == runs_dir
    assert {path.name for path in run.path.iterdir()} == {
        ".fmnist-tui-run", "config.json", "launch.json", "status.json", "checkpoints"
    }  # fmt: skip
    assert run.marker.read_text() == f"{SCHEMA_VERSION}\n"
    loaded = load_run(run)
    assert (loaded.problem, loaded.config, loaded.result) == ("", config, None)
    assert (loaded.name, loaded.id, loaded.state) == ("Kleidung 訓練", run.id, State.STARTING)
    assert loaded.status is not None
    assert (loaded.status.host, loaded.status.epochs, loaded.status.device) == (socket.gethostname(), 8, "cpu")
    launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    assert (launch.device, launch.data_dir, launch.checkpoint) == ("cpu", str(tmp_path / "data"), "last")
    assert launch.command[0] == Path(sys.argv[0]).name
    assert [path.name for path in runs_dir.iterdir()] == [run.id]


def test_files_are_utf_8_in_every_locale(runs_dir: Path, config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(to_toml(with_changes(config, {"name": "訓練"})), "utf-8")
    code = """
import sys
from pathlib import Path
from fmnist_tui.presets import load_file, save_preset
from fmnist_tui.runs import starting
config = load_file(Path("mine.toml"))
save_preset(config, "mine")
print(starting.create_run(Path("runs"), config).id)
"""
    modules = ("presets", "runs.starting", "runs.files")
    strict = [option for module in modules for option in ("-W", f"error::EncodingWarning:fmnist_tui.{module}")]
    options = ["-X", "warn_default_encoding", *strict]
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_run(RunDirectory(runs_dir / done.stdout.strip())).name == "訓練"


def test_a_queued_run_is_neither_resumed_nor_deleted(runs_dir: Path, config: RunConfig) -> None:
    directory = create_run(runs_dir, config)
    write_status(directory, state=State.QUEUED, **me())
    run = load_run(directory)
    assert run.state is State.QUEUED
    assert "is queued" in refused(prepare_resume, run)
    assert "is queued; stop it first" in refused(delete_run, run)


def test_a_start_that_does_not_wait_holds_once(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config, now=True)
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).now
    finish(run, State.STOPPED, queue_place=2, queue_behind="x", starts_in_seconds=1.0, beside="y")
    prepare_resume(load_run(run))
    assert not LaunchRequest.model_validate_json(run.launch.read_bytes()).now
    status = load_run(run).status
    assert status is not None
    assert (status.queue_place, status.queue_behind, status.starts_in_seconds, status.beside) == (None,) * 4


@pytest.mark.parametrize("failing", ["write_text", "rename", "mkdir"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_where_a_run_could_not_be_made(
    failing: str, error: BaseException, runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs_dir.mkdir()
    real, calls = getattr(Path, failing), []

    def fail(self: Path, *arguments: Any, **options: Any) -> Any:
        calls.append(self)
        if len(calls) == (1 if failing == "rename" else 3 if failing == "mkdir" else 2):
            raise error
        return real(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, failing, fail)
        with pytest.raises(RunError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            create_run(runs_dir, config)
    if isinstance(error, OSError):
        assert str(caught.value) == f"--runs-dir {runs_dir}: the run could not be made: No space left on device"
    assert list(runs_dir.iterdir()) == []


def test_runs_directories_that_cannot_be(tmp_path: Path, config: RunConfig) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert refused(create_run, file, config) == f"--runs-dir {file}: is a file; name a directory"
    assert "a part of the path is a file" in refused(create_run, file / "runs", config)
    assert "cannot be made: File name too long; choose another" in refused(create_run, tmp_path / ("x" * 300), config)
    assert refused(list_runs, file) == f"--runs-dir {file}: is a file; name a directory"
    assert refused(list_runs, file / "runs") == f"--runs-dir {file / 'runs'}: is a file; name a directory"
    assert file.read_text() == "mine"
    assert list_runs(tmp_path / "none") == []
    assert not (tmp_path / "none").exists(), "looking makes nothing"


def test_without_a_home_directory_no_run_is_made_or_resumed(
    runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker would end in an error of platformdirs."""
    run = create_run(runs_dir, config)
    before = run.status.read_bytes()
    monkeypatch.delenv("FMNIST_TUI_STATE_DIR")
    monkeypatch.setattr(platformdirs, "user_state_path", lambda name, appauthor: Path("~", ".local", "state", name))
    with pytest.raises(paths.NoHome):
        create_run(runs_dir, config)
    with pytest.raises(paths.NoHome):
        prepare_resume(load_run(run))
    assert list(runs_dir.iterdir()) == [run.path] and run.status.read_bytes() == before


@pytest.mark.usefixtures("permissions_bind")
def test_a_runs_directory_that_is_not_writable(runs_dir: Path, config: RunConfig) -> None:
    runs_dir.mkdir()
    runs_dir.chmod(0o555)
    assert "is not writable; choose another" in refused(create_run, runs_dir, config)
    said = refused(create_run, runs_dir / "below", config)
    assert said.endswith("cannot be made: Permission denied; choose another with --runs-dir or FMNIST_TUI_RUNS_DIR")
    runs_dir.chmod(0)
    assert "Permission denied" in refused(list_runs, runs_dir)
    runs_dir.chmod(0o755)


def test_names_that_are_not_unicode(runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = os.fsdecode(b"/tmp/\xff")
    assert "is not Unicode text" in refused(create_run, runs_dir, config, data_dir=Path(odd))
    assert list(runs_dir.iterdir()) == []
    monkeypatch.setattr("sys.argv", ["fmnist-tui", "--runs-dir", odd])
    run = create_run(runs_dir, config)
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).command[2] == "'/tmp/\\udcff'"
