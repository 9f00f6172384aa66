"""Several runs side by side, for `runs compare`: as text in sections, or as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fmnist_tui.analysis import compare
from fmnist_tui.analysis.compare import CAVEAT, LETTERS, MOST, Pair
from fmnist_tui.analysis.differences import differing, names_apart
from fmnist_tui.console import words
from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.console.output import UsageError
from fmnist_tui.console.states import state_text
from fmnist_tui.console.tables import run_object
from fmnist_tui.fields import field_value
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.store import Run, find_run

Evaluations = Sequence[Sequence[EvalRecord]]


def find_runs(runs_dir: Path, texts: Sequence[str]) -> list[Run]:
    """The runs a user means, in the order given. Raises RunError, and UsageError for too few, too many or one twice."""
    if not 2 <= len(texts) <= MOST:
        raise UsageError(f"RUN: takes 2 to {MOST} runs, {len(texts)} given; see them with: fmnist-tui runs list")
    runs = [find_run(runs_dir, text) for text in texts]
    seen: dict[str, str] = {}
    for run, text in zip(runs, texts, strict=True):
        if run.id in seen:
            raise UsageError(f"RUN: {seen[run.id]!r} and {text!r} are the same run ({run.id}); give each once")
        seen[run.id] = text
    return runs


def comparison_text(runs: Sequence[Run], evaluations: Evaluations, pairs: Sequence[Pair]) -> RenderableType:
    """The runs, the settings that differ, who leads, and the paired tests."""
    parts: list[RenderableType] = [_runs_table(runs, evaluations)]
    parts += [Text("\nDifferent settings", style="bold"), _differences(runs)]
    led = compare.lead_sentence(compare.lead(runs, evaluations), runs)
    parts += [Text("\nAt equal epochs", style="bold"), Text(led)]
    parts += [Text("\nOn the same test images, at the last evaluation", style="bold")]
    tested = [pair for pair in pairs if pair.comparison]
    for pair in tested:
        first, *rest = compare.pair_sentences(pair, len(tested))
        parts += [Text(first), *(Text(f"  {sentence}", style="dim") for sentence in rest)]
    if untested := compare.untested_sentence(pairs):
        parts.append(Text(untested))
    if tested:
        parts.append(Text(CAVEAT, style="dim"))
    return Group(*parts)


COLUMNS = (
    Column(""),
    Column("run"),
    Column("name", 3, folds=True, least=8),
    Column("state", 5),
    Column("epoch", 4, right=True),
    Column("test %", 1, right=True),
    Column("best % (epoch)", 2, right=True, least=14),
)


def _runs_table(runs: Sequence[Run], evaluations: Evaluations) -> FittedTable:
    rows: list[list[str | Text]] = []
    names = names_apart(runs)
    for letter, run, records in zip(LETTERS, runs, evaluations, strict=False):
        best = max(records, key=lambda record: record.test_accuracy, default=None)
        rows.append(
            [
                Text(letter, style="bold"),
                run.id,
                names[run.id],
                state_text(run.state),
                f"{run.status.epoch}/{run.status.epochs}" if run.status else words.NOTHING,
                f"{records[-1].test_accuracy:.2f}" if records else words.NOTHING,
                f"{best.test_accuracy:.2f} ({best.epoch})" if best else words.NOTHING,
            ]
        )
    return FittedTable(COLUMNS, rows)


def _differences(runs: Sequence[Run]) -> RenderableType:
    found = differing(runs)
    if not found:
        return Text("None: the same configuration in every field, the seed included.")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for letter in LETTERS[: len(runs)]:
        table.add_column(letter)
    for key, values in found:
        table.add_row(key, *(field_value(value) for value in values))
    return table


def comparison_object(runs: Sequence[Run], evaluations: Evaluations, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The same as one object; a pair that could not be tested has `comparison` null and says why in `why_not`."""
    found = compare.lead(runs, evaluations)
    return {
        "runs": [{"letter": letter, **run_object(run)} for letter, run in zip(LETTERS, runs, strict=False)],
        "differences": {key: list(values) for key, values in differing(runs)},
        "at_equal_epochs": None
        if found is None
        else {**asdict(found), "leaders": found.leaders, "margin": found.margin},
        "said": compare.lead_sentence(found, runs),
        "pairs": [_pair_object(runs, pair) for pair in pairs],
    }


def _pair_object(runs: Sequence[Run], pair: Pair) -> dict[str, Any]:
    comparison = pair.comparison
    return {
        "first": runs[pair.first].id,
        "second": runs[pair.second].id,
        "why_not": pair.why_not,
        "epochs": list(pair.epochs),
        "comparison": comparison and {**asdict(comparison), "within_noise": comparison.within_noise},
    }
