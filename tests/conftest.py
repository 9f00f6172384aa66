"""Fixtures for all tests: nobody's own configuration, caches or runs are seen or touched.

Tests marked `full_data` and `gpu` run where the files and the device are. FMNIST_TUI_REQUIRE_FULL_DATA=1 (set
by CI, which installs the files) runs the former in any case, so that a missing data set can't hide them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from fmnist_tui import paths
from fmnist_tui.data import files
from fmnist_tui.runs import jobs, process
from tests.unit.slurm_programs import Program

REQUIRE_FULL_DATA = os.environ.get("FMNIST_TUI_REQUIRE_FULL_DATA") == "1"
FULL_DATA_DIR = Path(os.environ.get("FMNIST_TUI_DATA_DIR") or paths.DEBIAN_DATA_DIR)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background so, and what the tests start, and interrupt, would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before torch is loaded. pytest-xdist's processes share the cores: networks as small as the tests' take up to five
# times the processor time where two threads of each wait for one another. Tests of threads set their own.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", process.SPIN_COUNT)

if sys.dont_write_bytecode:
    # The tests start some hundreds of processes, and pytest rewrites their assertions: once is enough.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


LONG = (
    "unit/test_rules.py::test_mypy",
    "terminal/test_end_to_end.py",
    "training/test_numerics.py::test_bf16_ends",
    "training/test_measure_kernels.py::test_steps",
    "training/test_turbo_run.py::test_stopped",
    "training/test_compiled_runs.py::test_inductor",
    "process/test_slurm_cluster.py",
    "process/test_full_disks.py",
    "process/test_ranks.py",
    "process/test_repeat.py::test_a_repeat",
    "process/test_cli_imports.py::test_bench",
    "process/test_bench_scaling.py",
    "training/test_gpu_session.py",
    "process/test_submitit.py",
)
"""Tests and files of tests that take ten seconds and more, the longest first."""


def longest_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """So that none is left for the end, where the other process of pytest-xdist would have nothing more to do.

    Each of its two processes begins with one half of the tests, and at last takes over half of what the other has. The
    tests of a file stay together, for they may share what took long to make.
    """
    places = {item: at for item in items for at, name in enumerate(LONG) if item.nodeid.startswith(f"tests/{name}")}
    others = [item for item in items if item not in places]
    halves = [sorted((item for item in places if places[item] % 2 == half), key=places.__getitem__) for half in (0, 1)]
    middle = max(0, len(items) // 2 - len(halves[0]))
    return [*halves[0], *others[:middle], *halves[1], *others[middle:]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine has not got, with the reason; order the tests."""
    items[:] = longest_first(items)
    has_data = all(files.locate(FULL_DATA_DIR, spec.name) for spec in files.FULL_FILES)
    for item in items:
        if item.get_closest_marker("full_data") and not has_data and not REQUIRE_FULL_DATA:
            item.add_marker(pytest.mark.skip(reason=f"the full data set is not in {FULL_DATA_DIR}"))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))


@pytest.fixture(scope="session")
def common_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache directory of this session's tests: the first run that wants kernels for the CPU has them built."""
    cache = tmp_path_factory.mktemp("cache")
    if "PYTEST_XDIST_WORKER" in os.environ:  # the kernels of one process are those of all
        kernels = tmp_path_factory.getbasetemp().parent / "kernels"
        kernels.mkdir(mode=0o700, exist_ok=True)
        (cache / paths.kernels_dir().name).symlink_to(kernels)
    return cache


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, common_cache: Path) -> None:
    """Hide the user's settings: directories of their own, no FMNIST_TUI_* variables, cwd in tmp_path."""
    for variable in list(os.environ):
        if variable.startswith("FMNIST_TUI_"):
            monkeypatch.delenv(variable)
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"FMNIST_TUI_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("FMNIST_TUI_CACHE_DIR", str(common_cache))
    monkeypatch.delenv("GOMP_SPINCOUNT")  # a worker has its own, unless somebody has set it
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """A runs directory that does not exist yet."""
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def full_data_dir() -> Path:
    """Where the full data set lies (tests marked `full_data`)."""
    return FULL_DATA_DIR


@pytest.fixture
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm was asked nothing yet."""
    monkeypatch.setattr(jobs, "_known", jobs._Known())


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script where Slurm's program of that name is looked for; it notes each call in NAME.calls."""
    here = tmp_path / "bin"
    here.mkdir()
    monkeypatch.setenv("PATH", f"{here}:/usr/bin:/bin")
    for name in ("squeue", "scontrol", "sacct", "scancel", "sbatch", "srun"):
        (here / name).write_text("#!/bin/sh\nexit 1\n")
        (here / name).chmod(0o755)

    def write(name: str, script: str) -> Path:
        calls = here / f"{name}.calls"
        (here / name).write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{script}\n')
        return calls

    return write
