"""The device queue on the command line: its commands, and what an attached run says while it waits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.runs import process, store
from fmnist_tui.runs.layout import RunDirectory
from tests.process.forked_commands import run as command
from tests.process.holders import is_queued
from tests.process.workers import status_of, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


TINY = ("--device=cpu", "--epochs=1", "--set=training.max_steps=2", "--set=model.widen_factor=1")


def test_the_commands_of_the_queue(runs_dir: Path, hold: Any) -> None:
    where = ("--runs-dir", str(runs_dir))
    holder = hold(eta_seconds=4800.0)
    first, second = (command("run", "preset", "quick", *TINY, "--detach", f"--name={name}", *where) for name in "ab")
    assert f"queued behind {holder.run.id}; --now" in first.stderr
    a, b = first.stdout.strip(), second.stdout.strip()
    directory = RunDirectory(runs_dir / b)
    wait_until(lambda: is_queued(directory, 2), "two places")
    try:
        said = [json.loads(line) for line in command("runs", "queue", "--json").stdout.splitlines()]
        assert [(r["id"], r["device"], r["place"], r["state"]) for r in said] == [
            (holder.run.id, "cpu", None, "running"), (a, "cpu", 1, "queued"), (b, "cpu", 2, "queued"),
        ]  # fmt: skip
        table = command("runs", "queue").stdout
        assert a in table and "starts in about 1 h" in table
        assert "queued, next" in command("runs", "list", *where).stdout
        listed = [json.loads(line) for line in command("runs", "list", "--json", *where).stdout.splitlines()]
        assert {r["id"]: (r["queue_place"], r["queue_behind"]) for r in listed if r["state"] == "queued"} == {
            a: (1, holder.run.id), b: (2, a),
        }  # fmt: skip
        moved = command("runs", "move", b, "--to-front", *where)
        assert (moved.returncode, moved.stderr) == (0, f"{b} is now the next in the queue.\n")
        wait_until(lambda: is_queued(directory, 1), "the front")
        assert "next on cpu, behind" in command("runs", "show", b, *where).stdout
        for wrong, message in [([b], "--place N and --now"), ([holder.run.id, "--place=1"], "is not queued")]:
            refused = command("runs", "move", *wrong, *where)
            assert refused.returncode == 2 and message in refused.stderr
        refused = command("runs", "delete", b, "--yes", *where)
        assert refused.returncode == 2 and "is queued" in refused.stderr and directory.path.exists()
        stopped = command("runs", "stop", b, *where)
        assert stopped.returncode == 0 and "was taken out of the queue" in stopped.stderr
        killed = command("runs", "stop", a, "--now", *where)
        assert killed.returncode == 0
        assert "while it was queued" in (status_of(RunDirectory(runs_dir / a)).error or "")
        assert command("runs", "delete", a, b, "--yes", *where).returncode == 0
    finally:
        for run in store.list_runs(runs_dir):
            if run.status is not None and run.id != holder.run.id:
                process.kill_worker(run.status)


def test_an_attached_run_says_at_once_what_it_waits_for(runs_dir: Path, hold: Any) -> None:
    holder = hold()
    words = [sys.executable, "-m", "fmnist_tui", "run", "preset", "quick", *TINY, "--runs-dir", str(runs_dir)]
    watcher = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert watcher.stdout is not None
        said = watcher.stdout.readline() + watcher.stdout.readline()
        (waiting,) = (run for run in store.list_runs(runs_dir) if run.id != holder.run.id)
        assert f"queue: next on cpu, behind {holder.run.id}; 'fmnist-tui runs move {waiting.id} --now'" in said
        watcher.send_signal(signal.SIGINT)
        stdout, _ = watcher.communicate(timeout=30)
        assert watcher.returncode == 130
        assert "Leaving the queue" in stdout and "Stopped before its first step" in stdout
    finally:
        watcher.kill()
        watcher.communicate()
        for run in store.list_runs(runs_dir):
            if run.status is not None and run.id != holder.run.id:
                process.kill_worker(run.status)
