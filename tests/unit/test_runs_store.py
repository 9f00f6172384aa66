"""The store: create, list, find, resume and delete runs, whatever else lies in the directory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui.config import RunConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset, to_toml
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RUN_ID, RunDirectory, new_run_id
from fmnist_tui.runs.process import process_started
from fmnist_tui.runs.records import SCHEMA_VERSION, utc_now
from fmnist_tui.runs.result import Provenance, Result
from fmnist_tui.runs.starting import create_run, prepare_resume
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import delete_run, find_run, list_runs, load_run, mark_failed, run_directories

on_disk = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def config() -> RunConfig:
    return load_preset("quick")


@pytest.fixture
def permissions_bind(tmp_path: Path) -> None:
    """Skips where file permissions do not bind this user (root)."""
    closed = tmp_path / "closed"
    closed.touch(mode=0)
    try:
        closed.read_bytes()
    except PermissionError:
        return
    finally:
        closed.unlink()
    pytest.skip("file permissions do not bind this user")


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(RunError) as caught:
        call(*arguments, **options)
    return str(caught.value)


def write_status(run: RunDirectory, **changes: Any) -> Status:
    """Change a run's status.json as a worker would."""
    status = Status.model_validate_json(run.status.read_bytes()).model_copy(update=changes)
    run.status.write_text(status.to_json(), "utf-8")
    return status


def finish(run: RunDirectory, state: State = State.FINISHED, **changes: Any) -> Status:
    return write_status(run, **{"state": state, "epoch": 8, "step": 800, "ended": utc_now()} | changes)


def a_result(run: RunDirectory) -> Result:
    provenance = Provenance(fmnist_tui="0.1.0", python="3.11", torch="2", platform="linux")
    return Result(
        id=run.id, name="quick", preset="quick", model="wide_resnet", parameters=1, seed=1, data_source="sample",
        split="standard", train_images=1, test_images=1, epochs=8, steps=1, complete=True, test_accuracy=90.0,
        test_loss=0.1, best_accuracy=90.0, best_epoch=8, train_accuracy=99.0, train_seconds=1.0, eval_seconds=1.0,
        total_seconds=2.0, images_per_second=1.0, device="cpu", device_name="cpu", precision="fp32",
        memory_format="contiguous", compile="off", deterministic=False, micro_batch=1, peak_memory_bytes=None, starts=1,
        started=utc_now(), finished=utc_now(), provenance=provenance,
    )  # fmt: skip


def tree(directory: Path) -> dict[str, bytes | str]:
    """Everything below a directory, to see that nothing changed."""
    found: dict[str, bytes | str] = {}
    for path in sorted(directory.rglob("*")):
        kind = f"-> {path.readlink()}" if path.is_symlink() else "dir"
        found[str(path.relative_to(directory))] = path.read_bytes() if path.is_file() else kind
    return found


# --- names and creation ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(), st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)))
def test_an_id_is_an_id_whatever_the_name(name: str, now: datetime) -> None:
    run_id = new_run_id(name, now.replace(tzinfo=UTC))
    assert RUN_ID.fullmatch(run_id)
    assert Path(run_id).name == run_id
    assert run_id.startswith(f"{now:%Y%m%d-%H%M%S}-")


def test_ids_are_readable_and_differ() -> None:
    now = datetime(2026, 11, 23, 14, 25, 1, tzinfo=UTC)
    assert new_run_id("wrn", now)[:-4] == "20261123-142501-wrn-"
    assert new_run_id("My  Run/../x", now)[:-4] == "20261123-142501-my-run-x-"
    assert new_run_id("訓練", now)[:-4] == "20261123-142501-run-"
    assert new_run_id("x" * 99, now)[:-4] == f"20261123-142501-{'x' * 40}-"
    assert len({new_run_id("wrn", now) for _ in range(200)}) > 190  # of 800,000: two alike are rare, not impossible


def test_an_id_that_is_taken_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["20261123-142501-wrn-aaaa", "20261123-142501-wrn-aaaa", "20261123-142501-wrn-bbbb"])
    monkeypatch.setattr("fmnist_tui.runs.starting.new_run_id", lambda name: next(ids))
    config = load_preset("quick")
    made = [create_run(tmp_path, config).id for _ in range(2)]
    assert made == ["20261123-142501-wrn-aaaa", "20261123-142501-wrn-bbbb"]


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "20261123-142501-wrn-k3f9/..", "20261123-142501-wrn-k3f9\n",
                                  "20261123-142501--k3f", "٢0261123-142501-wrn-k3f9"])  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    assert not RUN_ID.fullmatch(text)


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
    assert "cannot be made: File name too long" in refused(create_run, tmp_path / ("x" * 300), config)
    assert refused(list_runs, file) == f"--runs-dir {file}: is a file; name a directory"
    assert refused(list_runs, file / "runs") == f"--runs-dir {file / 'runs'}: is a file; name a directory"
    assert file.read_text() == "mine"
    assert list_runs(tmp_path / "none") == []
    assert not (tmp_path / "none").exists(), "looking makes nothing"


@pytest.mark.usefixtures("permissions_bind")
def test_a_runs_directory_that_is_not_writable(runs_dir: Path, config: RunConfig) -> None:
    runs_dir.mkdir()
    runs_dir.chmod(0o555)
    assert "is not writable; choose another" in refused(create_run, runs_dir, config)
    assert "cannot be made: Permission denied" in refused(create_run, runs_dir / "below", config)
    runs_dir.chmod(0)
    assert "Permission denied" in refused(list_runs, runs_dir)
    runs_dir.chmod(0o755)


@pytest.mark.usefixtures("permissions_bind")
def test_runs_closed_to_this_user_are_passed_over(runs_dir: Path, config: RunConfig) -> None:
    mine, closed = create_run(runs_dir, config), create_run(runs_dir, config)
    closed.path.chmod(0)
    try:
        assert [run.id for run in list_runs(runs_dir)] == [mine.id]
        assert "is not a run of fmnist-tui" in refused(delete_run, load_run(closed))
    finally:
        closed.path.chmod(0o755)
    finish(mine)
    mine.status.chmod(0)
    assert load_run(mine).problem == "status.json cannot be read: Permission denied"


def test_names_that_are_not_unicode(runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = os.fsdecode(b"/tmp/\xff")
    assert "is not Unicode text" in refused(create_run, runs_dir, config, data_dir=Path(odd))
    assert list(runs_dir.iterdir()) == []
    monkeypatch.setattr("sys.argv", ["fmnist-tui", "--runs-dir", odd])
    run = create_run(runs_dir, config)
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).command[2] == "'/tmp/\\udcff'"


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
    run.result.write_text(a_result(run).to_json(), "utf-8")
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
    if problem:
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


# --- finding -----------------------------------------------------------------------------------------------------


@pytest.fixture
def three(runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    ids = iter(["20260101-000000-wrn-aaaa", "20260101-000000-wrn-aaab", "20260301-000000-dpn-cccc"])
    with monkeypatch.context() as patch:
        patch.setattr("fmnist_tui.runs.starting.new_run_id", lambda name: next(ids))
        for _ in range(3):
            finish(create_run(runs_dir, config))
    return runs_dir


@pytest.mark.parametrize("text", ["last", "dpn", "cccc", "20260301", "20260301-000000-dpn-cccc", "0-dpn-c"])
def test_any_unique_part_of_an_id_finds_the_run(text: str, three: Path) -> None:
    assert find_run(three, text).id == "20260301-000000-dpn-cccc"


def test_a_whole_id_wins_over_a_part(three: Path) -> None:
    short = three / "aaa"
    (three / "20260101-000000-wrn-aaaa").rename(short)
    assert find_run(three, "aaa").id == "aaa"


def test_runs_that_cannot_be_told(three: Path, tmp_path: Path) -> None:
    message = refused(find_run, three, "wrn")
    assert message == (
        "RUN = 'wrn': matches 2 runs (20260101-000000-wrn-aaab, 20260101-000000-wrn-aaaa); give more of the id"
    )
    assert "did you mean 20260301-000000-dpn-cccc?" in refused(find_run, three, "20260301-000000-dpm-cccc")
    assert "no run in" in refused(find_run, three, "zzzz")
    assert "no run in" in refused(find_run, three, "")
    assert "there are no runs in" in refused(find_run, tmp_path / "none", "last")
    assert "matches 3 runs" in refused(find_run, three, "2026")


def test_a_long_list_of_matches_is_cut(runs_dir: Path, config: RunConfig) -> None:
    for _ in range(7):
        create_run(runs_dir, config)
    message = refused(find_run, runs_dir, "quick")
    assert "matches 7 runs" in message
    assert message.count("quick") == 1 + 5
    assert ", ...)" in message


# --- resuming ----------------------------------------------------------------------------------------------------


def test_a_stopped_run_is_made_ready(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config, device="cpu")
    created = finish(run, State.STOPPED, epoch=3, step=333, pid=1, pid_started=1.0, error="x", exit_code=130).created
    run.control.write_text('{"requests": []}')
    run.checkpoint("best").write_bytes(b"x")
    prepare_resume(load_run(run), "cuda:1", Path("/data"), "best", epochs=12)
    loaded = load_run(run)
    status = loaded.status
    assert status is not None
    assert (loaded.state, status.pid, status.error, status.exit_code, status.ended) == (
        State.STARTING, None, None, None, None
    )  # fmt: skip
    assert (status.step, status.created, status.device) == (333, created, "cuda:1"), "the run's history stays"
    launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    assert (launch.device, launch.data_dir, launch.checkpoint, launch.epochs) == ("cuda:1", "/data", "best", 12)
    assert not run.control.exists(), "a stop asked of the last worker does not stop the next"
    assert load_run(run).config == config


@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED])
def test_what_ended_can_go_on(state: State, runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run, state)
    prepare_resume(load_run(run))
    assert load_run(run).state is State.STARTING


def test_a_lost_run_can_go_on(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    child = subprocess.Popen([sys.executable, "-c", ""])
    write_status(run, state=State.RUNNING, pid=child.pid, pid_started=process_started(child.pid) or 1.0)
    child.wait(20)
    assert load_run(run).state is State.LOST
    prepare_resume(load_run(run))
    assert load_run(run).state is State.STARTING


def me() -> dict[str, Any]:
    return {"pid": os.getpid(), "pid_started": process_started(os.getpid())}


@pytest.mark.parametrize(
    ("status", "options", "message"),
    [
        ({"state": State.RUNNING, **me()}, {}, "is running; stop it first: fmnist-tui runs stop"),
        ({"state": State.STARTING}, {}, "is starting; stop it first"),
        ({"state": State.QUEUED}, {}, "is queued"),
        ({"state": State.STOPPED}, {"checkpoint": "best"}, "--from best: "),
        ({"state": State.STOPPED}, {"checkpoint": "previous"}, "has no checkpoint of this name"),
        ({"state": State.STOPPED, "epoch": 5}, {"epochs": 4}, "--epochs 4: "),
        ({"state": State.STOPPED}, {"epochs": 0}, "training.epochs = 0: must be at least 1"),
        ({"state": State.STOPPED}, {"epochs": 100_001}, "must be at most 100000"),
        ({"state": State.STOPPED}, {"epochs": 2}, "schedule.warmup_epochs = 2.0: must be below training.epochs = 2"),
        ({"state": State.FINISHED, "epochs": 8, "epoch": 8}, {}, "is finished after 8 epochs; to go on, give more"),
        ({"state": State.FINISHED, "epochs": 8, "epoch": 8}, {"epochs": 8}, "is finished after 8 epochs"),
    ],
)
def test_what_cannot_go_on(
    status: dict[str, Any], options: dict[str, Any], message: str, runs_dir: Path, config: RunConfig
) -> None:
    config = with_changes(config, {"schedule.warmup_epochs": 2.0})
    run = create_run(runs_dir, config)
    write_status(run, **status)
    before = tree(runs_dir)
    assert message in refused(prepare_resume, load_run(run), **options)
    assert tree(runs_dir) == before


def test_a_finished_run_goes_on_to_more_epochs(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run, epochs=8)
    prepare_resume(load_run(run), epochs=9)
    assert load_run(run).state is State.STARTING


def test_a_held_run_does_not_go_on(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config)
    finish(run, State.STOPPED)
    with FileLock(run.lock):
        assert "its worker is still there" in refused(prepare_resume, load_run(run))
        assert "its worker is still there" in refused(delete_run, load_run(run))
    prepare_resume(load_run(run))


def test_a_resume_that_cannot_be_written_down(
    runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(runs_dir, config)
    finish(run, State.STOPPED)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fmnist_tui.runs.starting.replace_bytes", fail)
        assert "cannot be resumed: No space left" in refused(prepare_resume, load_run(run))
    assert load_run(run).state is State.STOPPED


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


def test_retries_reach_the_worker_and_begin_again_with_a_resume(runs_dir: Path, config: RunConfig) -> None:
    run = create_run(runs_dir, config, retries=3)
    launch = LaunchRequest.model_validate_json(run.launch.read_bytes())
    assert launch.retries == 3
    status = Status.model_validate_json(run.status.read_bytes())
    ended = status.model_copy(update={"state": State.FAILED, "retries_used": 3, "exit_code": 4})
    run.status.write_text(ended.to_json())
    prepare_resume(load_run(run), retries=2)
    assert Status.model_validate_json(run.status.read_bytes()).retries_used == 0
    assert LaunchRequest.model_validate_json(run.launch.read_bytes()).retries == 2
