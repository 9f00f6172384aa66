"""What the Compare screen says in words: the runs with their letters, who leads, the paired tests, the settings that
differ. Pure; the sentences are those of `runs compare` (`analysis.compare`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from fmnist_tui.analysis import compare
from fmnist_tui.analysis.compare import CAVEAT, LETTERS, Pair
from fmnist_tui.report.words import field_value
from fmnist_tui.tui import format as words
from fmnist_tui.tui.compare_data import PATTERNS, Side
from fmnist_tui.tui.widgets.chart_raster import LEGEND

Part = tuple[str, str]
STYLES = (
    "bold $text-primary", "bold $text-accent", "bold $text-success", "bold $text-error", "$foreground",
    "$text-warning", "$text-secondary", "$foreground 60%",
)  # fmt: skip
"""Of the runs' letters: the same as their curves' (widgets.chart)."""
_MUTED = "$foreground 65%"


def standing_parts(sides: Sequence[Side], width: int, glyphs: words.Glyphs, gone: Sequence[str] = ()) -> list[Part]:
    """The runs and who leads at equal epochs; `gone` are the ids of those that were deleted meanwhile."""
    parts: list[Part] = []
    for at, side in enumerate(sides):
        parts += _run_line(at, side, width, glyphs, side.run.id in gone)
    names = LETTERS[: len(sides)]
    found = compare.lead([side.curves.evaluations for side in sides])
    return [*parts, ("\n", ""), (_wrapped(compare.lead_sentence(found, names), width), "bold"), ("\n\n", "")]


def paired_parts(pairs: Sequence[Pair] | None, width: int) -> list[Part]:
    """The paired tests, or why there is none; `pairs` None: they are being computed."""
    if pairs is None:
        return [("Testing them on the same images ...\n", _MUTED)]
    parts: list[Part] = []
    tested = sum(pair.comparison is not None for pair in pairs)
    for pair in pairs:
        first, *rest = compare.pair_sentences(pair, tested)
        parts.append((_wrapped(first, width) + "\n", "" if pair.comparison else _MUTED))
        parts += [(_wrapped(sentence, width, "  ") + "\n", _MUTED) for sentence in rest]
    return [*parts, (_wrapped(CAVEAT, width) + "\n", _MUTED)] if tested else parts


def _run_line(at: int, side: Side, width: int, glyphs: words.Glyphs, gone: bool) -> list[Part]:
    run, records = side.run, side.curves.evaluations
    sample = LETTERS[at].lower() * 3 if glyphs is words.ASCII else LEGEND[PATTERNS[at % len(PATTERNS)]].ljust(3)
    best = max(records, key=lambda record: record.test_accuracy, default=None)
    state = "deleted" if gone else f"{glyphs.states[run.state]} {run.state}"
    position = f"{run.status.epoch}/{run.status.epochs}" if run.status else glyphs.missing
    last = words.percent(records[-1].test_accuracy if records else None, glyphs.missing)
    highest = f"best {best.test_accuracy:.2f} ({best.epoch})" if best else ""
    facts = f"{state:<10} {position:>9} {last:>6}  {highest:<16}"
    # The end of an id is what tells runs of one name apart, and what the command line takes.
    room = max(8, width - len(facts) - 7)
    tail = run.id.rpartition("-")[2]
    name = words.shorten(run.name, max(3, room - len(tail) - 1), glyphs.ellipsis) + f" {tail}"
    return [(f"{LETTERS[at]} {sample} ", STYLES[at]), (f"{name:<{room}} ", ""), (f"{facts.rstrip()}\n", _MUTED)]


def difference_parts(sides: Sequence[Side], width: int) -> list[Part]:
    """The settings that differ, each with its values and whose they are."""
    found = compare.differing([side.run for side in sides])
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


def _grouped(row: compare.Difference) -> dict[str, str]:
    """Each value in words and the letters of the runs that have it: {'0.1': 'A,B', '0.02': 'C'}."""
    grouped: dict[str, str] = {}
    for letter, value in zip(LETTERS, row.values, strict=False):
        text = field_value(value)
        grouped[text] = f"{grouped[text]},{letter}" if text in grouped else letter
    return grouped


def _wrapped(text: str, width: int, indent: str = "") -> str:
    return "\n".join(textwrap.wrap(text, max(20, width), initial_indent=indent, subsequent_indent=indent))
