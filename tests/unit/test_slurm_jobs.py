"""What Slurm is asked for and what it answers, with small programs in the place of Slurm's own."""

from __future__ import annotations

import getpass
import importlib.util
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.cli import main
from fmnist_tui.config import ConfigError
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import jobs, starting, stopping, store, submit
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.lost import why_lost
from fmnist_tui.runs.process import RENDEZVOUS, actual_state
from fmnist_tui.runs.queue import place_in_words
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.requests import read_control
from fmnist_tui.runs.slurm import SlurmSettings, slurm_settings
from fmnist_tui.runs.slurm_job import rendezvous
from fmnist_tui.runs.status import SlurmJob, State, Status
from fmnist_tui.training.__main__ import _as_it_is_now
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.turn import Turn
from fmnist_tui.tui import launching
from fmnist_tui.tui.outcome import outcome

Program = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test asks anew."""
    monkeypatch.setattr(jobs, "_known", jobs._Known())


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script where Slurm's program of that name is looked for; it notes each call in NAME.calls."""
    here = tmp_path / "bin"
    here.mkdir()
    monkeypatch.setenv("PATH", f"{here}:/usr/bin:/bin")
    for name in ("squeue", "scontrol", "sacct", "scancel", "sbatch", "srun"):
        (here / name).write_text("#!/bin/sh\nexit 1\n")
        (here / name).chmod(0o755)

    def write(name: str, script: str) -> Path:
        calls = here / f"{name}.calls"
        (here / name).write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{script}\n')
        return calls

    return write


def job(job_id: str = "12", user: str = "") -> SlurmJob:
    return SlurmJob(id=job_id, user=user)


def waiting(**values: Any) -> Status:
    """A run that waits for its job, as status.json says it; submitted two hours ago."""
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    return Status(**({"state": State.QUEUED, "job": job(), "host": "login", "heartbeat": old} | values))


# --- settings


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("30:00", 30),
        ("30:01", 31),
        ("12:00:00", 720),
        ("01:00:00", 60),
        ("2-12", 3600),
        ("1-00:30:00", 1470),
    ],
)
def test_times_as_sbatch_takes_them(text: str, minutes: int) -> None:
    assert slurm_settings([f"slurm.time={text}"]).time == minutes


def test_values_stay_as_they_were_typed() -> None:
    """An account may be a number, a list of nodes looks like TOML, and a constraint has signs of its own."""
    options = ["account=0123", "nodelist=node[1-4],node7", "constraint=a100|h100", "mem=64G", "exclusive=true"]
    options += ['setup=["module load cuda", "ulimit -n 4096"]', "cpus_per_task=16"]
    found = slurm_settings([f"slurm.{option}" for option in options])
    assert (found.account, found.nodelist, found.constraint) == ("0123", "node[1-4],node7", "a100|h100")
    assert (found.mem, found.exclusive, found.cpus_per_task) == ("64G", True, 16)
    assert found.setup == ("module load cuda", "ulimit -n 4096")
    assert slurm_settings(["slurm.setup=module load cuda"]).setup == ("module load cuda",)


def test_settings_of_the_last_start_are_kept_changed_and_taken_back() -> None:
    before = slurm_settings(["slurm.partition=gpu", "slurm.time=2:00:00", "slurm.qos=high"])
    read = LaunchRequest.model_validate_json(LaunchRequest(slurm=before).to_json()).slurm
    again = slurm_settings(["slurm.qos=none", "slurm.time=30"], read)
    assert (again.partition, again.qos, again.time) == ("gpu", None, 30)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("slurm.partion=gpu", "slurm.partion: no such setting; did you mean slurm.partition?"),
        ("slurm.timeout_min=5", "slurm.timeout_min: no such setting; did you mean slurm.time?"),
        ("slurm.gpus_per_node=5", "slurm.gpus_per_node: no such setting; did you mean --gpus?"),
        ("slurm.zzzzz=5", "set its variables (SBATCH_...)"),
        ("slurm.partition", "slurm.partition: must be KEY=VALUE"),
        ("slurm.time=soon", "slurm.time = 'soon': must be minutes, or as sbatch takes it"),
        ("slurm.time=0", "slurm.time = '0': must be at least 1"),
        ("slurm.mem=lots", "slurm.mem = 'lots': must be a size, for example 64G"),
        ("slurm.cpus_per_task=many", "slurm.cpus_per_task = 'many': must be a whole number"),
        ("slurm.partition=", "slurm.partition = '': must not be empty"),
        ("slurm.exclusive=maybe", "slurm.exclusive = 'maybe': must be true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(option: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        slurm_settings([option])
    assert message in str(raised.value)


# --- the command line


def refused(capsys: pytest.CaptureFixture[str], runs_dir: Path, *options: str) -> str:
    assert main(["run", "preset", "quick", *options, "--runs-dir", str(runs_dir)]) == 2
    assert not list(runs_dir.glob("2*")), "nothing is made"
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "slurm.partition=gpu"], "--set slurm.partition=gpu: is for a Slurm job; add --launcher slurm"),
        (["--launcher=slurm", "--gpus=all"], "--gpus all: with --launcher slurm it is the number of GPUs of each node"),
        (["--launcher=slurm", "--now"], "--now: not with --launcher slurm"),
        (["--launcher=slurm", "--device=cuda:1"], "--device cuda:1: with --launcher slurm it is auto, cpu or cuda"),
        (["--launcher=slurm", "--nodes=2", "--rdzv=a:1"], "--rdzv a:1: not with --launcher slurm"),
        (["--launcher=slurm", "--nodes=0"], "--nodes 0: must be from 1 to 1024"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], runs_dir: Path, program: Program
) -> None:
    assert message in refused(capsys, runs_dir, *options)


def test_without_submitit_or_slurm_it_is_said_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], runs_dir: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        said = refused(capsys, runs_dir, "--launcher=slurm")
    assert "needs submitit, which is not installed; pip install 'fmnist-tui[slurm]'" in said
    monkeypatch.setenv("PATH", str(runs_dir))
    assert "submit from a login node of the cluster" in refused(capsys, runs_dir, "--launcher=slurm")


def test_a_job_is_asked_for_as_the_options_say(
    capsys: pytest.CaptureFixture[str], runs_dir: Path, program: Program
) -> None:
    program("sbatch", 'grep -q . "$1" && echo "Submitted batch job 77"')
    settings = ["partition=gpu", "account=me", "time=12:00:00", "mem=64G", "reservation=r1", "setup=module load cuda"]
    options = [part for setting in settings for part in ("--set", f"slurm.{setting}")]
    where = ["--launcher=slurm", "--gpus=8", "--nodes=2", "--detach", "--runs-dir", str(runs_dir)]
    assert main(["run", "preset", "wrn", "--data=sample", *where, *options]) == 0
    printed = capsys.readouterr()
    run = RunDirectory(runs_dir / printed.out.strip())
    assert "Submitted as Slurm job 77." in printed.err
    lines = (run.slurm / "77_submission.sh").read_text().splitlines()
    for flag in (
        "partition=gpu",
        "account=me",
        "time=720",
        "mem=64G",
        "reservation=r1",
        "nodes=2",
        "ntasks-per-node=1",
        "gpus-per-node=8",
        "cpus-per-task=16",
        "signal=USR2@90",
        f"job-name={run.id}",
    ):
        assert f"#SBATCH --{flag}" in lines
    assert "#SBATCH --requeue" in lines and "module load cuda" in lines
    launch, status = last_launch(run), store.read_status(run)
    assert launch.device == "cuda", "a job that meets no GPU fails"
    assert status is not None
    assert launch.launcher == "slurm" and launch.job == status.job == jobs.own_job("77")
    config = store.load_run(run).config
    assert config is not None
    assert config == load_preset("wrn").model_copy(update={"data": config.data}), (
        "Slurm's settings are none of the run's"
    )


def test_gres_takes_the_place_of_gpus_per_node_and_a_cpu_needs_neither(runs_dir: Path) -> None:
    config = load_preset("quick")
    run = starting.create_run(runs_dir, config, launcher="slurm", slurm=SlurmSettings(gres="gpu:a100:4"), gpus=4)
    parameters = submit._parameters(run, last_launch(run), SlurmSettings(gres="gpu:a100:4"))
    assert parameters["gpus_per_node"] is None and parameters["slurm_gres"] == "gpu:a100:4"
    on_cpu = starting.create_run(runs_dir, config, device="cpu", launcher="slurm", gpus=4)
    parameters = submit._parameters(on_cpu, last_launch(on_cpu), SlurmSettings())
    assert parameters["gpus_per_node"] is None and parameters["cpus_per_task"] == 8


def test_a_refused_job_leaves_a_resumed_run_as_it_was(runs_dir: Path, program: Program) -> None:
    program("sbatch", 'echo "sbatch: error: no more jobs for you" >&2; exit 1')
    run = starting.create_run(runs_dir, load_preset("quick"), device="cpu")
    store.mark_failed(run, "killed by hand", 4)
    before = run.status.read_bytes(), run.launch.read_bytes()
    with pytest.raises(RunError, match="Slurm refused the job: no more jobs for you"):
        submit.resubmit(store.load_run(run), "cpu", None, slurm=SlurmSettings())
    assert (run.status.read_bytes(), run.launch.read_bytes()) == before


def test_a_cluster_without_such_gpus_gets_a_hint(
    capsys: pytest.CaptureFixture[str], runs_dir: Path, program: Program
) -> None:
    program("sbatch", 'echo "sbatch: error: Invalid generic resource (gres) specification" >&2; exit 1')
    said = refused(capsys, runs_dir, "--launcher=slurm")
    assert "Invalid generic resource (gres) specification; --device cpu asks for no GPU" in said


def test_the_runs_of_a_sweep_that_slurm_refuses_are_gone_and_the_others_stay(
    capsys: pytest.CaptureFixture[str], runs_dir: Path, program: Program
) -> None:
    calls = program(
        "sbatch", '[ $(wc -l < "$0.calls") -le 2 ] && echo "Submitted batch job 5" || { echo full >&2; exit 1; }'
    )
    options = ["--launcher=slurm", "--seeds=4", "--detach", "--runs-dir", str(runs_dir)]
    assert main(["run", "preset", "quick", *options]) == 2
    assert len(calls.read_text().splitlines()) == 3 and len(store.list_runs(runs_dir)) == 2
    assert "full; the 2 runs before it were submitted, and go on" in capsys.readouterr().err


# --- what Slurm says


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("echo '12|PENDING|Priority'", State.QUEUED),
        ("echo '12|CONFIGURING|None'", State.QUEUED),
        ("echo '12|COMPLETING|None'", State.QUEUED),
        ("echo '12|CANCELLED|None'", State.LOST),
        ("echo '12|TIMEOUT|TimeLimit'", State.LOST),
        ("echo '13|RUNNING|None'", State.LOST),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", State.QUEUED),
    ],
)
def test_a_run_that_waits_is_lost_only_where_slurm_says_so(answer: str, state: State, program: Program) -> None:
    program("squeue", answer)
    assert actual_state(waiting()) is state


def test_without_slurms_programs_the_file_is_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert actual_state(waiting()) is State.QUEUED
    assert place_in_words(waiting()) == "Slurm job 12"


def test_a_job_that_others_may_not_see_is_not_taken_for_gone(program: Program) -> None:
    program("squeue", "exit 0")
    assert actual_state(waiting(job=job(user="somebody-else"))) is State.QUEUED
    assert actual_state(waiting(job=job("13"))) is State.LOST


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ("PENDING|BeginTime", State.QUEUED),
        ("RUNNING|None", State.RUNNING),
        ("NODE_FAIL|None", State.LOST),
    ],
)
def test_a_silent_worker_is_lost_unless_slurm_still_has_its_job(answer: str, state: State, program: Program) -> None:
    """Its node has failed, and Slurm requeues the job by itself; or only the file system is slow."""
    program("squeue", f"echo '12|{answer}'")
    assert actual_state(waiting(state=State.RUNNING, pid=77, pid_started=1.0, host="node7")) is state


def test_slurm_is_asked_seldom_and_for_all_at_once(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = program("squeue", "echo '12|PENDING|Priority'; echo '13|RUNNING|None'")
    for _ in range(5):
        assert jobs.look(job("12")) == jobs.JobView("PENDING", "Priority")
        assert jobs.look(job("13")) == jobs.JobView("RUNNING", "None")
    (asked,) = calls.read_text().splitlines()
    assert asked.endswith(f"--user={getpass.getuser()}")
    monkeypatch.setattr(jobs, "ASK_SECONDS", 0.0)
    jobs.look(job("12"))
    assert len(calls.read_text().splitlines()) == 2


def test_a_controller_that_does_not_answer_is_left_alone_for_a_while(program: Program) -> None:
    calls = program("squeue", "exit 1")
    for _ in range(3):
        assert jobs.look(job()) is None
    assert len(calls.read_text().splitlines()) == 1


def test_old_jobs_are_looked_up_in_the_accounts_once(program: Program) -> None:
    program("squeue", "exit 0")
    calls = program("sacct", "echo 'CANCELLED by 1000'")
    assert [jobs.look(job()) for _ in range(3)] == [jobs.JobView("CANCELLED")] * 3
    assert len(calls.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("shown", "answer"),
    [("RUNNING Restarts=1", False), ("COMPLETING Restarts=2", True), ("COMPLETING Restarts=1", None)],
)
def test_what_a_signal_meant(shown: str, answer: bool | None, program: Program) -> None:
    """A time of grace, a requeue of Slurm's own, or the end; the words are those of Slurm 22.05."""
    program("scontrol", f"echo '   JobState={shown} BatchFlag=1'")
    assert jobs.requeued_since("12", restarts=1) is answer


# --- in words


def test_where_a_run_stands_in_words(program: Program, runs_dir: Path) -> None:
    program("squeue", "echo '12|PENDING|QOSMaxGRESPerUser'; echo '13|PENDING|Priority'")
    actual_state(waiting())
    actual_state(waiting(job=job("13")))
    assert place_in_words(waiting()) == "Slurm job 12, pending (QOSMaxGRESPerUser)"
    preempted = waiting(job=job("13"), phase="to go on from its checkpoint")
    assert place_in_words(preempted) == "Slurm job 13, pending (others go first), to go on from its checkpoint"
    run = made(runs_dir, job=job("13"))
    assert outcome(run, datetime.now(UTC))[0].text == "Queued: Slurm job 13, pending (others go first)."


def made(runs_dir: Path, **values: Any) -> store.Run:
    run = starting.create_run(runs_dir, load_preset("quick"), device="cpu", launcher="slurm")
    status = store.read_status(run)
    assert status is not None
    replace_bytes(run.status, status.model_copy(update={"phase": "", **values}).to_json().encode())
    return store.load_run(run)


def test_why_a_run_was_lost(program: Program, runs_dir: Path) -> None:
    program("squeue", "echo '12|FAILED|NonZeroExitCode'; echo '13|TIMEOUT|TimeLimit'")
    run = made(runs_dir, job=job())
    run.directory.slurm.mkdir()
    log = run.directory.slurm / "12_0_log.err"
    log.touch()
    assert run.state is State.LOST and why_lost(run) == f"its Slurm job 12 failed; its log is {log}"
    at_work = made(runs_dir, job=job("13"), state=State.RUNNING, pid=7, host="node7", heartbeat="2026-01-01T00:00:00Z")
    assert why_lost(at_work).startswith(
        "its Slurm job 13 was killed at its time limit, before a checkpoint was written;"
    )
    assert "its process (pid 7 on node7) is gone without a word" in why_lost(at_work)


# --- stopping


def test_a_pending_job_is_taken_out(program: Program, runs_dir: Path) -> None:
    program("squeue", '[ -e "$0.cancelled" ] && echo "12|CANCELLED|None" || echo "12|PENDING|Priority"')
    calls = program("scancel", 'touch "${0%scancel}squeue.cancelled"')
    run = made(runs_dir, job=job())
    assert launching.ask_to_stop(run.directory, False).how == "left"
    assert calls.read_text() == "--state=PENDING 12\n" and not run.directory.control.exists()
    stopped = store.load_run(run.directory)
    assert stopped.state is State.STOPPED and stopped.status is not None and stopped.status.exit_code == 130
    assert "Slurm job 12 was taken out of the queue" in run.directory.metrics.read_text()


@pytest.mark.parametrize("answer", ["echo '12|RUNNING|None'", "exit 1"])
def test_a_job_that_begins_at_this_moment_meets_a_request(answer: str, program: Program, runs_dir: Path) -> None:
    """As does one that can't be asked about."""
    program("squeue", answer)
    run = made(runs_dir, job=job())
    assert stopping.ask(run).how == "asked"
    assert [request.request for request in read_control(run.directory).requests] == ["stop"]


def test_the_app_submits_a_resumed_run_as_before(program: Program, runs_dir: Path) -> None:
    program("sbatch", 'echo "Submitted batch job 78"')
    settings = SlurmSettings(partition="gpu")
    run = starting.create_run(runs_dir, load_preset("quick"), launcher="slurm", slurm=settings, gpus=4, nodes=2)
    store.mark_failed(run, "the node burnt", 4)
    launching.resume(run, None, launching.Children())
    launch = last_launch(run)
    assert (launch.slurm, launch.gpus, launch.nodes, launch.job) == (settings, 4, 2, jobs.own_job("78"))
    assert "--partition=gpu" in (run.slurm / "78_submission.sh").read_text()
    with pytest.raises(RunError, match="waits for Slurm, which has an order of its own"):
        launching.move(run, 1)


# --- within the job


def test_nodes_meet_at_the_address_slurm_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_LAUNCH_NODE_IPADDR", raising=False)
    assert rendezvous("123456", "node7") == "node7:23456"
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "fd00::7")
    assert rendezvous("12_3", "node7") == "[fd00::7]:20012"


def test_a_start_knows_where_its_nodes_meet_and_goes_on_from_what_it_wrote(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run resumed from its best checkpoint that is preempted must not begin at the best one again."""
    run = starting.create_run(runs_dir, load_preset("quick"), launcher="slurm", nodes=2)
    monkeypatch.setenv(RENDEZVOUS, "node7:20012")
    last = run.checkpoint("last")
    last.touch()
    os.utime(last, (1.0, 1.0))
    asked = LaunchRequest(checkpoint="best", nodes=2)
    assert _as_it_is_now(run, asked).rendezvous == "node7:20012"
    assert _as_it_is_now(run, asked).checkpoint == "best"
    last.touch()
    os.utime(last, (2e9, 2e9))
    assert _as_it_is_now(run, asked).checkpoint == "last"


def test_a_job_waits_in_no_queue_of_this_machine(runs_dir: Path) -> None:
    config = load_preset("quick")
    turns = []
    for launcher in ("local", "slurm"):
        run = starting.create_run(runs_dir, config, device="cpu", launcher=launcher, gpus=2)
        status = store.read_status(run)
        assert status is not None
        reporter = Reporter(run, status)
        turn = Turn(run, config, last_launch(run), reporter, StopSignal())
        turns.append(turn)
        turn.wait("cpu")
        assert [device.name for device in turn.devices] == ["cpu", "cpu"]
        assert reporter.status.state is State.STARTING
    for turn in turns:
        turn.__exit__(None, None, None)


def test_a_stopped_run_is_not_marked_again(runs_dir: Path) -> None:
    run = made(runs_dir, state=State.FINISHED, ended=utc_now())
    store.mark_stopped(run.directory, "too late")
    assert store.load_run(run.directory).state is State.FINISHED and not run.directory.metrics.exists()


def test_the_docs_name_every_setting() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "distributed.md").read_text()
    section = page.partition("## Slurm")[2].partition("## Sweeps")[0]
    assert [key for key in SlurmSettings.model_fields if f"`{key}`" not in section] == []
