"""What is said of a lost run, and that its log keeps it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.runs import starting, store
from fmnist_tui.runs.lost import note_loss, why_lost
from fmnist_tui.runs.metrics import HostSample, SystemRecord
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.status import State, Status

DEAD = {"pid": 2**22 + 1, "pid_started": 1.0, "host": socket.gethostname()}


def lost(runs_dir: Path, config: RunConfig, *samples: tuple[int, int], **values: Any) -> store.Run:
    directory = starting.create_run(runs_dir, config)
    status = Status(state=State.RUNNING, **{**DEAD, "heartbeat": utc_now(), **values})
    directory.status.write_text(status.to_json())
    records = [SystemRecord(host=HostSample(ram_used=used, ram_total=total)) for used, total in samples]
    directory.metrics.write_text("".join(record.to_json() + "\n" for record in records) + '{"kind": "sys')
    return store.load_run(directory)


def test_full_memory_is_suspected(runs_dir: Path, config: RunConfig) -> None:
    run = lost(runs_dir, config, (3_000_000_000, 16_000_000_000), (15_500_000_000, 16_000_000_000))
    assert run.state is State.LOST
    assert "15.5 of 16.0 GB" in why_lost(run) and "dmesg" in why_lost(run)


def test_with_free_memory_it_is_one_of_several_guesses(runs_dir: Path, config: RunConfig) -> None:
    text = why_lost(lost(runs_dir, config, (15_500_000_000, 16_000_000_000), (3_000_000_000, 16_000_000_000)))
    assert "kill -9" in text and "GB" not in text and str(DEAD["pid"]) in text


def test_a_restarted_machine_is_told(runs_dir: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = lost(runs_dir, config, heartbeat="2026-01-01T00:00:00Z")
    monkeypatch.setattr(psutil, "boot_time", lambda: 1767225600.0 + 3600.0)  # an hour after that
    assert "restarted" in why_lost(run)
    monkeypatch.setattr(psutil, "boot_time", lambda: 1767225600.0 - 3600.0)
    assert "restarted" not in why_lost(run)


def test_the_log_keeps_it(runs_dir: Path, config: RunConfig) -> None:
    run = lost(runs_dir, config)
    run.directory.worker_log.write_text("before\n")
    note_loss(run)
    text = run.directory.worker_log.read_text()
    assert text.startswith("before\n") and "lost: its process" in text
    run.directory.status.write_text(Status(state=State.STOPPED).to_json())
    note_loss(store.load_run(run.directory))
    assert run.directory.worker_log.read_text() == text, "only of a lost one"
