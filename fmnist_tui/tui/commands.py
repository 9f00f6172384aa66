"""What the command palette (Ctrl+P) offers: places, themes, the run under the cursor, and every run by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.screen import Screen

from fmnist_tui.runs.store import Run
from fmnist_tui.tui.messages import CompareRequested, OpenRun, RunActionRequested
from fmnist_tui.tui.runs_words import NEEDS
from fmnist_tui.tui.widgets.header import TABS

if TYPE_CHECKING:
    from fmnist_tui.tui.app import FmnistApp

_ACTIONS = (
    ("stop", "now with a checkpoint, after this epoch, or kill it"),
    ("edit", "more or fewer epochs, stop at an accuracy"),
    ("resume", "go on from the last checkpoint"),
    ("clone", "a new run of the same configuration"),
    ("config", "every setting, and its difference from the preset"),
    ("mistakes", "which classes it takes for which, and the images"),
    ("log", "what its worker printed"),
    ("comment", "a line about it: why it was started, what came of it"),
    ("delete", "with its checkpoints"),
)
_ABOUT = {
    "runs": "every run, and what to do with it",
    "new": "choose a preset, edit it, start it",
    "benchmarks": "finished runs beside the reference results",
    "system": "GPUs and host now",
}


def commands(app: FmnistApp, screen: Screen[object]) -> Iterable[SystemCommand]:
    """Every command that makes sense where one is."""
    for tab in TABS:
        yield SystemCommand(f"Go to {tab.title}", _ABOUT[tab.place], partial(app.action_go, tab.place))
    yield from _run_commands(app, screen)
    yield from _comparisons(app, screen)
    for run in app.runs:
        yield SystemCommand(
            f"Open {run.name} {run.id}", f"{run.state}", partial(app.post_message, OpenRun(run.id)), discover=False
        )
    yield SystemCommand("Light or dark", "switch between the app's light and dark theme", app.action_toggle_light)
    yield SystemCommand("Theme", "choose one of all themes", app.action_change_theme)
    bell = "Bell off" if app.rings else "Bell on"
    yield SystemCommand(bell, "the terminal's bell when a run ends", app.action_toggle_bell)
    yield SystemCommand("Keys", "every key of this screen", app.action_help)
    yield SystemCommand("Screenshot", "save this screen as an SVG file", partial(app.deliver_screenshot))
    yield SystemCommand("Detach", "leave the app; runs go on", app.action_detach)


def _comparisons(app: FmnistApp, screen: Screen[object]) -> Iterable[SystemCommand]:
    """The marked runs side by side; the run under the cursor (or on screen) beside the best of its preset."""
    from fmnist_tui.tui.ghost import find_ghost
    from fmnist_tui.tui.screens.runs import RunsScreen

    if isinstance(screen, RunsScreen) and len(marked := screen.to_compare) >= 2:
        ask = partial(app.post_message, CompareRequested(marked))
        yield SystemCommand("Compare the marked runs", f"{len(marked)} of them side by side", ask)
    run = _run_here(app, screen)
    earlier = find_ghost(run, app.runs) if run is not None else None
    if run is not None and earlier is not None:
        ask = partial(app.post_message, CompareRequested([run.id, earlier.id]))
        yield SystemCommand(f"Compare {run.name} with the best earlier run", f"{earlier.id}, same preset", ask)


def _run_here(app: FmnistApp, screen: Screen[object]) -> Run | None:
    """The run under the cursor, or the one whose screen this is."""
    from fmnist_tui.tui.screens.base import FeedScreen
    from fmnist_tui.tui.screens.runs import RunsScreen

    if isinstance(screen, RunsScreen):
        return screen.selected
    watched = screen.watched_run if isinstance(screen, FeedScreen) else None
    return next((run for run in app.runs if run.id == watched), None)


def _run_commands(app: FmnistApp, screen: Screen[object]) -> Iterable[SystemCommand]:
    """What can be done to the run under the cursor, or to the one whose screen this is."""
    run = _run_here(app, screen)
    if run is None:
        return
    for action, about in _ACTIONS:
        if NEEDS[action](run):
            ask = partial(app.post_message, RunActionRequested(run.id, action))  # type: ignore[arg-type]
            yield SystemCommand(f"{action.capitalize()} {run.name}", about, ask)
