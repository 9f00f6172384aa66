"""The real app in a pseudo-terminal, for `measure_app.py`: what it draws, when, and the processor time it takes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

import psutil

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()].|\x1b[=>]")


class App:
    """The app in a pseudo-terminal."""

    def __init__(self, runs_dir: Path, size: tuple[int, int] = (120, 40)) -> None:
        self.began = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
            os.execv(sys.executable, [sys.executable, "-m", "fmnist_tui", "--runs-dir", str(runs_dir)])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.seen = b""

    def read(self, seconds: float) -> None:
        """Take what the app draws for a while, as a terminal does."""
        read_all([self], seconds)

    def wait_for(self, text: bytes, since: float | None = None, limit: float = 30.0) -> float:
        """Seconds from exec (or a moment) until the text was drawn."""
        since = self.began if since is None else since
        while text not in CONTROL.sub(b"", self.seen):
            if time.perf_counter() - since > limit:
                raise SystemExit(f"{text!r} was not drawn within {limit:g} s")
            self.read(0.005)
        return time.perf_counter() - since

    def open_run(self) -> float:
        """Open the first run of the list; the moment of the key."""
        self.read(1.0)
        self.seen = b""
        os.write(self.fd, b"\r")
        return time.perf_counter()

    def processor_seconds(self) -> float:
        """Processor time so far."""
        return float(sum(psutil.Process(self.pid).cpu_times()[:2]))

    def share(self, seconds: float) -> float:
        """Share of one core over a while, %."""
        before, began = self.processor_seconds(), time.perf_counter()
        self.read(seconds)
        return 100 * (self.processor_seconds() - before) / (time.perf_counter() - began)

    def close(self) -> None:
        """Leave as a closed terminal does."""
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def read_all(apps: list[App], seconds: float) -> None:
    """Take what some apps draw for a while, as their terminals do."""
    of = {app.fd: app for app in apps}
    until = time.perf_counter() + seconds
    while of and (left := until - time.perf_counter()) > 0:
        for fd in select.select(list(of), [], [], left)[0]:
            try:
                of[fd].seen += os.read(fd, 1 << 16)
            except OSError:
                del of[fd]
