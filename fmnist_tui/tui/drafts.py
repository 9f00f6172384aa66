"""The presets there are and a draft of each that was looked at, so that going from one to another loses nothing.

The New run screen's state, without Textual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.presets import NAME_RULE, SHIPPED_ORDER, find_presets, load_preset, misnamed, origin, shipped_preset
from fmnist_tui.tui.draft import Draft
from fmnist_tui.tui.format import ASCII, UNICODE


@dataclass(frozen=True)
class PresetEntry:
    """A preset as the list shows it."""

    name: str
    origin: str
    """'shipped', 'user', 'local', or 'run' for a cloned run whose preset is gone."""
    config: RunConfig | None
    problem: str = ""
    """Why it cannot be used, where `config` is None."""

    @property
    def about(self) -> str:
        """One line on it."""
        return self.config.description if self.config else self.problem


def read_presets() -> list[PresetEntry]:
    """Every preset there is; one that is not valid, for its name or else, is listed with what is wrong.

    Where none at all is valid (broken files that shadow every shipped one), the shipped ones are listed too.
    """
    entries = []
    for name, file in find_presets().items():
        try:
            entries.append(PresetEntry(name, file.origin, load_preset(name)))
        except ConfigError as error:
            entries.append(PresetEntry(name, file.origin, None, str(error.errors[0])))
    named = {path.name: path for path in misnamed()}
    entries += [
        PresetEntry(name, origin(path.parent), None, f"not a preset, for its name: {NAME_RULE}")
        for name, path in named.items()
    ]
    if not any(entry.config for entry in entries):
        shipped = ((name, shipped_preset(name)) for name in SHIPPED_ORDER)
        entries += [PresetEntry(f"{name} (shipped)", "shipped", config) for name, config in shipped if config]
    return entries


class PresetDrafts:
    """The entries, the drafts by name, and which one is shown."""

    def __init__(self, clone: RunConfig | None = None) -> None:
        """Begin with the first preset, or with a run to clone against the preset it came from."""
        self.entries: Sequence[PresetEntry] = read_presets()
        self.current = self._usable()[0]
        self._drafts: dict[str, Draft] = {}
        if clone is not None:
            if clone.preset in self._usable():
                self.current = clone.preset
            else:
                self.current = f"{clone.name} (run)"
                self.entries = [PresetEntry(self.current, "run", clone), *self.entries]
            self._drafts[self.current] = Draft(self._config(self.current), clone)

    @property
    def draft(self) -> Draft:
        """What is shown."""
        if self.current not in self._drafts:
            self._drafts[self.current] = Draft(self._config(self.current))
        return self._drafts[self.current]

    @property
    def edited(self) -> set[str]:
        """The presets whose drafts are not as the preset is."""
        return {name for name, draft in self._drafts.items() if draft.edited}

    def choose(self, name: str) -> bool:
        """Show another preset's draft; False where it is shown already or cannot be used."""
        if name == self.current or name not in self._usable():
            return False
        self.current = name
        return True

    def difference(self, room: int, ascii_only: bool = False) -> tuple[str, str]:
        """How the draft differs from its preset in a line of `room` columns: how much, and what as far as it fits."""
        changes = self.draft.changes
        if not changes:
            but = f" but its {' and '.join(self.draft.renamed)}" if self.draft.renamed else ""
            return f"No changes from {self.current}{but}", ""
        count = f"{len(changes)} change{'s' if len(changes) > 1 else ''} from {self.current}: "
        arrow = (ASCII if ascii_only else UNICODE).arrow
        said = [f"{change.key} {change.old} {arrow} {change.new}" for change in changes]
        for shown in range(len(said), 1, -1):
            rest = len(said) - shown
            text = "; ".join([*said[:shown], *([f"and {rest} more"] if rest else [])])
            if len(count) + len(text) <= room:
                return count, text
        return count, "; ".join([said[0], *([f"and {len(said) - 1} more"] if len(said) > 1 else [])])

    def _usable(self) -> list[str]:
        return [entry.name for entry in self.entries if entry.config]

    def _config(self, name: str) -> RunConfig:
        config = next(entry.config for entry in self.entries if entry.name == name)
        assert config is not None
        return config

    def reread(self, forget: str = "") -> bool:
        """Read the presets anew; whether anything changed.

        What was typed into a preset stays, unedited drafts follow their file; the draft of `forget` is dropped.
        """
        self._drafts.pop(forget, None)
        kept = [entry for entry in self.entries if entry.origin == "run"]
        entries = [*kept, *read_presets()]
        if entries == self.entries and not forget:
            return False
        self.entries = entries
        usable = self._usable()
        for name, draft in list(self._drafts.items()):
            if name not in usable or (not draft.edited and draft.base != self._config(name)):
                del self._drafts[name]
        if self.current not in usable:
            self.current = usable[0]
        return True
