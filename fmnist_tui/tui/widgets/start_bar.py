"""The line at the bottom of the New run screen: on which device or as a Slurm job, start, and why not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Select, Static

from fmnist_tui.monitor import Gpu
from fmnist_tui.monitor.devices import cuda_indices
from fmnist_tui.runs.store import Run

SEVERAL = "gpus:"
"""Begins the value of a choice of several GPUs."""
SLURM = "slurm"
"""The value of the choice that submits a job."""
ROOMY, NARROW = 100, 60
"""Cells of the line from which the chosen GPU is named in full, and below which the reason stands under it."""
READY = "Ready"


class DeviceSelect(Select[str]):
    """The devices there are."""


def run_on(device: str, runs: Iterable[Run], has_gpu: bool) -> Run | None:
    """A run that is at work on the device; 'auto' is any GPU where there is one, else anything but one."""
    for run in runs:
        if run.state.at_work:
            at = run.status.device if run.status else ""
            automatic = at != "" and at.startswith("cuda") == has_gpu
            shared = cuda_indices(at) & cuda_indices("cuda:0" if device == "cuda" else device)
            if at == device or shared or (device == "auto" and automatic):
                return run
    return None


class StartBar(Horizontal):
    """Device, start, and beside it what is wrong or in the way."""

    DEFAULT_CSS = """
    StartBar { height: auto; background: $surface; }
    StartBar #choice { width: auto; height: 1; }
    StartBar Static { width: auto; text-wrap: nowrap; }
    StartBar #reason { width: 1fr; height: auto; max-height: 3; padding-left: 2; text-wrap: wrap; }
    StartBar.-narrow { layout: vertical; }
    StartBar.-narrow #reason { width: 100%; padding: 0 1; }
    StartBar.-wrong #reason { color: $text-error; }
    StartBar DeviceSelect { width: 14; background: $panel; padding: 0 1; margin: 0 2 0 1; }
    StartBar.-roomy DeviceSelect { width: 29; }
    StartBar DeviceSelect SelectCurrent { background: transparent; padding: 0; }
    StartBar DeviceSelect > SelectOverlay { width: 36; margin-bottom: 1; constrain: inside inflect; }
    StartBar DeviceSelect:focus { background: $primary-muted; }
    StartBar Button { min-width: 11; }
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
        """Device, start, reason."""
        with Horizontal(id="choice"):
            yield Static(" Device")
            yield DeviceSelect([("auto", "auto"), ("cpu", "cpu")], allow_blank=False, compact=True, id="device")
            yield Button("Start", variant="success", compact=True, id="start")
        yield Static(id="reason", markup=False)

    @property
    def device(self) -> str:
        """The chosen device: 'auto', 'cpu', 'cuda:0', ...; 'auto' for several GPUs, as on the command line.

        'auto' too for a Slurm job: that is what this machine measures on.
        """
        return "auto" if self.slurm or self._chosen.startswith(SEVERAL) else self._chosen

    @property
    def slurm(self) -> bool:
        """Whether the run is to be a Slurm job."""
        return self._chosen == SLURM

    @property
    def count(self) -> int:
        """On how many GPUs at once."""
        return int(self._chosen.removeprefix(SEVERAL)) if self._chosen.startswith(SEVERAL) else 1

    @property
    def _chosen(self) -> str:
        return str(self.query_one("#device", DeviceSelect).value)

    @property
    def memory_total(self) -> int | None:
        """Bytes of memory of the GPU that is chosen, or that auto would take."""
        wanted = 0 if self.device == "auto" and not self.slurm else None
        if self.device.startswith("cuda:"):
            wanted = int(self.device.removeprefix("cuda:"))
        return next((gpu.memory_total for gpu in self.gpus if gpu.ordinal == wanted), None)

    def take_gpus(self, gpus: Sequence[Gpu], slurm: bool = False) -> None:
        """Offer these GPUs, and a Slurm job where there is Slurm; the choice stays where it can."""
        self.gpus = list(gpus)
        select = self.query_one("#device", DeviceSelect)
        before = self._chosen
        options: list[tuple[str | Content, str]] = [("auto", "auto"), ("cpu", "cpu")]
        # Content: the menu takes a str for markup, and a driver may put anything into a name
        options += [(Content(f"cuda:{gpu.ordinal}  {gpu.name}"), f"cuda:{gpu.ordinal}") for gpu in gpus]
        for count in range(2, len(gpus) + 1):
            options.append((f"{'all ' if count == len(gpus) else ''}{count} GPUs share a batch", f"{SEVERAL}{count}"))
        if slurm:
            options.append(("Slurm job", SLURM))
        with select.prevent(Select.Changed):
            select.set_options(options)
            select.value = before if before in {value for _, value in options} else "auto"
        self._fit()

    def on_resize(self) -> None:
        """The choice may need fewer cells, or have more."""
        self._fit()

    def _fit(self) -> None:
        """Room for a GPU's name in the choice, where there are GPUs and the reason beside it keeps enough."""
        self.set_class(bool(self.gpus) and self.size.width >= ROOMY, "-roomy")
        self.set_class(self.size.width < NARROW, "-narrow")
        self._show_reason(str(self.query_one("#reason", Static).content))

    def show(self, problems: Sequence[str], runs: Iterable[Run], elsewhere: Iterable[Run] = ()) -> None:
        """Say what is wrong, or what runs on the device already: of these runs, or of other runs directories."""
        self.set_class(bool(problems), "-wrong")
        self.query_one("#start", Button).disabled = bool(problems)
        self._show_reason(self._reason(problems, runs, elsewhere))

    def _show_reason(self, text: str) -> None:
        """Whole, in as many lines as it takes; a line of its own only where it says more than that all is well."""
        reason = self.query_one("#reason", Static)
        if text != reason.content:
            reason.update(text)
        reason.display = text != READY or self.size.width >= NARROW

    def _reason(self, problems: Sequence[str], runs: Iterable[Run], elsewhere: Iterable[Run]) -> str:
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            return f"Cannot start: {problems[0]}{more}"
        if self.slurm:
            return "Start asks what the job is to have"
        busy, name = run_on(self.device, runs, bool(self.gpus)), ""
        if busy is not None:
            name = busy.name
        elif (busy := run_on(self.device, elsewhere, bool(self.gpus))) is not None:
            name = f"{busy.name} in {busy.directory.path.parent}"  # no list of this app has it
        else:
            return READY
        where = busy.status.device if busy.status else self.device
        at = "starting" if where in ("", "auto") else f"on {where}"
        whole = f"{name} is {at}: Start waits its turn, ^n starts beside it"
        room = self.query_one("#reason").content_size.width
        return whole if len(whole) <= room else f"Start waits for {name}, ^n doesn't"

    @on(Select.Changed, "#device")
    def _changed(self, event: Select.Changed) -> None:
        event.stop()
        self.post_message(self.DeviceChanged())

    @on(Button.Pressed, "#start")
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Pressed())
