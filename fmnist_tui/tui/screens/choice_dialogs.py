"""Questions with a few answers: how to stop a run, whether to delete it, what to resume it from.

Pushed by `tui.steering` alone; dismissed with the answer's value, with None on escape.
"""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from fmnist_tui.report.words import size
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.screens.dialogs import WIDTH, Dialog


class Choice(NamedTuple):
    """An answer: the key that gives it, what it is called, what it does, and what the dialog is dismissed with."""

    key: str
    label: str
    help: str
    value: str


INDENT, FRAME = 4 * " ", 5
"""Before what an answer does; cells of the box's border, padding and scroll bar."""


class ChoiceDialog(Dialog[str]):
    """A question with a few answers: by their keys, with the arrows and enter, or with the mouse."""

    def __init__(self, title: str, text: str, choices: list[Choice]) -> None:
        super().__init__(title, "esc cancels")
        self._text = text
        self._choices = choices

    def compose(self) -> ComposeResult:
        """The question and the list of answers."""
        with Vertical(classes="dialog"):
            if self._text:
                yield Static(Content(self._text), classes="dialog-text")
            options = [Option(self._prompt(choice), id=choice.value) for choice in self._choices]
            yield OptionList(*options, classes="dialog-scroll")

    def on_resize(self) -> None:
        """What an answer does goes on under itself, not under its key: so it is wrapped for the width there is."""
        for at, choice in enumerate(self._choices):
            self.query_one(OptionList).replace_option_prompt_at_index(at, self._prompt(choice))
        super().on_resize()

    def _prompt(self, choice: Choice) -> Content:
        parts = [(f" {choice.key} ", "bold $primary"), (f" {choice.label}", "bold")]
        room = min(WIDTH, self.size.width) - FRAME - len(INDENT)
        lines = textwrap.wrap(choice.help, max(8, room))
        parts += [(f"\n{INDENT}{line}", "$foreground-muted") for line in lines]
        return Content.assemble(*parts)

    def on_key(self, event: events.Key) -> None:
        """An answer's own key."""
        for choice in self._choices:
            if event.character == choice.key:
                event.stop()
                self.dismiss(choice.value)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)


def stop_dialog(run: Run, here: bool) -> ChoiceDialog:
    """How to stop a run; a worker on another machine (`here` is False) can be asked but not killed."""
    if run.state is State.QUEUED and run.status is not None and run.status.job is not None:
        cancel = Choice("n", "Cancel its job", "Nothing of the run is lost; r submits it again.", "now")
        title = f"{run.name} waits for Slurm job {run.status.job.id}"
        return ChoiceDialog(title, "", [cancel, Choice("k", "Let it wait", "", "keep")])
    if run.state is State.QUEUED:
        choices = [
            Choice("b", "Start it now", "Beside what is at work on its device: both are slower.", "start"),
            Choice("n", "Take it out of the queue", "Nothing of it is lost; r puts it back, at the end.", "now"),
            Choice("k", "Keep it there", "", "keep"),
        ]
        return ChoiceDialog(f"{run.name} waits for its device", "", choices)
    again = "It was asked to stop already. " if run.state is State.STOPPING else ""
    where = "" if here else "Its worker runs on another machine: it can be asked, not killed."
    choices = [
        Choice("n", "Now, with a checkpoint", "After the step at work; r goes on from there.", "now"),
        Choice("a", "After this epoch", "Evaluates and saves first.", "after_epoch"),
    ]
    if run.status is not None and run.status.job is not None:
        choices.append(Choice("k", "Cancel its job", "Slurm gives it half a minute to save, then kills it.", "kill"))
    elif here:
        choices.append(Choice("k", "Kill it", "At once; what it did since its last checkpoint is lost.", "kill"))
    return ChoiceDialog(f"Stop {run.name}?", again + where, choices)


def best_dialog(run: Run) -> ChoiceDialog:
    """Whether a run whose last checkpoints are gone or damaged goes on from its best one."""
    epoch = run.status.best_epoch if run.status else None
    of = f", that of epoch {epoch}" if epoch else ""
    choices = [
        Choice("b", "Go on from the best checkpoint", "What it did after that is trained anew.", "best"),
        Choice("k", "Leave it as it is", "C opens a copy of it on New run, to train it anew.", "keep"),
    ]
    text = f"Its last checkpoint can't be had; the best one is there{of}."
    return ChoiceDialog(f"Resume {run.name}?", text, choices)


def behind_dialog(run: Run) -> ChoiceDialog:
    """Whether a finished run makes its last checkpoint, for which there was no room, or trains for longer."""
    choices = [
        Choice("m", "Make it", "Trains again what came after the checkpoint before; its row stays.", "whole"),
        Choice("t", "Train for longer", "Asks for how long.", "longer"),
        Choice("k", "Leave it as it is", "", "keep"),
    ]
    return ChoiceDialog(f"Resume {run.name}?", "It has finished, but its last checkpoint was not written.", choices)


def delete_dialog(run: Run, on_disk: int, spare: int) -> ChoiceDialog:
    """Whether to delete a run for good, or its spare checkpoints alone; bytes of all of it and of those."""
    choices = [Choice("d", "Delete it", "Its curves, checkpoints and result, for good.", "delete")]
    if spare:
        text = f"Frees {size(spare)}; curves, result and the last checkpoint stay."
        choices.append(Choice("c", "Its spare checkpoints alone", text, "prune"))
    choices.append(Choice("k", "Keep it", "", "keep"))
    return ChoiceDialog(f"Delete {run.name}?", f"{run.id}, {size(on_disk)} on disk", choices)
