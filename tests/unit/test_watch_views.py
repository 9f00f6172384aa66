"""What a watched run looks like: plain lines, JSON, and the live display."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from fmnist_tui.console.feed import RunFeed
from fmnist_tui.console.live import LiveView
from fmnist_tui.console.views import JsonView, PlainView
from fmnist_tui.runs import store
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EventRecord
from fmnist_tui.runs.status import State
from tests.unit.watched import alive_here, change_status, evaluation, train_line, write_lines


def test_plain_lines_tell_evaluations_and_events_and_hold_no_control_codes(new_run: RunDirectory) -> None:
    output = io.StringIO()
    view = PlainView(Console(file=output, markup=False, highlight=False, width=60))
    alive_here(new_run, epochs=12)
    event = EventRecord(event="warning", message="[red]about 5 days[/red] at 16 images/s on this CPU")
    checkpoint = EventRecord(event="checkpoint", message="written")
    write_lines(new_run, train_line(1, 2.3), evaluation(3, 81.234), event, checkpoint)
    state, lines = RunFeed(new_run).read()
    view.start(state)
    view.update(state, lines)
    assert output.getvalue().splitlines() == [
        f"run {new_run.id}",
        "epoch  3/12  test 81.23 %  train 82.23 %  test loss 0.5  train loss 0.25",
        "warning: [red]about 5 days[/red] at 16 images/s on this CPU",
    ]


def test_json_lines_are_strict_even_where_the_loss_is_not_finite(
    new_run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(new_run, train_line(1, float("nan")))
    change_status(new_run, state=State.FAILED, loss=float("inf"), exit_code=4, error="the loss was not finite")
    view = JsonView()
    state, lines = RunFeed(new_run).read()
    view.start(state)
    view.update(state, lines)
    view.end(state)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    first, line, last = (json.loads(text, parse_constant=refuse) for text in capsys.readouterr().out.splitlines())
    assert first == {"kind": "run", "id": new_run.id, "directory": str(new_run.path)}
    assert (line["kind"], line["loss"]) == ("train", "NaN")
    assert (last["kind"], last["state"], last["loss"]) == ("status", "failed", "Infinity")


AT_WORK: dict[str, Any] = {
    "epoch": 3,
    "epochs": 8,
    "step": 110,
    "steps": 376,
    "steps_per_epoch": 47,
    "loss": 0.41234,
    "lr": 0.0812345,
    "test_accuracy": 81.0,
    "best_accuracy": 83.5,
    "best_epoch": 1,
    "images_per_second": 2345.6,
    "eta_seconds": 80.0,
    "device_name": "AMD EPYC, 2 threads",
}
SHOWN = (
    "● running",
    "cpu, AMD EPYC",
    "epoch 3 of 8  29.3 %",
    "1 m 20 s left",
    "step 16 of 47",
    "2,346 img/s",
    "test 81.00 %",
    "best 83.50 % (epoch 1)",
    "loss 0.4123",
    "lr 0.08123",
)
"""What the live display says of a run of which this is known."""


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_display_fits_and_shows_the_run(new_run: RunDirectory, width: int) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, height=24, color_system=None, markup=False)
    view = LiveView(console)
    alive_here(new_run, **AT_WORK)
    write_lines(new_run, evaluation(2, 81.0))
    state, lines = RunFeed(new_run).read()
    view.start(state)
    view.update(state, lines)
    view.say("Stopping")
    view.update(state, [])
    view.close()
    screen = output.getvalue()
    with console.capture() as capture:
        console.print(view.render(state))
    shown = capture.get().splitlines()
    assert all(len(line) <= width for line in shown)
    text = "\n".join(shown)
    for part in (new_run.id, "train 82.00 %", "Stopping", *SHOWN):
        assert part in text, part
    assert "epoch 2/8  test 81.00 %" in screen
    assert screen.rfind("\x1b[?25h") > screen.rfind("\x1b[?25l") >= 0, "the cursor comes back"


def test_the_live_display_before_the_first_step_and_with_a_loss_that_is_not_finite(new_run: RunDirectory) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    view = LiveView(console)
    with console.capture() as capture:
        console.print(view.render(store.load_run(new_run)))
    assert "starting" in capture.get() and "epoch" not in capture.get()
    alive_here(new_run, step=1, steps=10, steps_per_epoch=5, epoch=1, epochs=2, loss=float("nan"))
    with console.capture() as capture:
        console.print(view.render(store.load_run(new_run)))
    assert "loss nan" in capture.get() and "test" not in capture.get()
