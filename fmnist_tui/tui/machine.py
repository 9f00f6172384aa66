"""What the GPU screen says: each GPU and the host now and over the last minutes, and which runs are on which GPU.

A history of samples and pure functions that turn it into lines; called by `screens.system`.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence

from fmnist_tui.monitor.devices import cuda_indices
from fmnist_tui.runs.metrics import GpuSample, HostSample, SystemRecord
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui.format import Glyphs

HISTORY = 600
"""Samples kept: ten minutes at one a second."""
LABEL = 9
"""Cells of the names at the left of the meters."""
VALUE = 17
"""Cells of what a meter says in words."""

Piece = tuple[str, str]
"""Text and the name of a theme colour, '' for the foreground; 'bold' is a style of its own."""
Line = list[Piece]


class History:
    """The newest samples, oldest first."""

    def __init__(self) -> None:
        self._samples: deque[SystemRecord] = deque(maxlen=HISTORY)

    def add(self, sample: SystemRecord) -> None:
        """Keep a sample; the oldest beyond HISTORY is forgotten."""
        self._samples.append(sample)

    @property
    def newest(self) -> SystemRecord | None:
        """The last sample."""
        return self._samples[-1] if self._samples else None

    def gpu(self, index: int, field: str, width: int) -> list[float | None]:
        """A GPU's values over the last `width` samples; None where it did not tell."""
        found: list[float | None] = []
        for sample in list(self._samples)[-width:]:
            gpu = next((gpu for gpu in sample.gpus if gpu.index == index), None)
            found.append(getattr(gpu, field) if gpu else None)
        return found

    def host(self, field: str, width: int) -> list[float | None]:
        """The host's values over the last `width` samples."""
        return [getattr(sample.host, field) for sample in list(self._samples)[-width:]]


def users(gpu: GpuSample, runs: Sequence[Run]) -> str:
    """Which of our runs are on a GPU, by the processes the driver names; where it names none of ours, by their word.

    (In a container the driver's process numbers are those of the machine outside.)
    """
    here = [run for run in runs if run.state.at_work and run.status and run.status.host == socket.gethostname()]
    pids = set(gpu.pids)
    ours = [run for run in here if run.status and run.status.pid in pids]
    others = len(pids) - len(ours)
    if ours:
        names = ", ".join(run.name for run in ours)
        return f"used by {names}" + (f" and {_processes(others)}" if others else "")
    said = [run.name for run in here if run.status and gpu.index in cuda_indices(run.status.device)]
    if said:
        return f"{', '.join(said)} says cuda:{gpu.index}"
    return f"used by {_processes(others)}" if others else "no process on it"


def _processes(others: int) -> str:
    return "1 other process" if others == 1 else f"{others} other processes"


def describe(
    history: History, gpu_problem: str, runs: Sequence[Run], where: str, width: int, glyphs: Glyphs
) -> list[Line]:
    """The whole screen as lines of at most `width` cells."""
    newest = history.newest
    if newest is None:
        return [[("Waiting for the first sample ...", "foreground-muted")]]
    lines: list[Line] = []
    if not newest.gpus:
        lines += [[("GPU", "bold")], *_no_gpu(gpu_problem), []]
    for gpu in newest.gpus:
        lines += [*_gpu(history, gpu, runs, width, glyphs), []]
    if newest.gpus and gpu_problem:
        lines += [[(gpu_problem, "warning")], []]
    lines += _host(history, newest.host, where, width, glyphs)
    if width >= LABEL + VALUE + 30:
        lines += [[], [("The blocks show the last seconds, one each, the newest at the right.", "foreground-muted")]]
    return lines


def _no_gpu(problem: str) -> list[Line]:
    if problem in ("", "no GPU"):
        return [[("  no GPU", ""), ("  none that an NVIDIA driver knows", "foreground-muted")]]
    return [[(f"  {problem}", "warning")]]


def _gpu(history: History, gpu: GpuSample, runs: Sequence[Run], width: int, glyphs: Glyphs) -> list[Line]:
    name, by = f"GPU {gpu.index}  {gpu.name}", users(gpu, runs)
    gap = width - len(name) - len(by)
    lines: list[Line] = [[(name, "bold"), (" " * gap + by, "foreground-muted")]]
    if gap < 2:
        lines = [[(name, "bold")], [(f"  {by}", "foreground-muted")]]

    def past(field: str) -> list[float | None]:
        return history.gpu(gpu.index, field, width)

    if gpu.utilization is not None:
        lines.append(
            _meter("busy", gpu.utilization, 100, f"{gpu.utilization:.0f} %", past("utilization"), width, glyphs)
        )
    if gpu.memory_used is not None:
        total = gpu.memory_total
        text = words.gib(gpu.memory_used) + (f" / {words.gib(total)} GiB" if total else " GiB")
        lines.append(_meter("memory", gpu.memory_used, total, text, past("memory_used"), width, glyphs))
    if gpu.power is not None:
        text = f"{gpu.power:.0f}" + (f" / {gpu.power_limit:.0f} W" if gpu.power_limit else " W")
        lines.append(_meter("power", gpu.power, gpu.power_limit, text, past("power"), width, glyphs))
    facts = [
        f"{gpu.temperature:.0f} {glyphs.degree}" if gpu.temperature is not None else "",
        f"SM {gpu.sm_clock:,.0f} MHz" if gpu.sm_clock is not None else "",
        f"memory {gpu.memory_clock:,.0f} MHz" if gpu.memory_clock is not None else "",
    ]
    if any(facts):
        lines.append([(" " * LABEL, ""), ("  ".join(fact for fact in facts if fact), "foreground-muted")])
    return lines


def _host(history: History, host: HostSample, where: str, width: int, glyphs: Glyphs) -> list[Line]:
    cores = f"{words.count(host.cores, 'core')}" if host.cores else ""
    load = f"load {host.load:.1f}" if host.load is not None else ""
    facts = f" {glyphs.dot} ".join(fact for fact in (cores, load) if fact)
    lines: list[Line] = [[("Host", "bold"), (f"  {facts}", "foreground-muted")]]
    if host.cpu_percent is not None:
        past = history.host("cpu_percent", width)
        lines.append(_meter("CPU", host.cpu_percent, 100, f"{host.cpu_percent:.0f} %", past, width, glyphs))
    if host.ram_used is not None:
        total = host.ram_total
        text = words.gib(host.ram_used) + (f" / {words.gib(total)} GiB" if total else " GiB")
        lines.append(_meter("RAM", host.ram_used, total, text, history.host("ram_used", width), width, glyphs))
    if host.disk_free is not None:
        lines.append([("  disk".ljust(LABEL), "foreground-muted"), (f"{words.gib(host.disk_free)} GiB free", "")])
        lines[-1].append((f"  for {where}", "foreground-muted"))
    return lines


def _meter(
    label: str, value: float, high: float | None, text: str, past: list[float | None], width: int, glyphs: Glyphs
) -> Line:
    """Name, value in words, a bar of how much of `high` it is, and the last samples as blocks, where they fit."""
    line: Line = [(f"  {label}".ljust(LABEL), "foreground-muted"), (text.ljust(VALUE), "")]
    room = width - LABEL - VALUE
    if high and room >= 10:
        cells = min(40, room // 2 if room >= 30 else room)
        filled, rest = words.bar(value / high, cells, glyphs)
        line += [(filled, "primary"), (rest, "foreground-disabled")]
        room -= cells
    if room >= 12:
        top = high or max((one for one in past if one is not None), default=0) or 1
        cells = room - 2
        line += [("  ", ""), (words.sparkline(past, cells, top, glyphs), "foreground-muted")]
    return line
