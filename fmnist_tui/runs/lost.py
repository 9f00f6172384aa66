"""What may have become of a lost run's worker, from what it and the system left. For the command line and the app.

A process that is killed with SIGKILL says nothing: the kernel does that when memory runs out.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import psutil

from fmnist_tui.runs.records import State, SystemRecord, parse_metric, seconds_since, utc_now
from fmnist_tui.runs.store import Run

TAIL_BYTES = 1 << 16
FULL = 0.9
"""Memory in use above this share of the machine's, in the last sample, makes the kernel the first suspect."""


def why_lost(run: Run) -> str:
    """One sentence or two on a run whose state is LOST; guesses are called so."""
    status = run.status
    if status is None:
        return "its process is gone without a word"
    text = f"its process (pid {status.pid or '?'} on {status.host or '?'}) is gone without a word"
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


def _uptime() -> float:
    return float(datetime.now(UTC).timestamp() - psutil.boot_time())


def _last_memory(run: Run) -> tuple[int, int] | None:
    """Bytes in use and in all, of the machine, in the newest sample."""
    try:
        with run.directory.metrics.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        record = parse_metric(line)
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
