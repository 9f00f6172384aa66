"""`scripts/measure_app.py`: what the app costs, measured as the README says, and how that is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if not (Path(__file__).parents[2] / "scripts" / "measure_app.py").is_file():
    pytest.skip("the scripts are not part of the installed package", allow_module_level=True)
from scripts import measure_app

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script as a user runs it, from the repository's root."""
    command = [sys.executable, "scripts/measure_app.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300)


def test_the_start_is_measured_from_the_repository_s_root() -> None:
    done = run("start", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    number = r"[0-9]+\.[0-9]{2}"
    assert re.fullmatch(rf"start-up with 200 runs: {number} \(from {number} to {number}\) s \(1 starts\)", first)
    assert last.startswith("load average now ")


def test_what_cannot_be_measured_is_named() -> None:
    done = run("watch", "nothing")
    assert done.returncode == 2 and "unknown: nothing; there are start, long, watch, beside" in done.stderr


def test_one_app_costs_its_share_of_what_several_do() -> None:
    whole, each = measure_app.costs([0.99] * 20, "all cores", 10)
    assert "with 10 apps / without: median 0.9900, 95 % bootstrap interval 0.9900 to 0.9900" in whole
    assert each == "so one app costs 0.10 % (0.10 to 0.10)"
    assert len(measure_app.costs([0.99] * 20, "all cores", 1)) == 1
