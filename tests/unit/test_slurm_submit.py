"""What Slurm is asked for, and what is left where it refuses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from fmnist_tui.cli import main
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import jobs, starting, store, submit
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.tui import launching
from tests.unit.slurm_programs import Program

pytestmark = pytest.mark.usefixtures("nothing_known")


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            (
                "sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
                "sbatch: error: fetch_config: DNS SRV lookup failed\n"
                "sbatch: error: _establish_config_source: failed to fetch config\n"
                "sbatch: fatal: Could not establish a configuration source"
            ),
            (
                "error: no Slurm job: Slurm has no configuration on this machine: no slurm.conf where it looks, "
                "and SLURM_CONF names none; submit from a login node of the cluster, or train on this machine, "
                "or set SLURM_CONF=FILE. Slurm says: "
                "res_nsearch error: Unknown host; DNS SRV lookup failed; "
            ),
        ),
        (
            (
                'sbatch: error: Parse error in file /x/slurm.conf line 1: "blah"\n'
                "sbatch: fatal: Unable to process configuration file"
            ),
            (
                "error: no Slurm job: Slurm's configuration on this machine (slurm.conf) is not one; correct it, "
                'or set SLURM_CONF to another file. Slurm says: Parse error in file /x/slurm.conf line 1: "blah"; '
            ),
        ),
        (
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            (
                "error: no Slurm job: Slurm's controller does not answer; see `scontrol ping`, and try again when "
                "it is up. Slurm says: Batch job submission failed: "
            ),
        ),
    ],
)
def test_a_slurm_that_cannot_be_asked_is_said_in_words_of_ours(
    words: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
    runs_dir: Path,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SLURM_CONF", raising=False)
    program("sbatch", f"cat >&2 <<'END'\n{words}\n" + "x" * 5_000 + "\nEND\nexit 1")
    told = refused(capsys, runs_dir, "--launcher=slurm").splitlines()[-1]
    assert told.startswith(said) and len(told) < 500


def test_a_slurm_conf_that_is_not_there_is_said_at_once(
    capsys: pytest.CaptureFixture[str], runs_dir: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = program("sbatch", "exit 1")
    monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")
    assert "SLURM_CONF = /nowhere/slurm.conf: there is no such file" in refused(capsys, runs_dir, "--launcher=slurm")
    assert not calls.exists()


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
    assert "Invalid generic resource (gres) specification; slurm.gres asks for GPUs of a kind" in said


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
