"""The store: list, load, find and delete runs, whatever else lies in the directory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from fmnist_tui.cli import main
from fmnist_tui.config import RunConfig
from fmnist_tui.presets import load_preset
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.left_out import left_out_runs
from fmnist_tui.runs.records import SCHEMA_VERSION
from fmnist_tui.runs.starting import create_run, prepare_resume
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import delete_run, find_run, list_runs, load_run, mark_failed, run_directories
from fmnist_tui.tui.reading import RunList
from tests.results import result_of
from tests.unit.stored_runs import finish, me, on_disk, refused, tree, write_status


@pytest.mark.usefixtures("permissions_bind")
def test_runs_closed_to_this_user_are_passed_over(
    runs_dir: Path, config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a machine that several people use; what is left out is said."""
    mine, closed = create_run(runs_dir, config), create_run(runs_dir, config)
    closed.path.chmod(0)
    try:
        assert [run.id for run in list_runs(runs_dir)] == [mine.id]
        assert "is not a run of fmnist-tui" in refused(delete_run, load_run(closed))
        assert left_out_runs(runs_dir) == f"Left out: {closed.id}: permission denied; its owner can open it"
        app_list = RunList(runs_dir)
        app_list.scan()
        assert [run.id for run in app_list.newest_first()] == [mine.id] and closed.id in app_list.left_out
        for command in (["runs", "list"], ["report"]):
            assert main([*command, f"--runs-dir={runs_dir}"]) == 0
            assert f"Left out: {closed.id}: permission denied" in capsys.readouterr().err
    finally:
        closed.path.chmod(0o755)
    finish(mine)
    mine.status.chmod(0)
    assert load_run(mine).problem == "status.json cannot be read: Permission denied"


# --- listing and damage ------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = iter(["20260101-000000-a-aaaa", "20270101-000000-b-bbbb", "20260601-000000-c-cccc"])
    monkeypatch.setattr("fmnist_tui.runs.starting.new_run_id", lambda name: next(stamps))
    for _ in range(3):
        create_run(runs_dir, config)
    assert [run.id[:4] + run.id[16] for run in list_runs(runs_dir)] == ["2027b", "2026c", "2026a"]
    assert find_run(runs_dir, "last").id == "20270101-000000-b-bbbb"


def test_of_two_runs_of_one_second_the_later_is_the_last(
    runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = iter(["20260101-000000-z-aaaa", "20260101-000000-b-bbbb", "20260101-000000-m-cccc"])
    monkeypatch.setattr("fmnist_tui.runs.starting.new_run_id", lambda name: next(ids))
    for second in range(3):
        run = create_run(runs_dir, config)
        os.utime(run.marker, (1e9 + second, 1e9 + second))
    assert [run.id[16] for run in list_runs(runs_dir)] == ["m", "b", "z"]
    assert find_run(runs_dir, "last").id.endswith("cccc")


def test_what_else_lies_in_the_directory_is_not_a_run(runs_dir: Path, config: RunConfig, tmp_path: Path) -> None:
    run = create_run(runs_dir, config)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".fmnist-tui-run").write_text("1\n")
    (runs_dir / "20260101-000000-link-aaaa").symlink_to(outside)
    (runs_dir / "20260101-000000-dangling-aaaa").symlink_to(tmp_path / "nowhere")
    (runs_dir / "20260101-000000-foreign-aaaa").mkdir()
    (runs_dir / "20260101-000000-marker-aaaa" / ".fmnist-tui-run").mkdir(parents=True)
    (runs_dir / "BENCHMARKS.md").write_text("# table")
    for half in (f".{run.id}.new", f".{run.id}.deleted"):  # half made, half deleted
        (runs_dir / half).mkdir()
        (runs_dir / half / ".fmnist-tui-run").write_text("1\n")
    (runs_dir / "renamed by hand").mkdir()
    (runs_dir / "renamed by hand" / ".fmnist-tui-run").write_text("1\n")
    assert {listed.id for listed in list_runs(runs_dir)} == {run.id, "renamed by hand"}


FUTURE = SCHEMA_VERSION + 1
DAMAGE: list[tuple[str, Any, str]] = [
    ("config.json", b"", "config.json is damaged or of another version (is not valid JSON: EOF"),
    ("config.json", b'{"name": "qui', "is not valid JSON: EOF"),
    ("config.json", b"[]", "must be a section with fields of its own"),
    ("config.json", b"\xff\xfe\0", "config.json is damaged"),
    ("config.json", b'{"model": {"kind": "densenet", "depth": "x"}}', "depth: must be a whole number"),
    ("config.json", None, "config.json is missing"),
    ("status.json", b"", "status.json is damaged"),
    ("status.json", b'{"state": "runn', "status.json is damaged"),
    ("status.json", {"state": "paused"}, "state: must be one of queued"),
    ("status.json", {"epoch": "many"}, "epoch: must be a whole number"),
    ("status.json", {"heartbeat": "noon", "host": "elsewhere"}, "heartbeat"),
    ("status.json", {"pid": -5}, "pid: must be at least 1"),
    ("status.json", {"pid": 10**40, "pid_started": 1.0}, ""),
    ("status.json", {"heartbeat": "2026-01-01", "host": "elsewhere"}, ""),
    ("status.json", {"pid_started": "NaN", "pid": os.getpid()}, ""),
    ("status.json", {"schema_version": FUTURE}, f"written by a newer fmnist-tui (schema {FUTURE}); update this one"),
    ("status.json", {"epoch": 10**30}, "epoch: must be at most 9007199254740992"),
    ("status.json", {"step": -1}, "step: must be at least 0"),
    ("status.json", {"best_accuracy": 1e308}, "best_accuracy: must be at most 100"),
    ("status.json", {"eta_seconds": 1e308}, "eta_seconds: must be at most 1e+11"),
    ("status.json", {"active_seconds": "Infinity"}, "active_seconds: must be a finite number"),
    ("status.json", {"images_per_second": -1}, "images_per_second: must be at least 0"),
    ("status.json", {"loss": "NaN", "lr": 1e308}, ""),
    ("status.json", {"loss": "Infinity", "exit_code": -9, "test_accuracy": None}, ""),
    ("status.json", None, "status.json is missing"),
    ("result.json", b"", "result.json is damaged"),
    ("result.json", b"{}", "result.json is damaged or of another version (id: is required)"),
    ("result.json", {"test_accuracy": "high"}, "test_accuracy: must be a number"),
    ("result.json", {"finished": "tomorrow"}, "finished"),
    ("launch.json", b"", ""),  # the worker's to complain about
]


@pytest.mark.parametrize(("name", "damage", "problem"), DAMAGE)
def test_a_damaged_run_is_listed_with_its_problem(
    name: str, damage: Any, problem: str, runs_dir: Path, config: RunConfig
) -> None:
    whole, run = create_run(runs_dir, config), create_run(runs_dir, config)
    run.result.write_text(result_of(config, run.id).to_json(), "utf-8")
    path = run.path / name
    if damage is None:
        path.unlink()
    elif isinstance(damage, dict):
        path.write_text(json.dumps(json.loads(path.read_bytes()) | damage), "utf-8")
    else:
        path.write_bytes(damage)
    listed = {loaded.id: loaded for loaded in list_runs(runs_dir)}
    assert (listed[whole.id].problem, listed[whole.id].config) == ("", config)
    assert problem in listed[run.id].problem
    assert bool(listed[run.id].problem) == bool(problem)
    assert not any(word in listed[run.id].problem for word in ("Input should", "Value error"))
    assert listed[run.id].name in ("quick", run.id)
    if listed[run.id].problem.endswith("a resume makes it anew"):
        assert "is finished after 8 epochs" in refused(prepare_resume, listed[run.id])
        assert name == "status.json" and load_run(run).problem == "" and load_run(run).state is State.FINISHED
    elif problem:
        assert refused(prepare_resume, listed[run.id]) == f"{run.id}: cannot be resumed: {listed[run.id].problem}"


def test_a_directory_in_the_place_of_a_file(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    run.status.unlink()
    run.status.mkdir()
    assert load_run(run).problem == "status.json cannot be read: Is a directory"
    assert load_run(run).state is State.LOST


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)


@on_disk
@given(
    damage=st.one_of(st.binary(max_size=60), st.dictionaries(st.sampled_from(sorted(Status.model_fields)), json_values))
)
def test_no_status_makes_loading_fail(damage: Any, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "20260101-000000-x-aaaa")
    run.path.mkdir(exist_ok=True)
    whole = json.loads(Status(state=State.RUNNING, host="elsewhere").to_json())
    run.status.write_bytes(damage if isinstance(damage, bytes) else json.dumps(whole | damage).encode())
    loaded = load_run(run)
    assert loaded.problem
    assert loaded.state in State


def test_a_death_is_written_down_once(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    with FileLock(run.lock):
        mark_failed(run, "no", 4)
    assert load_run(run).state is State.STARTING, "a worker that lives speaks for itself"
    mark_failed(run, "killed by signal 9", 4)
    status = load_run(run).status
    assert status is not None
    assert (status.state, status.error, status.exit_code) == (State.FAILED, "killed by signal 9", 4)
    assert status.ended is not None
    mark_failed(run, "another reason", 2)
    assert load_run(run).status == status, "what has ended has ended"
    run.status.unlink()
    mark_failed(run, "x", 1)
    assert not run.status.exists()


# --- deleting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.FINISHED, State.STOPPED, State.FAILED])
def test_a_run_is_deleted_whole_and_alone(state: State, runs_dir: Path, config: RunConfig, tmp_path: Path) -> None:
    keep, run = create_run(runs_dir, config), create_run(runs_dir, config)
    write_status(run, state=state)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (run.path / "link").symlink_to(precious)
    (run.checkpoints / "last.pt").write_bytes(b"x" * 1000)
    delete_run(load_run(run))
    assert [path.name for path in runs_dir.iterdir()] == [keep.id]
    assert (precious / "file").read_text() == "kept", "links are not followed"


def test_a_damaged_run_can_be_deleted(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    run.config.write_bytes(b"\0")
    run.status.unlink()
    delete_run(load_run(run))
    assert list(runs_dir.iterdir()) == []


def test_what_is_not_deleted(runs_dir: Path, config: RunConfig, tmp_path: Path) -> None:
    run = create_run(runs_dir, config)
    finish(run)
    link = runs_dir / "20260101-000000-link-aaaa"
    link.symlink_to(run.path)
    before = tree(tmp_path)
    assert "is not a run of fmnist-tui; nothing was deleted" in refused(delete_run, load_run(RunDirectory(link)))
    for place in (tmp_path, runs_dir, runs_dir / "none", run.checkpoints, runs_dir / ".."):
        assert "nothing was deleted" in refused(delete_run, load_run(RunDirectory(place)))
    assert tree(tmp_path) == before
    run.marker.unlink()
    assert "nothing was deleted" in refused(delete_run, load_run(run))
    assert run.config.is_file()


def test_a_run_at_work_is_not_deleted_even_if_it_was_not_when_it_was_listed(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run)
    listed = load_run(run)
    write_status(run, state=State.RUNNING, **me())
    before = tree(runs_dir)
    assert "is running; stop it first" in refused(delete_run, listed)
    assert tree(runs_dir) == before


def test_a_deletion_that_fails_half_way_says_where_the_rest_is(
    runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(runs_dir, config)
    finish(run)

    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", fail)
        message = refused(delete_run, load_run(run))
    rest = runs_dir / f".{run.id}.deleted"
    assert message == f"{run.id}: not all of it could be deleted: Input/output error; see {rest}"
    assert rest.is_dir()
    assert list_runs(runs_dir) == []


@on_disk
@given(name=st.text(max_size=30), text=st.one_of(st.text(max_size=30), st.sampled_from(["..", "/", "../outside", "*"])))
def test_nothing_outside_the_runs_directory_is_touched(name: str, text: str, tmp_path: Path) -> None:
    runs_dir, outside = tmp_path / "work" / "runs", tmp_path / "work" / "outside"
    outside.mkdir(parents=True, exist_ok=True)
    (outside / ".fmnist-tui-run").write_text("1\n")
    runs_dir.mkdir(exist_ok=True)
    made = create_run(runs_dir, load_preset("quick").model_copy(update={"name": name}))
    assert made.path.parent == runs_dir
    finish(made)
    try:
        found = find_run(runs_dir, text)
    except RunError:
        found = load_run(made)
    assert found.directory.path.parent == runs_dir
    delete_run(found)
    for directory in run_directories(runs_dir):
        delete_run(load_run(directory))
    assert sorted(path.name for path in (tmp_path / "work").rglob("*")) == [".fmnist-tui-run", "outside", "runs"]
