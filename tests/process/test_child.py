"""A process that measures does not outlive the app or command that started it, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.presets import load_preset

CHILD = """
import threading
from fmnist_tui.training.child import answer

def measure(config):
    yield {"phase": "a step of a week"}
    threading.Event().wait(7 * 24 * 3600)

answer(measure)
"""
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, start_new_session=True)
child.stdin.write(sys.stdin.buffer.read())
child.stdin.close()
print(child.pid, flush=True)
child.wait()
"""


@pytest.fixture
def config() -> RunConfig:
    return load_preset("quick")


def test_a_measuring_process_dies_with_the_one_that_was_killed(config: RunConfig) -> None:
    """It says nothing for a week: no broken pipe would tell it."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin and parent.stdout
    parent.stdin.write(config.model_dump_json())
    parent.stdin.close()
    lines = [parent.stdout.readline(), parent.stdout.readline()]  # the pid, and the child's phase, in either order
    child = psutil.Process(int(next(line for line in lines if line.strip().isdigit())))
    try:
        assert any("a step of a week" in line for line in lines)
        assert child.is_running()
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        gone, _ = psutil.wait_procs([child], timeout=60)
        assert gone
    finally:
        parent.kill()
        if child.is_running():
            child.kill()
        parent.stdout.close()
