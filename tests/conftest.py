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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine has not got, with the reason."""
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
