"""What may have become of a lost run's worker, from what it and the system left. For the command line and the app.

A process that is killed with SIGKILL says nothing: the kernel does that when memory runs out.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil

from fmnist_tui.runs import jobs
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord, SystemRecord, parse_metric
from fmnist_tui.runs.records import Record, seconds_since, utc_now
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run

TAIL_BYTES = 1 << 16
FULL = 0.9
"""Memory in use above this share of the machine's, in the last sample, makes the kernel the first suspect."""
LOG_TAIL_BYTES = 4000
LOG_TAIL_LINES = 12


def why_lost(run: Run) -> str:
    """One sentence or two on a run whose state is LOST; guesses are called so."""
    status = run.status
    if status is None:
        return "its process is gone without a word"
    text = _what_of_its_job(run, status)
    if text and status.pid is None:
        return text
    if said := _said_gone(run):
        return f"its worker ended by itself: {said}"
    text = f"{text}; " if text else ""
    text += f"its process (pid {status.pid or '?'} on {status.host or '?'}) is gone without a word"
    text += f", last heard of at {status.heartbeat}"
    if status.host == socket.gethostname() and seconds_since(status.heartbeat) > _uptime() + 1.0:
        return f"{text}: the machine was restarted after that"
    memory = _last_memory(run)
    if memory is not None and memory[0] > FULL * memory[1]:
        used, total = (f"{value / 1e9:.1f}" for value in memory)
        return (
            f"{text}. Its last sample had {used} of {total} GB of memory in use: perhaps the system killed it for "
            "lack of memory (dmesg or the cluster's log tells)"
        )
    return f"{text}: killed (kill -9, a cluster's limit), or ended by the system for lack of memory"


def _what_of_its_job(run: Run, status: Status) -> str:
    """What Slurm says of a run's job, where that has ended, and where its log is; '' for any other run."""
    view = jobs.look(status.job) if status.job is not None else None
    if status.job is None or view is None or not view.ended:
        return ""
    logs = sorted(run.directory.slurm.glob(f"{status.job.id}_*_log.err"))
    tail = f"; its log is {logs[0]}" if logs else ""
    return f"its Slurm job {status.job.id} {view.words}{tail}"


def death(directory: RunDirectory, code: int) -> str:
    """What is known of a worker that died without a word: how, and the end of its log."""
    if code < 0:
        name = signal.Signals(-code).name
        how = f"the worker was killed by {name}"
        if name == "SIGKILL":
            how += " (perhaps by the system, for lack of memory)"
    else:
        how = f"the worker ended with exit code {code} and without a word"
    tail = log_tail(directory)
    return f"{how}; the end of worker.log:\n{tail}" if tail else how


def log_tail(directory: RunDirectory) -> str:
    """The last lines of a run's worker.log, '' where there are none."""
    try:
        with directory.worker_log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join(lines[-LOG_TAIL_LINES:])


def _uptime() -> float:
    return float(datetime.now(UTC).timestamp() - psutil.boot_time())


def _newest_records(run: Run) -> Iterator[Record]:
    """The last metric records, the newest first; none where they can't be read."""
    try:
        with run.directory.metrics.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return
    yield from (record for line in reversed(lines) if (record := parse_metric(line)) is not None)


def _said_gone(run: Run) -> str:
    """What the worker of a run that was moved under it said at last, into files it had open; '' of any other."""
    for record in _newest_records(run):
        if isinstance(record, EventRecord):
            return record.message if record.data.get("gone") else ""
    return ""


def _last_memory(run: Run) -> tuple[int, int] | None:
    """Bytes in use and in all, of the machine, in the newest sample."""
    for record in _newest_records(run):
        if isinstance(record, SystemRecord) and record.host.ram_used and record.host.ram_total:
            return record.host.ram_used, record.host.ram_total
    return None


def note_loss(run: Run) -> None:
    """Before a lost run is resumed: say in its log what became of the worker before."""
    if run.state is not State.LOST:
        return
    try:
        with run.directory.worker_log.open("a", encoding="utf-8") as log:
            log.write(f"{utc_now()} lost: {why_lost(run)}\n")
    except OSError:  # a full disk: resuming matters more
        return
