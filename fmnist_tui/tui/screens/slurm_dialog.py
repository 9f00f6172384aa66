"""What a Slurm job is to have: GPUs, nodes, and a line for each of `SlurmSettings`, read as `--set slurm.KEY=` is.

Pushed by `tui.steering` before a new run is submitted.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, Static

from fmnist_tui.config import ConfigError
from fmnist_tui.fields import field_value
from fmnist_tui.runs.launch import MOST, LaunchRequest
from fmnist_tui.runs.slurm import PREFIX, SlurmSettings, slurm_settings
from fmnist_tui.tui.launching import JobRequest
from fmnist_tui.tui.screens.dialogs import FormDialog, Wrong

LOW = 16
"""Below how many lines of the terminal there is no room for a field's help."""
COUNTS = {
    "gpus": "GPUs of each node; 0 trains on its CPU.",
    "nodes": "Nodes that train the run together, each GPU a share of every batch.",
}


class _Fault(NamedTuple):
    """What is wrong with a field."""

    key: str
    problem: str


class SlurmDialog(FormDialog[JobRequest]):
    """A form of one line a setting; what is not typed is left to the cluster."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", show=False, priority=True),  # the box that scrolls has them too
        Binding("down", "app.focus_next", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    SlurmDialog #about { height: 2; color: $foreground-muted; }
    SlurmDialog .-wrong { color: $text-error; text-style: bold; }
    """

    def __init__(self, name: str, before: LaunchRequest) -> None:
        """`before` is how a job was submitted last: its values stand there at first."""
        super().__init__(f"Submit {name} to Slurm", "enter submits it, esc cancels")
        gpus = 0 if before.device == "cpu" else before.gpus
        self._values: dict[str, Any] = {"gpus": gpus, "nodes": before.nodes}
        self._values |= before.slurm.model_dump(exclude_unset=True) if before.slurm else {}

    def compose(self) -> ComposeResult:
        """The lines, what the field with the focus means, and what is wrong."""
        with Vertical(classes="dialog -wide"):
            with VerticalScroll(classes="dialog-scroll", can_focus=False):
                for key in (*COUNTS, *SlurmSettings.model_fields):
                    value = self._values.get(key)
                    with Horizontal(classes="dialog-line"):
                        yield Static(key.replace("_", " "), classes=f"name-of-{key}")
                        typed = "" if value is None else _as_typed(value)
                        yield Input(typed, placeholder=_default(key), id=key, compact=True, select_on_focus=False)
            yield Static(id="about", markup=False)
            yield Wrong(id="wrong", classes="dialog-wrong", markup=False)

    def on_resize(self) -> None:
        """The lines scroll; what is wrong stays in view, on low terminals without the field's help."""
        self.query_one("#about").display = self.size.height >= LOW
        super().on_resize()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say what the field is for."""
        key = event.widget.id or ""
        if key in COUNTS:
            self.query_one("#about", Static).update(COUNTS[key])
        elif key in SlurmSettings.model_fields:
            self.query_one("#about", Static).update(SlurmSettings.model_fields[key].description or "")

    @on(Input.Changed)
    def _changed(self) -> None:
        self._show_wrong(self._read())

    def _show_wrong(self, found: JobRequest | _Fault) -> None:
        """Say what is wrong, and mark the field it is wrong with; nothing where all is right."""
        fault = found if isinstance(found, _Fault) else _Fault("", "")
        self.query_one("#wrong", Static).update(fault.problem)
        for field in self.query(Input):
            field.set_class(field.id == fault.key, "-wrong")
            self.query_one(f".name-of-{field.id}").set_class(field.id == fault.key, "-wrong")

    def _read(self) -> JobRequest | _Fault:
        """What was typed, or what is wrong with it."""
        typed = {one.id or "": one.value.strip() for one in self.query(Input)}
        counts = {}
        for key, least in (("gpus", 0), ("nodes", 1)):
            text = typed.pop(key) or _default(key)
            if not text.isdecimal() or not least <= int(text) <= MOST:
                return _Fault(key, f"{key}: must be a whole number from {least} to {MOST:,}")
            counts[key] = int(text)
        try:
            settings = slurm_settings([f"{PREFIX}{key}={text}" for key, text in typed.items() if text])
        except ConfigError as error:
            wrong = error.errors[0]
            return _Fault(wrong.field.removeprefix(PREFIX).partition(".")[0], str(wrong).removeprefix(PREFIX))
        if not counts["gpus"]:
            return JobRequest("cpu", 1, counts["nodes"], settings)
        # not auto: a node whose driver is broken must not train on its CPU
        return JobRequest("cuda", counts["gpus"], counts["nodes"], settings)

    def action_send(self) -> None:
        """Dismiss with what was typed, where it is right."""
        found = self._read()
        if isinstance(found, JobRequest):
            self.dismiss(found)
        else:
            self._show_wrong(found)
            self.query_one(f"#{found.key}", Input).focus()


def _default(key: str) -> str:
    """What stands in an empty field: what it means to leave it so."""
    if key in COUNTS:
        return "1"
    default = SlurmSettings.model_fields[key].default
    return "" if default in (None, ()) else field_value(default)


def _as_typed(value: Any) -> str:
    """A value as `slurm_settings` reads it; a list's texts in quotes."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(repr(str(text)) for text in value)}]"
    return field_value(value)
