"""What happens when a screen asks the app to start, stop, resume, edit, clone or delete a run, or show its log.

Each request is a Textual worker: it asks the user where that is due, does the work in a thread
(`launching`), and says what was done or shows why it could not be. One object, owned by the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import filelock

from fmnist_tui.config import RunConfig
from fmnist_tui.runs import starting, stopping, store
from fmnist_tui.runs.comments import write_comment
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import launching
from fmnist_tui.tui.remedies import only_best_is_left, told
from fmnist_tui.tui.runs_words import not_copied
from fmnist_tui.tui.screens.log import LogScreen

if TYPE_CHECKING:
    from fmnist_tui.tui.app import FmnistApp

T = TypeVar("T")


class Refused(Exception):
    """A request could not be met; the user has been told why."""


async def _until_refused(doing: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(Refused):
        await doing


class Steering:
    """See the module; `app` is where dialogs appear and whose feed is told to look again."""

    def __init__(self, app: FmnistApp) -> None:
        self.app = app
        self._starting = False

    def start(self, config: RunConfig, device: str, queue: bool, gpus: int = 1) -> None:
        """Start a new run and show it."""
        self._work(self._start(config, device, queue, gpus))

    def submit(self, config: RunConfig) -> None:
        """Ask what a Slurm job for a new run is to have, submit it and show the run."""
        self._work(self._show_new(self._submit(config)))

    def act(self, run_id: str, action: str) -> None:
        """Do something to an existing run."""
        run = next((run for run in self.app.runs if run.id == run_id), None)
        if run is None:
            self.app.notify(f"{run_id} is gone.", severity="warning", markup=False)
            return
        actions: dict[str, Callable[[Run], Coroutine[Any, Any, None]]] = {
            "stop": self._stop,
            "resume": self._resume,
            "delete": self._delete,
            "clone": self._clone,
            "config": self._config,
            "log": self._log,
            "mistakes": self._mistakes,
            "edit": self._edit,
            "comment": self._comment,
        }
        self._work(self._as_it_is_now(run, actions[action]))

    async def _as_it_is_now(self, run: Run, action: Callable[[Run], Coroutine[Any, Any, None]]) -> None:
        """The list is a second old, or more on a busy machine: one that has begun since is asked about as at work."""
        await action(await asyncio.to_thread(store.load_run, run.directory, run.config))

    def move(self, run_id: str, by: int) -> None:
        """Give a queued run another place."""
        self._work(self._move(run_id, by))

    def _work(self, doing: Coroutine[Any, Any, None]) -> None:
        self.app.run_worker(_until_refused(doing), group="steering")

    async def _try(self, title: str, function: Callable[..., T], *values: Any) -> T:
        """Call a function in a thread. What it says went wrong is shown; then the request ends (Refused)."""
        try:
            return await asyncio.to_thread(function, *values)
        except filelock.Timeout:
            text = "Another program has held the run's lock for 10 seconds. Try again."
        except (ValueError, OSError) as error:  # RunError, DataError and ConfigError are ValueErrors
            text = told(error)
        raise await self._refused(title, text)

    async def _refused(self, title: str, text: str) -> Refused:
        from fmnist_tui.tui.screens.dialogs import MessageDialog

        await self.app.push_screen_wait(MessageDialog(title, text))
        return Refused()

    def _done(self, text: str) -> None:
        self.app.feed.look()
        self.app.clear_notifications()  # what was said before is done: several would cover the screen
        self.app.notify(text, markup=False)

    async def _start(self, config: RunConfig, device: str, queue: bool, gpus: int) -> None:
        places = (self.app.runs_dir, self.app.data_dir)
        how = (device, not queue, gpus)
        title = f"{config.name} was not started"
        await self._show_new(self._try(title, launching.start, *places, config, *how, self.app.feed.children))

    async def _submit(self, config: RunConfig) -> RunDirectory | None:
        from fmnist_tui.tui.screens.slurm_dialog import SlurmDialog

        title = f"{config.name} was not submitted"
        before = await self._try(title, launching.job_before, list(self.app.runs))
        places = (self.app.runs_dir, self.app.data_dir)
        while (request := await self.app.push_screen_wait(SlurmDialog(config.name, before))) is not None:
            try:
                return await self._try(title, launching.submit, *places, config, request)
            except Refused:  # once more, with what was typed
                before = request.launch
        return None

    async def _show_new(self, making: Coroutine[Any, Any, RunDirectory | None]) -> None:
        """Wait for a new run and show it in place of the form; one at a time."""
        from fmnist_tui.tui.screens.new_run import NewRunScreen

        if self._starting:
            making.close()
            return
        self._starting = True
        try:
            run = await making
        finally:
            self._starting = False
        if run is not None:
            self.app.feed.look()
            await self.app.show_run(run.id, instead_of=NewRunScreen)

    async def _resume(self, run: Run) -> None:
        from fmnist_tui.tui.screens.choice_dialogs import behind_dialog, best_dialog
        from fmnist_tui.tui.screens.dialogs import Edit, EditDialog

        edit, checkpoint = Edit(None, None), "last"
        if await asyncio.to_thread(only_best_is_left, run):
            if await self.app.push_screen_wait(best_dialog(run)) != "best":
                return
            checkpoint = "best"
        longer = run.state is State.FINISHED
        if longer and run.status is not None and run.status.behind:
            answer = await self.app.push_screen_wait(behind_dialog(run))
            if answer not in ("whole", "longer"):
                return
            longer = answer == "longer"
        if longer:
            if ended := starting.at_step_limit(run):
                raise await self._refused(f"{run.name} was not resumed", ended)
            asked = await self.app.push_screen_wait(EditDialog(run, "resume"))
            if asked is None:
                return
            edit = asked
        places = (self.app.data_dir, self.app.feed.children)
        await self._try(f"{run.name} was not resumed", launching.resume, run.directory, *places, *edit, checkpoint)
        kept = await asyncio.to_thread(run.directory.has_checkpoint)
        ahead = any(other.state.alive and other.id != run.id for other in self.app.runs)
        self._done(f"{run.name} {'goes on' if kept else 'starts again'}{', in its turn' if ahead else ''}.")

    async def _stop(self, run: Run) -> None:
        from fmnist_tui.tui.screens.choice_dialogs import stop_dialog

        here = stopping.killable(run, socket.gethostname())
        how = await self.app.push_screen_wait(stop_dialog(run, here))
        title = f"{run.name} was not stopped"
        if how == "kill":
            killed = await self._try(title, launching.kill, run.directory)
            kept = await asyncio.to_thread(run.directory.has_checkpoint)
            then = "r resumes it from its last checkpoint" if kept else "It had no checkpoint yet"
            self._done(f"{run.name} {'was killed' if killed else 'stopped'}. {then}.")
        elif how == "start":
            await self._try(f"{run.name} was not started", launching.start_now, run.directory)
            self._done(f"{run.name} was told to start now.")
        elif how in ("now", "after_epoch"):
            answer = await self._try(title, launching.ask_to_stop, run.directory, how == "after_epoch")
            if answer.how == "left":
                self._done(f"{run.name} was taken out of Slurm's queue. r submits it again.")
                return
            if answer.how == "signalled":
                self.app.feed.look()
                await self._refused(f"{run.name} stops", f"{run.name}: {answer.signal_words}.")
                return
            what = "stop after this epoch" if how == "after_epoch" else "stop with a checkpoint"
            what = "stop at once before, and that holds" if answer.sooner else what
            self._done(f"{run.name} was asked to {'leave the queue' if run.state is State.QUEUED else what}.")

    async def _delete(self, run: Run) -> None:
        from fmnist_tui.report.words import size
        from fmnist_tui.tui.screens.choice_dialogs import delete_dialog

        answer = await self.app.push_screen_wait(delete_dialog(run, *await asyncio.to_thread(launching.on_disk, run)))
        if answer == "delete":
            await self._try(f"{run.name} was not deleted", launching.delete, run.directory)
            self._done(f"{run.id} is deleted.")
        elif answer == "prune":
            freed = await self._try(f"{run.name} keeps its checkpoints", launching.prune, run.directory)
            self._done(f"{size(freed)} freed; {run.name} keeps its last checkpoint.")

    async def _move(self, run_id: str, by: int) -> None:
        directory = RunDirectory(self.app.runs_dir / run_id)
        place = await self._try(f"{run_id} was not moved", launching.move, directory, by)
        self._done(f"{run_id} is {'the next' if place == 1 else f'in place {place}'} now.")

    async def _clone(self, run: Run) -> None:
        if run.config is not None:
            await self.app.show_copy(run.config)
            if said := await asyncio.to_thread(not_copied, run):
                self.app.notify(said, timeout=10, markup=False)

    async def _log(self, run: Run) -> None:
        await self.app.show_screen(LogScreen(run.id))

    async def _config(self, run: Run) -> None:
        from fmnist_tui.tui.screens.run_config import RunConfigScreen

        await self.app.push_screen(RunConfigScreen(run))

    async def _comment(self, run: Run) -> None:
        from fmnist_tui.tui.screens.dialogs import CommentDialog

        text = await self.app.push_screen_wait(CommentDialog(run))
        if text is not None:
            await self._try(f"{run.name} keeps its comment", write_comment, run.directory, text)
            self._done(f"{run.name}: comment {'written' if text.strip() else 'removed'}.")

    async def _mistakes(self, run: Run) -> None:
        from fmnist_tui.tui.screens.mistakes import MistakesScreen

        await self.app.show_screen(MistakesScreen(run.id, self.app.data_dir, self.app.glyphs))

    async def _edit(self, run: Run) -> None:
        from fmnist_tui.tui.screens.dialogs import EditDialog

        if run.status is None or not run.state.at_work:
            raise await self._refused(
                f"{run.name} was not changed", f"It is {run.state}; only a run at work can be edited."
            )
        edit = await self.app.push_screen_wait(EditDialog(run, "edit"))
        if edit is not None:
            await self._try(f"{run.name} was not changed", launching.edit, run.directory, *edit)
            self._done(f"{run.name} was asked; its answer appears among its events.")
