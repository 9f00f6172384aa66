"""The line at the bottom of the New run screen: on which device, whether to queue, start, and why not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Checkbox, Select, Static

from fmnist_tui.monitor import Gpu
from fmnist_tui.runs.records import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui.widgets.form import Choice


def run_on(device: str, runs: Iterable[Run]) -> Run | None:
    """A run that is at work on the device; for 'auto' on any GPU, since that is what auto takes first."""
    for run in runs:
        if run.state.alive or run.state is State.QUEUED:
            at = run.status.device if run.status else ""
            if at == device or (device == "auto" and at.startswith("cuda")):
                return run
    return None


class QueueToggle(Checkbox):
    """Whether to wait for what runs on the device."""

    def render(self) -> Content:
        """'[x] queue'."""
        return Content(f"[{'x' if self.value else ' '}] queue")


class StartBar(Horizontal):
    """Device, queue, start, and beside it what is wrong or in the way."""

    DEFAULT_CSS = """
    StartBar { height: 1; background: $surface; }
    StartBar Static { width: auto; text-wrap: nowrap; }
    StartBar #reason { width: 1fr; padding-left: 2; text-overflow: ellipsis; }
    StartBar.-wrong #reason { color: $text-error; }
    StartBar Choice { width: 14; background: $boost; padding: 0 1; margin: 0 2 0 1; }
    StartBar Choice SelectCurrent { background: transparent; padding: 0; }
    StartBar Choice > SelectOverlay { width: 36; }
    StartBar QueueToggle { width: 11; padding: 0 1; background: $boost; border: none !important; }
    StartBar Choice:focus, StartBar QueueToggle:focus { background: $primary 30%; }
    StartBar Button { margin-left: 2; min-width: 11; }
    StartBar.-ascii .arrow { display: none !important; }
    """

    class DeviceChanged(Message):
        """Another device was chosen."""

    class Pressed(Message):
        """The start button was pressed."""

    def __init__(self, *, ascii_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id, classes="-ascii" if ascii_only else "")
        self.gpus: list[Gpu] = []

    def compose(self) -> ComposeResult:
        """Device, queue, start, reason."""
        yield Static(" Device")
        yield Choice([("auto", "auto"), ("cpu", "cpu")], allow_blank=False, compact=True, id="device")
        yield QueueToggle(compact=True, id="queue")
        yield Button("Start", variant="success", compact=True, id="start")
        yield Static(id="reason", markup=False)

    @property
    def device(self) -> str:
        """The chosen device: 'auto', 'cpu', 'cuda:0', ..."""
        return str(self.query_one("#device", Choice).value)

    @property
    def queue(self) -> bool:
        """Whether to wait for what runs there."""
        return self.query_one("#queue", QueueToggle).value

    @property
    def memory_total(self) -> int | None:
        """Bytes of memory of the GPU that is chosen, or that auto would take."""
        wanted = 0 if self.device == "auto" else None
        if self.device.startswith("cuda:"):
            wanted = int(self.device.removeprefix("cuda:"))
        return next((gpu.memory_total for gpu in self.gpus if gpu.ordinal == wanted), None)

    def take_gpus(self, gpus: Sequence[Gpu]) -> None:
        """Offer these GPUs; the choice stays where it can."""
        self.gpus = list(gpus)
        select = self.query_one("#device", Choice)
        before = self.device
        options = [("auto", "auto"), ("cpu", "cpu")]
        options += [(f"cuda:{gpu.ordinal}  {gpu.name}", f"cuda:{gpu.ordinal}") for gpu in gpus]
        with select.prevent(Select.Changed):
            select.set_options(options)
            select.value = before if before in {value for _, value in options} else "auto"

    def show(self, problems: Sequence[str], runs: Iterable[Run]) -> None:
        """Say what is wrong, or what runs on the device already."""
        self.set_class(bool(problems), "-wrong")
        self.query_one("#start", Button).disabled = bool(problems)
        self.query_one("#reason", Static).update(self._reason(problems, runs))

    def _reason(self, problems: Sequence[str], runs: Iterable[Run]) -> str:
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            return f"Cannot start{more}: {problems[0]}"
        busy = run_on(self.device, runs)
        if busy is None:
            return "Ready"
        where = busy.status.device if busy.status else self.device
        if self.queue:
            return f"Will wait for {busy.name} on {where}"
        return f"{busy.name} is on {where}; they would share it"

    @on(Select.Changed, "#device")
    @on(Checkbox.Changed, "#queue")
    def _changed(self, event: Select.Changed | Checkbox.Changed) -> None:
        event.stop()
        self.post_message(self.DeviceChanged())

    @on(Button.Pressed, "#start")
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Pressed())
