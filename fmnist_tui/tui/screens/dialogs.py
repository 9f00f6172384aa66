"""The app's forms and messages: edit, resume for longer, export, errors. Each is dismissed with what was typed.

Pushed by `tui.steering` and the screens; escape always means None: nothing happens. Questions with a few answers are in
`choice_dialogs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from fmnist_tui.runs.comments import LONGEST
from fmnist_tui.runs.store import Run

T = TypeVar("T")
WIDTH, BORDERS = 64, 2
"""Columns of the box (as in app.tcss), and its two border lines."""
BROAD = 60
"""From so many columns on there is room beside a field for what it means."""


class Dialog(ModalScreen[T | None]):
    """A box in the middle with its title and keys on its border, so that they are in view on any terminal.

    Of what is in it, `.dialog-scroll` gets the lines that the rest leaves.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (BROAD, "-broad")]  # noqa: RUF012 - as Textual declares it

    def __init__(self, title: str, keys: str) -> None:
        """`keys` says what enter and escape do."""
        super().__init__()
        self._dialog_title, self._keys = title, keys

    def on_mount(self) -> None:
        """Write title and keys on the border."""
        box = self.query_one(".dialog")
        box.border_title, box.border_subtitle = Content(self._dialog_title), self._keys

    def on_resize(self) -> None:
        """Another size leaves more or fewer lines."""
        self.call_after_refresh(self.fit)

    def fit(self) -> None:
        """Give what scrolls the lines that are left, and keep the field with the focus in view."""
        box = self.query_one(".dialog")
        taken = sum(one.outer_size.height for one in box.children if one.display and not one.has_class("dialog-scroll"))
        for one in box.query(".dialog-scroll"):
            one.styles.max_height = max(1, self.size.height - BORDERS - taken)
        if isinstance(self.focused, Input):
            self.call_after_refresh(self.focused.scroll_visible, animate=False)

    def action_cancel(self) -> None:
        """Close; nothing happens."""
        self.dismiss(None)


class FormDialog(Dialog[T]):
    """Fields, and enter, which sends them.

    Enter comes by the field, behind what was typed before it: a priority binding would be ahead of the last characters
    where several keys arrive at once, as over a slow line or from a paste.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "send", "Send")]

    @on(Input.Submitted)
    def _entered(self) -> None:
        self.action_send()

    def action_send(self) -> None:
        """Dismiss with what was typed, where it is right."""
        raise NotImplementedError


class Wrong(Static):
    """What is wrong with what was typed; what scrolls beside it gives way to its lines."""

    def on_resize(self) -> None:
        """It has more or fewer lines than before."""
        if isinstance(self.screen, Dialog):
            self.screen.fit()


class MessageDialog(Dialog[None]):
    """Something went wrong, in words, as long as it needs to be."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "cancel", "Close", priority=True)]

    def __init__(self, title: str, text: str) -> None:
        super().__init__(title, "enter or esc closes")
        self._text = text

    def compose(self) -> ComposeResult:
        """The text, which scrolls with the arrows."""
        with Vertical(classes="dialog -error"), VerticalScroll(classes="dialog-scroll"):
            yield Static(Content(self._text))


class Edit(NamedTuple):
    """What is to change about how long a run trains; None leaves it as it is."""

    epochs: int | None
    stop_at_accuracy: float | None
    """A test accuracy in per cent; 0 takes the limit back."""


class EditDialog(FormDialog[Edit]):
    """Epochs in all, and the test accuracy to stop at. Also asks for them when a finished run is resumed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", show=False),
        Binding("down", "app.focus_next", show=False),
    ]

    def __init__(self, run: Run, purpose: Literal["edit", "resume"]) -> None:
        if purpose == "edit":
            super().__init__(f"{run.name}: how long to train", "enter sends it, esc cancels")
        else:
            super().__init__(f"Train {run.name} for longer", "enter starts it, esc cancels")
        self._purpose = purpose
        status = run.status
        assert status is not None
        self._at, self._epochs, self._limit = status.epoch, status.epochs, status.stop_at_accuracy
        self._reached = status.test_accuracy or 0.0
        self._early = purpose == "resume" and status.epoch < status.epochs and self._limit is not None
        if purpose == "edit":
            self._suggested, self._least = status.epochs, max(1, status.epoch)
        elif self._early:
            self._suggested, self._least = status.epochs, status.epoch + 1
        else:
            self._suggested, self._least = 2 * status.epochs, status.epochs + 1

    def compose(self) -> ComposeResult:
        """One or two inputs on lines of their own, and what is wrong with them."""
        with Vertical(classes="dialog"):
            with Horizontal(classes="dialog-line"):
                yield Static("Epochs in all")
                yield Input(str(self._suggested), id="epochs", type="integer", compact=True)
                yield Static(f"{self._epochs} planned, in {self._at} now" if self._purpose == "edit" else "")
            if self._purpose == "edit" or self._limit is not None:
                with Horizontal(classes="dialog-line"):
                    yield Static("Stop at test accuracy")
                    present = "" if self._limit is None else f"{self._limit:g}"
                    yield Input(present, placeholder="none", id="accuracy", type="number", compact=True)
                    yield Static("%; empty: at none")
            if self._purpose == "resume":
                yield Static("Its row of the table stays until it is finished again.")
            yield Wrong(id="wrong", classes="dialog-wrong", markup=False)

    @on(Input.Changed)
    def _changed(self) -> None:
        found = self._read()
        self.query_one("#wrong", Static).update(found if isinstance(found, str) else "")

    def _read(self) -> Edit | str:
        """What was typed, or what is wrong with it."""
        text = self.query_one("#epochs", Input).value.strip()
        epochs = int(text) if text.isdigit() else None
        if text and (epochs is None or not self._least <= epochs <= 100_000):
            return f"epochs: a whole number from {self._least} to 100,000"
        if self._purpose == "resume" and epochs is None:
            return "epochs: how many in all?"
        if self._purpose == "resume" and self._limit is None:
            return Edit(epochs, None)
        typed = self.query_one("#accuracy", Input).value.strip()
        try:
            accuracy = float(typed or "0")
        except ValueError:
            accuracy = -1.0
        if not 0 <= accuracy <= 100:
            return "accuracy: a number from 0 to 100, or nothing"
        changed = accuracy != (self._limit or 0.0)
        if self._purpose == "resume":
            if 0 < accuracy <= self._reached:
                return f"accuracy: {self._reached:.2f} % reached; raise it, or empty it"
            return Edit(epochs, accuracy if changed else None)
        return Edit(epochs if epochs != self._epochs else None, accuracy if changed else None)

    def action_send(self) -> None:
        """Dismiss with what was typed, where it is right and changes anything."""
        found = self._read()
        if isinstance(found, str):
            self.query_one("#wrong", Static).update(found)
        else:
            self.dismiss(found if found != Edit(None, None) else None)


class CommentDialog(FormDialog[str]):
    """What the user writes down about a run; an empty line takes it away."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"Comment on {run.name}", "enter writes it, esc cancels")
        self._run = run

    def compose(self) -> ComposeResult:
        """One input over the box's width."""
        with Vertical(classes="dialog"), VerticalScroll(classes="dialog-scroll", can_focus=False):
            yield Static(self._run.id, id="label", markup=False)
            yield Input(
                self._run.comment,
                placeholder="why it was started, what came of it",
                max_length=LONGEST,
                select_on_focus=False,
                compact=True,
            )

    def action_send(self) -> None:
        """Dismiss with the text; None where it is the same."""
        text = self.query_one(Input).value
        self.dismiss(text if text != self._run.comment else None)


class ExportDialog(FormDialog[Path]):
    """The file a table is written to; its suffix says the format."""

    def __init__(self, path: Path, suffixes: tuple[str, ...]) -> None:
        super().__init__("Write the table to a file", "enter writes it, esc cancels")
        self._path = path
        self._suffixes = suffixes
        self._warned: Path | None = None

    def compose(self) -> ComposeResult:
        """One input, and what is wrong with it."""
        with Vertical(classes="dialog"):
            with VerticalScroll(classes="dialog-scroll", can_focus=False):
                yield Static(f"File ({', '.join(self._suffixes)}; from {Path.cwd()})", id="label", markup=False)
                yield Input(str(self._path), id="path", compact=True)
            yield Wrong(id="wrong", classes="dialog-wrong", markup=False)

    def action_send(self) -> None:
        """Dismiss with the path; one that exists needs a second enter."""
        path = Path(self.query_one("#path", Input).value.strip()).expanduser()
        wrong = ""
        if path.suffix not in self._suffixes:
            wrong = f"the name must end in one of {', '.join(self._suffixes)}"
        elif path.is_dir() or not path.parent.is_dir():
            wrong = "is a directory" if path.is_dir() else f"there is no directory {path.parent}"
        elif path.exists() and path != self._warned:
            self._warned = path
            wrong = "exists already; enter again replaces it"
        self.query_one("#wrong", Static).update(wrong)
        if not wrong:
            self.dismiss(path)
