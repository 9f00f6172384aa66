"""A run in two real processes: what they compute, what becomes of them when one is killed, stopped or resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from fmnist_tui.config import parse_config
from fmnist_tui.runs import process, starting, stopping, store
from fmnist_tui.runs.layout import BENCHMARKS, RunDirectory
from fmnist_tui.runs.status import State
from tests.events import messages
from tests.process.small_runs import LONG, SMALL, config
from tests.process.workers import Start, as_long_as_the_start, status_of, steps_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


def ranks_of(pid: int) -> dict[int, psutil.Process]:
    """The launcher's ranks by number, as far as they are there: it starts them in that order."""
    try:
        children = psutil.Process(pid).children()
        return dict(enumerate(sorted(children, key=lambda child: (child.create_time(), child.pid))))
    except psutil.Error:
        return {}


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.process_started(p.pid) == p.create_time() for p in processes)


def test_two_processes_train_as_one_does_in_two_passes(runs_dir: Path, start: Start) -> None:
    """The same images, crops and Cutout in the same order, and the same batch-norm statistics of each half.

    Two halves weighted by 1/2 lose nothing in float32, so the 24 losses were equal to the bit where this was
    written; 1e-5 leaves room for kernels that add up in another order, and is far below what another batch gives.
    """
    alone = starting.create_run(runs_dir, config(micro_batch=250), device="cpu")
    assert start(alone).wait(timeout=120) == 0, alone.worker_log.read_text()
    run = starting.create_run(runs_dir, config(), device="cpu", gpus=2)
    assert start(run).wait(timeout=120) == 0, run.worker_log.read_text()
    one, two = steps_of(alone), steps_of(run)
    assert [(line["kind"], line["step"]) for line in one] == [(line["kind"], line["step"]) for line in two]
    for a, b in zip(one, two, strict=True):
        if a["kind"] == "train":
            assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
            assert b["lr"] == a["lr"]
        else:  # the running statistics are of rank 0's halves alone; the training ones are the same
            assert b["train_loss"] == pytest.approx(a["train_loss"], rel=1e-5)
            assert b["train_accuracy"] == a["train_accuracy"]
            assert b["test_loss"] == pytest.approx(a["test_loss"], rel=0.05)
    loaded = store.load_run(run)
    assert loaded.result is not None and loaded.result.devices == 2 and loaded.state is State.FINISHED
    assert loaded.result.test_images == 2000
    with np.load(run.predictions) as saved:
        assert saved["last_classes"].shape == (2000,) and saved["last_probabilities"].shape == (2000, 10)
        from fmnist_tui.data import source

        right = (saved["last_classes"] == source.load_sample().test_labels).mean() * 100
    assert right == pytest.approx(loaded.result.test_accuracy)
    log = run.worker_log.read_text()
    assert "[rank 0] " in log and not run.last_word.exists()


def test_a_killed_rank_ends_the_run_with_the_cause(runs_dir: Path, start: Start) -> None:
    """Rank 0, which writes the run's files; within seconds, no process is left, and the checkpoint stays."""
    victim = 0
    run = starting.create_run(runs_dir, config(**LONG), device="cpu", gpus=2)
    began = time.monotonic()
    launcher = start(run)
    wait_until(lambda: run.checkpoint("last").exists(), "a checkpoint")
    limit = as_long_as_the_start(began)
    ranks = ranks_of(launcher.pid)
    assert set(ranks) == {0, 1} and status_of(run).pid == launcher.pid
    addresses = [
        connection.laddr.ip
        for member in (psutil.Process(launcher.pid), *ranks.values())
        for connection in member.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(addresses) <= {"127.0.0.1", "::1"}, "nothing listens on an outside address"
    ranks[victim].kill()
    began = time.monotonic()
    assert launcher.wait(timeout=120) == 4
    assert time.monotonic() - began < limit, "a loaded machine needs a few seconds"
    status = status_of(run)
    assert status.state is State.FAILED and status.exit_code == 4
    assert f"rank {victim} (pid {ranks[victim].pid}) was killed by SIGKILL" in (status.error or "")
    assert all_gone(list(ranks.values()))
    assert run.checkpoint("last").exists() and not run.last_word.exists()


def test_a_killed_launcher_leaves_no_orphan(runs_dir: Path, start: Start) -> None:
    run = starting.create_run(runs_dir, config(**LONG), device="cpu", gpus=2)
    began = time.monotonic()
    launcher = start(run)
    wait_until(lambda: run.checkpoint("last").exists(), "a checkpoint")
    ranks = list(ranks_of(launcher.pid).values())
    assert len(ranks) == 2
    launcher.kill()
    launcher.wait()
    wait_until(lambda: all_gone(ranks), "the ranks die with it", as_long_as_the_start(began))
    loaded = store.load_run(run)
    assert loaded.state is State.LOST and loaded.status is not None
    starting.prepare_resume(loaded, device="cpu", epochs=loaded.status.epoch)
    assert start(run).wait(timeout=120) == 0, "one process goes on: " + run.worker_log.read_text()
    lines = [line["step"] for line in steps_of(run) if line["kind"] == "train"]
    assert lines == list(range(1, 12 * loaded.status.epoch + 1)), "every step is there once"
    result = store.load_run(run).result
    assert result is not None and result.devices == 1


def test_a_killed_rank_is_begun_anew_from_the_checkpoint(runs_dir: Path, start: Start) -> None:
    """With --retries; and a request to stop reaches every rank, so that rank 0 writes the checkpoint."""
    run = starting.create_run(runs_dir, config(**LONG), device="cpu", gpus=2, retries=1)
    launcher = start(run)
    wait_until(lambda: run.checkpoint("last").exists(), "a checkpoint")
    first = ranks_of(launcher.pid)
    first[1].kill()
    wait_until(lambda: status_of(run).retries_used == 1, "new ranks")
    wait_until(lambda: any(text.startswith("going on ") for text in messages(run, "resume")), "the checkpoint")
    step = status_of(run).step
    wait_until(lambda: status_of(run).step > step, "training goes on")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=60) == 130
    status = status_of(run)
    assert status.state is State.STOPPED and status.exit_code == 130 and status.error is None
    lines = [line["step"] for line in steps_of(run) if line["kind"] == "train"]
    assert lines == list(range(1, lines[-1] + 1)), "every step is there once"
    content = torch.load(run.checkpoint("last"), weights_only=True)
    assert content["progress"]["step"] == status.step == lines[-1]


def test_a_stop_that_cannot_be_written_reaches_every_rank(runs_dir: Path, start_whole: Start) -> None:
    """By a signal to the launcher, which hands it on to what it knows by its environment: with a checkpoint."""
    run = starting.create_run(runs_dir, config(**LONG), device="cpu", gpus=2)
    launcher = start_whole(run)
    wait_until(lambda: run.checkpoint("last").exists(), "a checkpoint")
    run.control_lock.unlink(missing_ok=True)
    run.control_lock.mkdir()  # so that no request can be written
    assert stopping.ask(store.load_run(run)).how == "signalled"
    assert launcher.wait(timeout=60) == 130, run.worker_log.read_text()
    status = status_of(run)
    assert status.state is State.STOPPED and "Traceback" not in run.worker_log.read_text()
    content = torch.load(run.checkpoint("last"), weights_only=True)
    assert content["progress"]["step"] == status.step


def test_a_loss_that_explodes_ends_all_ranks_in_words(runs_dir: Path, start: Start) -> None:
    """A final cause is not tried again, whatever --retries says."""
    wild = parse_config(
        {**SMALL, "model": {"kind": "wide_resnet", "depth": 10, "widen_factor": 1}}
        | {"optimizer": {"lr": 100.0, "weight_decay": 1.0}}
    )
    run = starting.create_run(runs_dir, wild, device="cpu", gpus=2, retries=2)
    assert start(run).wait(timeout=180) == 4
    status = status_of(run)
    assert status.state is State.FAILED and status.exit_code == 4
    assert "not finite" in (status.error or "") and "lower optimizer.lr (now 100)" in (status.error or "")
    assert status.retries_used == 0


def torchrun(run: RunDirectory, ranks: int) -> subprocess.Popen[bytes]:
    options = ["--standalone", f"--nproc-per-node={ranks}", "-m", "fmnist_tui.training", str(run.path)]
    with run.worker_log.open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *options], stdout=log, stderr=log)


def test_plain_torchrun_trains_a_run(runs_dir: Path) -> None:
    """Without our launcher rank 0 holds the lock and writes the last word itself."""
    run = starting.create_run(runs_dir, config(epochs=1, max_steps=3), device="cpu")
    assert torchrun(run, 2).wait(timeout=180) == 0, run.worker_log.read_text()
    loaded = store.load_run(run)
    assert loaded.state is State.FINISHED and loaded.result is not None and loaded.result.devices == 2
    assert (runs_dir / BENCHMARKS).exists()


@pytest.mark.gpu
def test_one_gpu_by_the_same_path(runs_dir: Path) -> None:
    """NCCL, DistributedDataParallel and the exchange between the hosts, with a single rank; the losses are the same."""
    plain = starting.create_run(runs_dir, config(deterministic=False), device="cuda:0")
    assert process.start_worker(plain).wait(timeout=300) == 0, plain.worker_log.read_text()
    run = starting.create_run(runs_dir, config(deterministic=False), device="cuda:0")
    assert torchrun(run, 1).wait(timeout=300) == 0, run.worker_log.read_text()
    pairs = list(zip(steps_of(plain), steps_of(run), strict=True))
    assert len(pairs) == 26
    for a, b in pairs[:12]:
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-2), "TF32 and the order of sums are the device's"


@pytest.mark.gpu
@pytest.mark.parametrize("sync", [False, True])
def test_two_gpus(runs_dir: Path, start: Start, sync: bool) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("torch sees fewer than two CUDA devices")
    run = starting.create_run(runs_dir, config(deterministic=False, sync_batch_norm=sync), device="cuda", gpus=2)
    assert start(run).wait(timeout=300) == 0, run.worker_log.read_text()
    result = store.load_run(run).result
    assert result is not None and result.devices == 2 and result.test_accuracy > 15.0
    ranks_killed = starting.create_run(runs_dir, config(**LONG | {"deterministic": False}), device="cuda", gpus=2)
    launcher = start(ranks_killed)
    wait_until(lambda: ranks_killed.checkpoint("last").exists(), "a checkpoint")
    ranks = ranks_of(launcher.pid)
    ranks[1].kill()
    assert launcher.wait(timeout=30) == 4 and all_gone(list(ranks.values()))
