"""The whole product from the keyboard, in a real terminal, with a real worker."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmnist_tui.runs import process, requests, store
from fmnist_tui.runs.status import State, Status

Open = Callable[..., Any]


def only_run(runs_dir: Path) -> store.Run:
    (run,) = store.list_runs(runs_dir)
    return run


def status_of(runs_dir: Path) -> Status:
    status = only_run(runs_dir).status
    assert status is not None
    return status


def test_start_watch_leave_return_stop_resume_finish(terminal: Open, runs_dir: Path) -> None:
    """Start a quick run, see its curve move, quit, see it go on, come back, stop it, resume it, see it in the table."""
    app = terminal()
    app.wait_for("1 Runs")
    app.press("n")
    app.wait_for("What would happen")
    app.press("C-s")
    try:
        app.wait_for(r"running on cpu", 90)
        first = app.wait_for(r"epoch 1 of 8", 90)
        app.wait_for(r"[0-9]+/47 ", 90)
        moved = app.wait_until(lambda screen: curve_cells(screen) > curve_cells(first) + 5, "the curve moves", 90)
        assert "Loss" in moved
        app.press("q")
        app.wait_until(lambda _: app.ended, "the app leaves")
        step = status_of(runs_dir).step
        assert only_run(runs_dir).state is State.RUNNING
        again = terminal(size=(80, 24))
        again.wait_for(r"running +quick", 30)
        assert status_of(runs_dir).step >= step
        again.press("s")
        again.wait_for("Now, with a checkpoint")  # not the footer, which says Stop before
        again.press("Enter")
        again.wait_for(r"stopped +quick", 60)
        assert only_run(runs_dir).state is State.STOPPED and only_run(runs_dir).directory.checkpoint("last").exists()
        again.press("r")
        again.wait_for(r"(starting|running) +quick", 60)
        again.wait_until(lambda _: only_run(runs_dir).state is State.RUNNING, "the worker is at work again", 90)
        last = status_of(runs_dir).epoch  # what is left of the 8 epochs would show nothing more
        requests.send_request(only_run(runs_dir).directory, "edit", epochs=last)
        again.wait_for(r"finished +quick", 300)
        result = only_run(runs_dir).result
        assert result is not None and result.starts == 2 and last <= result.epochs <= 8
        again.press("3")
        table = again.wait_for(r"WRN-10-2|quick", 20)
        assert f"{result.test_accuracy:.2f}" in table
        again.press("q")
        again.wait_until(lambda _: again.ended, "the app leaves")
    finally:
        process.kill_worker(status_of(runs_dir))


def test_errors_that_go_to_a_file_leave_the_app_on_the_screen(terminal: Open, tmp_path: Path) -> None:
    app = terminal(errors=str(tmp_path / "log"))
    app.wait_for("1 Runs")
    app.press("q")
    app.wait_until(lambda _: app.ended, "the app leaves")
    assert (tmp_path / "log").read_text() == ""


def curve_cells(screen: str) -> int:
    """Braille cells on the screen: what the curves are drawn with."""
    return len(re.findall("[\u2801-\u28ff]", screen))
