"""Fixtures of the unit tests: configurations, runs, processes that end with the test, programs in Slurm's place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting
from fmnist_tui.runs.layout import RunDirectory
from tests.unit.queued import Someone


@pytest.fixture
def config() -> RunConfig:
    """A small one."""
    return load_preset("quick")


@pytest.fixture
def permissions_bind(tmp_path: Path) -> None:
    """Skips where file permissions do not bind this user (root)."""
    closed = tmp_path / "closed"
    closed.touch(mode=0)
    try:
        closed.read_bytes()
    except PermissionError:
        return
    finally:
        closed.unlink()
    pytest.skip("file permissions do not bind this user")


@pytest.fixture
def empty_run(runs_dir: Path) -> RunDirectory:
    """A run directory with nothing in it."""
    directory = RunDirectory(runs_dir / "20260101-000000-x-aaaa")
    directory.path.mkdir(parents=True)
    return directory


@pytest.fixture
def children() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python processes that are gone when the test is over; each says 'ready' when its code says so."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture
def nobody_is_left() -> Iterator[None]:
    """Ends the workers of `queued` with the test."""
    yield
    for person in Someone.living:
        person.die()
    Someone.living.clear()


@pytest.fixture
def new_run(runs_dir: Path) -> RunDirectory:
    """A run that has just been made."""
    return starting.create_run(runs_dir, load_preset("quick"), device="cpu")


@pytest.fixture(params=["bf16", "fp32"])
def kernels_used(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels of `models.kernels` for images of one dtype in use, whatever the test leaves behind."""
    import torch

    from fmnist_tui.models import kernels
    from fmnist_tui.models.kernels import build
    from tests.unit import kernel_inputs

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[request.param]
    monkeypatch.setattr(kernel_inputs, "dtype", dtype)
    try:
        build.library(dtype)
    except build.Unavailable as error:
        pytest.skip(f"no kernels here: {error}")
    assert kernels.problem(dtype) is None
    threads = torch.get_num_threads()
    kernels.use(dtype)
    try:
        yield
    finally:
        kernels.use(None)
        torch.set_num_threads(threads)
