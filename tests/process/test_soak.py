"""The soak of docs/faults.md fits the trainer as it is: a worker that it forks is known by its pid and finishes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_tui.runs import store
from fmnist_tui.runs.status import State
from tests.process.cli_helpers import SECONDS, environment

ROOT = Path(__file__).resolve().parents[2]
FORKED = """
import sys
from pathlib import Path
from scripts import soak

config = soak.parse_config(soak.CONFIG | {"training": {"epochs": 1, "max_steps": 2, "batch_size": 32}})
run = soak.starting.create_run(Path(sys.argv[1]), config, device="cpu")
worker = soak.ForkedWorker(run)
print(worker.pid, soak.store.load_run(run).status.pid, worker.wait())
"""


def test_a_worker_forked_by_the_soak_is_known_and_finishes(runs_dir: Path) -> None:
    if not (ROOT / "scripts" / "soak.py").is_file():
        pytest.skip("the scripts are not part of the installed package")
    done = subprocess.run(
        [sys.executable, "-c", FORKED, str(runs_dir)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment() | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    pid, noted, code = done.stdout.split()
    assert noted == pid and code == "0", done.stdout
    (run,) = store.list_runs(runs_dir)
    assert run.state is State.FINISHED
