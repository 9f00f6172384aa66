"""The app: owns the stack of screens. What it hears from the feed and hands on is its base, `listening`.

Started by the command line (`run_app`). What it does to runs is `steering`; what screens show is theirs.

The stack is the Runs screen, at most one other place above it (New run, Benchmarks, GPU: kept while the app
lives, so a half-filled form is not lost), then a run, its log, dialogs. Escape goes back one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import Theme

from fmnist_tui import paths
from fmnist_tui.config import RunConfig
from fmnist_tui.tui import format as words
from fmnist_tui.tui import session, terminal
from fmnist_tui.tui.listening import ListeningApp
from fmnist_tui.tui.messages import (
    CompareRequested,
    OpenRun,
    RunActionRequested,
    StartRequested,
)
from fmnist_tui.tui.screens.base import FeedScreen
from fmnist_tui.tui.screens.runs import RunsScreen
from fmnist_tui.tui.steering import Steering
from fmnist_tui.tui.widgets.header import TABS, Place

CHANGED = (
    "error: The program was changed (pip install -U?) while this app was open, which ended it. Start it again; "
    "runs go on."
)


def _palette() -> type[Provider]:
    from fmnist_tui.tui.palette import LiteralCommands

    return LiteralCommands


def run_app(runs_dir: Path, data_dir: Path | None) -> int:
    """Show the app until the user leaves; runs go on without it. Returns 0, or 1 where an error of the app ended it."""
    terminal.give_size()
    terminal.draw_on_stdout()
    program = session.Program()
    app = FmnistApp(runs_dir, data_dir)
    app.run()
    if app.return_code == 1 and program.is_another:
        print(CHANGED, file=sys.stderr)
    return app.return_code or 0


class FmnistApp(ListeningApp):
    """See the module."""

    TITLE = "fmnist-tui"
    CSS_PATH = Path(__file__).with_name("app.tcss")
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_palette}
    BINDINGS: ClassVar[list[BindingType]] = [
        *[Binding(tab.key, f"app.go('{tab.place}')", tab.title, show=False) for tab in TABS],
        Binding("question_mark", "app.help", "Keys", key_display="?"),
        Binding("f1", "app.help", "Keys"),  # and ctrl+q: where ? and q are text that is typed
        Binding("q", "app.detach", "Detach", tooltip="leave the app; runs go on"),
        Binding("ctrl+q", "app.detach", "Detach", priority=True, tooltip="leave the app; runs go on"),
        Binding("f2", "app.toggle_light", "Light or dark", show=False),
    ]

    def __init__(self, runs_dir: Path, data_dir: Path | None) -> None:
        self.ascii_only = words.wants_ascii()
        self._control_filter = terminal.ControlFilter()
        self._ascii_filter = terminal.AsciiFilter()
        super().__init__(runs_dir)
        self.data_dir = data_dir
        self.steering = Steering(self)
        self._places: dict[Place, FeedScreen] = {}
        terminal.set_themes(self)

    @property
    def glyphs(self) -> words.Glyphs:
        """What this terminal can show."""
        return words.ASCII if self.ascii_only else words.UNICODE

    def now(self) -> datetime:
        """The time, for everything on screen that depends on it."""
        return datetime.now(UTC)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Everything drawn, by whatever widget, passes through here."""
        filters = [*super().get_line_filters(), self._control_filter]
        return [*filters, self._ascii_filter] if self.ascii_only else filters

    def get_key_display(self, binding: Binding) -> str:
        """Keys by their names, not as arrows and symbols that few know."""
        return binding.key_display or terminal.key_name(binding.key)

    @property
    def kept_screens(self) -> Iterable[FeedScreen]:
        """The places, also while they are not on the stack."""
        return self._places.values()

    # --- opening and closing

    def get_default_screen(self) -> Screen[None]:
        """Home."""
        return RunsScreen(self.runs_dir, self.glyphs, self.now)

    def on_mount(self) -> None:
        """Listen for the signals that end a session, and keep the theme that is chosen in it."""
        session.leave_on_signals(self)
        shown = self.theme

        def keep(theme: Theme) -> None:
            nonlocal shown
            if theme.name != shown:
                shown = theme.name
                self.run_worker(partial(terminal.keep_choice, "theme", shown), thread=True, group="theme")

        self.theme_changed_signal.subscribe(self, keep)

    def action_detach(self) -> None:
        """Leave, and say what goes on."""
        going = [run.name for run in self.runs if run.state.alive]
        shows = f"{paths.command_line(of=self.runs_dir)} shows {'it' if len(going) == 1 else 'them'} again."
        said = f"Going on without the app: {', '.join(going)}. {shows}"
        self.exit(message=Text(said) if going else None)

    async def action_quit(self) -> None:
        """The same under Textual's name."""
        self.action_detach()

    def action_help_quit(self) -> None:
        """Ctrl+C: people mean to leave, or to stop a run; say how."""
        self.notify("q leaves the app, runs go on. To stop a run, press s on it.")

    # --- going places

    async def action_go(self, place: Place) -> None:
        """Show one of the four places."""
        if place == "runs":
            while len(self.screen_stack) > 1:
                await self.pop_screen()
            return
        screen = self._place(place)
        self.coming.add(screen)
        if screen in self.screen_stack:
            while self.screen is not screen:
                await self.pop_screen()
        elif self.screen in self._places.values():
            await self.switch_screen(screen)
        else:
            await self.push_screen(screen)
        self.brief(screen)

    def _place(self, place: Place) -> FeedScreen:
        """The screen of a place, made when it is first gone to."""
        if place not in self._places:
            screen: FeedScreen
            if place == "new":
                screen = self._new_run_screen(None)
            elif place == "benchmarks":
                from fmnist_tui.tui.screens.benchmarks import BenchmarksScreen

                screen = BenchmarksScreen(self.runs_dir, self.glyphs)
            else:
                from fmnist_tui.tui.screens.system import SystemScreen

                screen = SystemScreen(self.history, str(self.runs_dir), self.glyphs)
            self.install_screen(screen, place)
            self._places[place] = screen
        return self._places[place]

    @staticmethod
    def _new_run_screen(config: RunConfig | None) -> FeedScreen:
        from fmnist_tui.tui.screens.new_run import NewRunScreen  # presets, previews: not for the first frame

        return NewRunScreen(config)

    async def show_screen(self, screen: FeedScreen, instead_of: type[Screen[None]] | None = None) -> None:
        """Put a screen on the stack, in the place of the top one where that is an `instead_of`."""
        self.coming.add(screen)
        if instead_of is not None and isinstance(self.screen, instead_of):
            await self.switch_screen(screen)
        else:
            await self.push_screen(screen)
        self.brief(screen)

    async def show_run(self, run_id: str, instead_of: type[Screen[None]] | None = None) -> None:
        """Show a run's screen, or go back to it where it is on the stack."""
        from fmnist_tui.tui.screens.run import RunScreen  # charts: not for the first frame

        there = next((s for s in self.screen_stack if isinstance(s, RunScreen) and s.watched_run == run_id), None)
        if there is None:
            await self.show_screen(RunScreen(run_id, self.now), instead_of)
            return
        while self.screen is not there:
            await self.pop_screen()

    async def show_comparison(self, run_ids: Sequence[str]) -> None:
        """Show several runs side by side."""
        from fmnist_tui.tui.screens.compare import CompareScreen  # charts: not for the first frame

        await self.show_screen(CompareScreen(run_ids, self.data_dir), CompareScreen)

    async def show_copy(self, config: RunConfig) -> None:
        """A form of its own for a run like another; the place's own form stays as it is."""
        await self.show_screen(self._new_run_screen(config))

    async def action_back(self) -> None:
        """One screen back; home has none."""
        if len(self.screen_stack) > 1:
            await self.pop_screen()

    def action_help(self) -> None:
        """Every key of this screen."""
        from fmnist_tui.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen))

    def action_toggle_light(self) -> None:
        """From dark to light and back."""
        terminal.toggle_light(self)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What Ctrl+P offers beside Textual's own."""
        from fmnist_tui.tui.commands import commands

        yield from commands(self, screen)

    # --- what screens ask for

    def on_key(self, event: events.Key) -> None:
        """Nobody has taken the key, and every key before it has been done: its binding comes next, or its excuse."""
        if isinstance(self.screen, FeedScreen):
            self.screen.say_why_not(event.key)

    async def on_open_run(self, message: OpenRun) -> None:
        """A run was chosen."""
        await self.show_run(message.run_id)

    async def on_compare_requested(self, message: CompareRequested) -> None:
        """Several runs were chosen."""
        await self.show_comparison(message.run_ids)

    def on_start_requested(self, message: StartRequested) -> None:
        """A new run was asked for."""
        if message.slurm:
            self.steering.submit(message.config)
        else:
            self.steering.start(message.config, message.device, message.queue, message.gpus)

    def on_runs_screen_move_requested(self, message: RunsScreen.MoveRequested) -> None:
        """A queued run is to change places."""
        self.steering.move(message.run_id, message.by)

    def on_run_action_requested(self, message: RunActionRequested) -> None:
        """Something is to be done to a run."""
        self.steering.act(message.run_id, message.action)
