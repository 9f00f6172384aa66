"""Errors of the Python API say what is wrong and what helps in a caller's words: arguments, no options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui import api
from fmnist_tui.api_words import PYTHON
from fmnist_tui.config import RunConfig
from fmnist_tui.data.files import FULL_FILES
from fmnist_tui.presets import load_preset
from fmnist_tui.remedies import COMMAND_LINE, Told
from tests.unit.cli_runs import finished_run, make_run


def raised(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(ValueError) as caught:
        call(*arguments, **options)
    text = str(caught.value)
    assert isinstance(caught.value, Told) and "--" not in text.replace("fetch --data-dir", "") and "RUN = " not in text
    return text


def test_a_run_that_is_not_found(runs_dir: Path, config: RunConfig) -> None:
    assert raised(api.load_run) == (
        f"name = 'last': there are no runs in {runs_dir}; "
        "runs_dir names another directory; in a shell, `fmnist-tui run preset quick` starts a run"
    )
    made = [make_run(runs_dir, config), make_run(runs_dir, config)]
    newest = made[1].id
    assert (
        raised(api.load_run, "zzz") == f"name = 'zzz': no run in {runs_dir} has this in its id; the newest is {newest}"
    )
    assert raised(api.load_run, "quick").startswith("name = 'quick': matches 2 runs (")
    assert raised(api.load_run, "") == f"name = '': is empty; give any part of an id, or 'last', which is {newest}"


def test_a_runs_directory_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    for call in (api.runs, api.benchmark_table):
        assert raised(call, file) == f"runs_dir = {file}: is a file; name a directory"
    assert raised(api.load_run, runs_dir=file) == f"runs_dir = {file}: is a file; name a directory"
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", str(file))
    assert raised(api.runs) == f"FMNIST_TUI_RUNS_DIR = {file}: is a file; name a directory"
    other = tmp_path / "other"
    other.touch()
    assert raised(api.runs, str(other)).startswith(f"runs_dir = {other}: ")


def test_data_that_can_not_be_had(runs_dir: Path, tmp_path: Path) -> None:
    make_run(runs_dir, load_preset("wrn"))
    text = raised(api.test_set, api.load_run(), tmp_path / "none")
    assert f"tried {tmp_path / 'none'}" in text
    assert text.endswith("gets the full data set; data_dir names another directory that holds it.")
    for spec in FULL_FILES:
        (tmp_path / spec.name).write_bytes(b"x")
    text = raised(api.test_set, api.load_run(), tmp_path)
    assert f"`fmnist-tui data fetch --data-dir {tmp_path}` replaces damaged files; data_dir names another" in text


def test_another_checkpoint_is_named_as_which_it_is(runs_dir: Path) -> None:
    finished_run(runs_dir)
    run = api.load_run()
    for name in ("last", "best"):
        run.directory.checkpoint(name).write_bytes(b"")
    text = raised(api.model_from_checkpoint, run, "last")
    assert text.endswith("last.pt: is damaged: it is empty; there is another: which='best'")
    run.directory.checkpoint("last").unlink()
    assert raised(api.model_from_checkpoint, run, "previous").endswith(
        "no such checkpoint; there is another: which='best'"
    )


def test_each_is_a_remedy() -> None:
    assert set(PYTHON) <= set(COMMAND_LINE)
