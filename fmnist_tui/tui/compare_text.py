"""What the Compare screen says in words: the runs with their letters, who leads, the paired tests, the settings that
differ. Pure; the sentences are those of `runs compare` (`analysis.compare`).
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from fmnist_tui.analysis import compare
from fmnist_tui.analysis.compare import CAVEAT, LETTERS, Pair
from fmnist_tui.analysis.differences import Difference, apart, differing
from fmnist_tui.fields import field_value
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui.columns import APART_WIDTH, short_title, title
from fmnist_tui.tui.compare_data import PATTERNS, Side
from fmnist_tui.tui.widgets.chart_raster import LEGEND

Part = tuple[str, str]
STYLES = (
    "bold $text-primary", "bold $text-accent", "bold $text-success", "bold $text-error", "$foreground",
    "$text-warning", "$text-secondary", "$foreground 60%",
)  # fmt: skip
"""Of the runs' letters: the same as their curves' (widgets.chart)."""
_MUTED = "$foreground 65%"
NAME_ROOM = 14
"""Cells a run's name has before its facts are told in full."""
NAME_KEPT = 8
"""Cells of it that stay beside what tells it apart, once that has APART_WIDTH: all that differs stands below too."""
BEFORE_FACTS = 7
"""Cells of letter and pattern, and of the gap after the name."""
LEVELS = ((0, 2, 3, 4), (1, 2, 3, 4), (1, 3, 4), (1, 3))
"""Which of a run's facts (`_facts`) are told, from the fullest to the shortest."""
ALIGNED = "<<>><"
"""How these stand in their columns."""


def standing_parts(sides: Sequence[Side], width: int, glyphs: words.Glyphs, gone: Sequence[str] = ()) -> list[Part]:
    """The runs and who leads at equal epochs; `gone` are the ids of those that were deleted meanwhile."""
    runs = [side.run for side in sides]
    told = apart(runs)
    facts = _fitting(sides, told, width - BEFORE_FACTS, glyphs, gone)
    parts: list[Part] = []
    for at, (run, said) in enumerate(zip(runs, facts, strict=True)):
        parts += _run_line(at, run, told[run.id], said, width, glyphs)
    found = compare.lead(runs, [side.curves.evaluations for side in sides])
    return [*parts, ("\n", ""), (_wrapped(compare.lead_sentence(found, runs), width), "bold"), ("\n\n", "")]


def name_parts(sides: Sequence[Side], width: int, glyphs: words.Glyphs) -> list[Part]:
    """The letters with their runs' names in one line, or with what their names end in; nothing where neither fits."""
    told = apart([side.run for side in sides])
    names = [title(side.run, told[side.run.id]) for side in sides]
    shared = _shared_beginning(names)
    for said in (names, [f"{glyphs.ellipsis}{name[shared:]}" for name in names]):
        starts = [f"{LETTERS[at]} {_sample(at, glyphs)} " for at in range(len(sides))]
        if sum(len(start) + cell_len(name) + 2 for start, name in zip(starts, said, strict=True)) - 2 <= width:
            parts = [((start, STYLES[at]), (f"{said[at]}  ", "")) for at, start in enumerate(starts)]
            return list(itertools.chain.from_iterable(parts))
    return []


def _shared_beginning(names: Sequence[str]) -> int:
    """Characters of the whole words that all names begin with: 'turbo-' of 'turbo-seed1' and 'turbo-seed2'."""
    same = itertools.takewhile(lambda letters: len({*letters}) == 1, zip(*names, strict=False))
    return max((at for at, letters in enumerate(same, 1) if letters[0] in "-_ "), default=0)


def paired_parts(pairs: Sequence[Pair] | None, width: int) -> list[Part]:
    """The paired tests, or why there is none; `pairs` None: they are being computed."""
    if pairs is None:
        return [("Testing them on the same images ...\n", _MUTED)]
    parts: list[Part] = []
    tested = [pair for pair in pairs if pair.comparison]
    for pair in tested:
        first, *rest = compare.pair_sentences(pair, len(tested))
        parts.append((_wrapped(first, width) + "\n", ""))
        parts += [(_wrapped(sentence, width, "  ") + "\n", _MUTED) for sentence in rest]
    if untested := compare.untested_sentence(pairs):
        parts.append((_wrapped(untested, width) + "\n", _MUTED))
    return [*parts, (_wrapped(CAVEAT, width) + "\n", _MUTED)] if tested else parts


def _fitting(
    sides: Sequence[Side], told: Mapping[str, str], width: int, glyphs: words.Glyphs, gone: Sequence[str]
) -> list[str]:
    """Every run's facts in columns, the fullest that leave room in `width` for whole names, else for what tells apart.

    For a whole name the state's word is given up, which its glyph says, but not the position.
    """
    every = [_facts(side, glyphs, side.run.id in gone) for side in sides]
    widest = [max(len(column) for column in columns) for columns in zip(*every, strict=True)]
    whole = max(cell_len(title(side.run, told[side.run.id])) for side in sides)
    least = max([NAME_ROOM, *(_kept(side.run) + len(f" {told[side.run.id]}") for side in sides)])
    choices = [(whole, shown) for shown in LEVELS[:2]] + [(least, shown) for shown in LEVELS]
    shown = next(
        (shown for name, shown in choices if name + sum(widest[at] + 1 for at in shown) - 1 <= width), LEVELS[-1]
    )
    return [" ".join(f"{facts[at]:{ALIGNED[at]}{widest[at]}}" for at in shown) for facts in every]


def _facts(side: Side, glyphs: words.Glyphs, gone: bool) -> tuple[str, ...]:
    """State, in a word and as a glyph, position and accuracies of a run."""
    run, records = side.run, side.curves.evaluations
    glyph = glyphs.states[run.state]
    short, state = ("deleted", "deleted") if gone else (glyph, f"{glyph} {run.state}")
    best = max(records, key=lambda record: record.test_accuracy, default=None)
    epochs = str(run.status.epochs) if run.status else ""
    position = f"{run.status.epoch:>{len(epochs)}}/{epochs}" if run.status else glyphs.missing
    last = words.percent(records[-1].test_accuracy if records else None, glyphs.missing)
    highest = f" best {best.test_accuracy:.2f} ({best.epoch})" if best else ""
    return state, short, position, last, highest


def _run_line(at: int, run: Run, told: str, facts: str, width: int, glyphs: words.Glyphs) -> list[Part]:
    room = max(1, width - len(facts) - BEFORE_FACTS)
    tail = run.id.rpartition("-")[2]  # what the command line takes
    told = words.shorten(told, max(APART_WIDTH, room - _kept(run) - 1), glyphs.ellipsis)
    whole = short_title(run, told, room, glyphs)
    name = f"{whole} {tail}" if tail not in told and cell_len(whole) + 1 + len(tail) <= room else whole
    return [
        (f"{LETTERS[at]} {_sample(at, glyphs):<3} ", STYLES[at]),
        (name + " " * (room - cell_len(name) + 1), ""),
        (f"{facts.rstrip()}\n", _MUTED),
    ]


def _sample(at: int, glyphs: words.Glyphs) -> str:
    """What a run's curve looks like, in two or three cells."""
    return LETTERS[at].lower() * 3 if glyphs is words.ASCII else LEGEND[PATTERNS[at % len(PATTERNS)]]


def _kept(run: Run) -> int:
    """Cells of a run's name that stay."""
    return min(cell_len(title(run)), NAME_KEPT)


def difference_parts(sides: Sequence[Side], width: int) -> list[Part]:
    """The settings that differ, each with its values and whose they are."""
    found = differing([side.run for side in sides])
    if not found:
        return [(_wrapped("The same configuration in every field, the seed included.", width) + "\n", _MUTED)]
    parts: list[Part] = [("Different settings\n", "bold")]
    widest = max(len(row.key) for row in found)
    for row in found:
        parts.append((f"{row.key:<{widest}}  ", ""))
        at = widest + 2
        for text, letters in _grouped(row).items():
            entry = f"{letters} {text}   "
            if at + len(entry.rstrip()) > width and at > widest + 2:
                parts.append((f"\n{'':<{widest + 2}}", ""))
                at = widest + 2
            parts += [(letters, "bold"), (f" {text}   ", "$text-warning")]
            at += len(entry)
        parts.append(("\n", ""))
    return parts


def _grouped(row: Difference) -> dict[str, str]:
    """Each value in words and the letters of the runs that have it: {'0.1': 'A,B', '0.02': 'C'}."""
    grouped: dict[str, str] = {}
    for letter, value in zip(LETTERS, row.values, strict=False):
        text = field_value(value)
        grouped[text] = f"{grouped[text]},{letter}" if text in grouped else letter
    return grouped


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return "\n".join(textwrap.wrap(text, max(20, width), initial_indent=indent, subsequent_indent=indent))
