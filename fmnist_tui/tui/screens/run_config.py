"""The configuration of a run in a box: what differs from its preset first, then everything, then what it ran on.

Pushed by the Run screen (`c`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from fmnist_tui.analysis.differences import trained_with
from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.fields import changed_fields, exact, fields_of, flatten
from fmnist_tui.presets import load_preset
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.store import Run

Part = tuple[str, str]
Line = tuple[str, str, str, str]
"""A name, its value, the value's style, and what is said of it."""


WIDTH = 80
"""Cells of the text where the screen has room for its box."""
BESIDE = 5
"""Of border, padding and scroll bar."""
LEAST = 10
"""Cells a value has at the least, however narrow the screen."""


def shown(value: Any) -> str:
    """A value as people write it: 'true', '60, 120, 160', '0.0005', 'none'."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return exact(value) if isinstance(value, float) else str(value)


def config_parts(
    run: Run, config: RunConfig, base: RunConfig | None, missing: str = "", width: int = WIDTH
) -> list[Part]:
    """The configuration as the run trained with it, in styled text; `base` is its preset, `missing` why there is none.

    Columns are `width` cells wide at the most, or what is said of a value stands below it. `config` is the run's as it
    was made; what an edit, a resume or an early end made of it comes before everything.
    """
    trained = trained_with(run)
    parts = _different("Changed since the run was made", "at first", changed_fields(flatten(config), trained), width)
    changed = changed_fields(flatten(base), trained) if base is not None else {}
    if base is None:
        parts.append((f"{missing}\n\n", "$text-warning"))
    elif not changed:
        parts.append((f"Exactly the preset {config.preset}.\n\n", "$text-success"))
    else:
        parts += _different(f"Different from the preset {config.preset}", "preset", changed, width)
    units = {spec.key: spec.unit for spec in fields_of(config.model.kind)}
    sections: dict[str, list[Line]] = {}
    for key, value in trained.items():
        head, _, name = key.rpartition(".")
        style = "bold $text-warning" if key in changed else ""
        said = units.get(key, "") if value is not None else ""
        sections.setdefault(head, []).append((name, shown(value), style, said))
    widths = _widths([line for lines in sections.values() for line in lines])
    for head, lines in sections.items():
        parts += [(f"{head.capitalize() or 'Run'}\n", "bold $text-primary"), *_columns(lines, widths, width)]
    return parts


def _different(title: str, whose: str, changed: Mapping[str, tuple[Any, Any]], width: int) -> list[Part]:
    """Fields that differ under a title, with `whose` other values; nothing where none does."""
    if not changed:
        return []
    lines = [
        (key, shown(ours), "bold $text-warning", f"{whose}: {shown(theirs)}") for key, (theirs, ours) in changed.items()
    ]
    return [(f"{title}\n", "bold"), *_columns(lines, _widths(lines), width), ("\n", "")]


def _widths(lines: Sequence[Line]) -> tuple[int, int]:
    """Of the columns of names and values: no more than they need, or small screens would break the lines."""
    return max(len(line[0]) for line in lines), max(len(line[1]) for line in lines)


def _columns(lines: Sequence[Line], widths: tuple[int, int], width: int) -> list[Part]:
    """A line for each: name, value and what is said of it in columns, or that right after the value, or below it."""
    parts: list[Part] = []
    start = widths[0] + 4
    for name, value, style, said in lines:
        first, *rest = textwrap.wrap(value, max(LEAST, width - start)) or [""]
        ends = start + (max(map(len, rest)) if rest else max(widths[1], len(first)))
        gap, close = "  ", start + len(rest[-1] if rest else first) + 2 + len(said)
        if said and ends + 2 + len(said) > width:
            gap = "  " if close <= width else "\n    "
        elif not rest:
            first = f"{first:<{widths[1]}}"
        parts += [
            (f"  {name:<{widths[0]}}  ", ""),
            ("\n".join([first, *(f"{'':<{start}}{more}" for more in rest)]), style),
        ]
        parts.append((f"{gap}{said}\n", "$foreground 65%"))
    return parts


def result_parts(result: Result, width: int = WIDTH) -> list[Part]:
    """What a finished run was made with and what it took, in `width` cells."""
    memory = f"{result.peak_memory_bytes / 2**30:.1f} GiB" if result.peak_memory_bytes else "unknown"
    made = result.provenance
    facts = {
        "parameters": f"{result.parameters:,}",
        "device": f"{result.devices_named} ({result.device})",
        "precision": result.precision,
        "memory format": result.memory_format,
        "compile": result.compile,
        "peak memory": memory,
        "starts": str(result.starts),
        "versions": f"fmnist-tui {made.fmnist_tui}, torch {made.torch}, Python {made.python}",
    }
    lines = [(key, value, "", "") for key, value in facts.items()]
    return [("Ran with\n", "bold $text-primary"), *_columns(lines, (max(map(len, facts)), 0), width)]


def preset_of(config: RunConfig) -> tuple[RunConfig | None, str]:
    """The preset a configuration started from, or why there is none to compare with."""
    if config.preset is None:
        return None, "Started from a file, not from a preset."
    try:
        return load_preset(config.preset), ""
    except ConfigError:
        return None, f"The preset {config.preset} it started from is no longer there."


class RunConfigScreen(ModalScreen[None]):
    """A scrollable box over the Run screen; escape, c and q close it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,c,q,enter", "dismiss(None)", "Close", priority=True)]
    DEFAULT_CSS = """
    RunConfigScreen { align: center middle; }
    RunConfigScreen > Vertical {
        width: 84; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; border-title-style: bold; background: $surface; padding: 0 1;
    }
    RunConfigScreen VerticalScroll { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._preset = preset_of(run.config) if run.config is not None else (None, "")

    def compose(self) -> ComposeResult:
        """The text in a scrolling box."""
        with Vertical() as box:
            box.border_title = Content(f"Configuration of {self._run.id}")
            box.border_subtitle = "arrows scroll, esc closes"
            with VerticalScroll():
                yield Static(markup=False)

    def on_resize(self, event: events.Resize) -> None:
        """The text anew, as wide as the box now has room for."""
        width = min(WIDTH, event.size.width - BESIDE)
        config, result = self._run.config, self._run.result
        if config is None:
            parts: list[Part] = [(f"{self._run.problem or 'config.json is missing'}\n", "$text-error")]
        else:
            parts = config_parts(self._run, config, *self._preset, width)
        if result is not None:
            parts = [*parts, *([("\n", "")] if config is None else []), *result_parts(result, width)]
        self.query_one(Static).update(Content.assemble(*parts))

    def on_mount(self) -> None:
        """Scroll with the arrows at once."""
        self.query_one(VerticalScroll).focus()
