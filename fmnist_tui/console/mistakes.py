"""What `runs mistakes` prints: the confusion matrix, scores by class, the worst pairs, and the images of a pair."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from fmnist_tui.analysis import mistakes
from fmnist_tui.analysis.confusion import (
    SHORT_CLASSES,
    Matrix,
    accuracy,
    class_scores,
    confusion_matrix,
    read_history,
    worst_pairs,
)
from fmnist_tui.analysis.epochs import Trained, epoch_text
from fmnist_tui.analysis.predictions import (
    Predictions,
    PredictionsError,
    TestSet,
    load_predictions,
    load_test_set,
    read_stored,
)
from fmnist_tui.config import CLASSES
from fmnist_tui.console import words
from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.console.output import UsageError
from fmnist_tui.data.source import DataError
from fmnist_tui.runs.store import Run

STRONG, NOTICED = 5.0, 1.0
"""Shares of a class, %, from which a confusion is drawn red, and yellow."""
TENTHS_FROM = 68
"""Columns that the matrix takes with tenths, where each class is taken for each other and 100.0 stands somewhere."""


class Shown(NamedTuple):
    """The evaluation of a run that is printed."""

    run: Run
    epoch: int
    trained: float
    """Epochs trained by then: not whole where a step limit came first."""
    matrix: Matrix
    predictions: Predictions | None
    """Of the last and the best evaluation, where the data set is here."""
    test: TestSet | None
    tag: str
    """'last', 'best', 'last, best', or '' for another epoch."""


def parse_pair(text: str) -> tuple[int, int]:
    """Classes from 'TRUE,PREDICTED': names in full or short, or numbers 0 to 9. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2:
        raise UsageError(f"--pair {text}: is not TRUE,PREDICTED; give two classes, for example --pair Shirt,Coat")
    true, predicted = (_class_number(part, text) for part in parts)
    return true, predicted


def _class_number(name: str, pair: str) -> int:
    names = {str(k): k for k in range(len(CLASSES))}
    for group in (SHORT_CLASSES, CLASSES):
        names |= {known.lower(): k for k, known in enumerate(group)}
    if name.lower() in names:
        return names[name.lower()]
    near = difflib.get_close_matches(name.lower(), [known for known in names if not known.isdigit()], n=1, cutoff=0.5)
    hint = f"did you mean {CLASSES[names[near[0]]]}?" if near else f"the classes are {', '.join(CLASSES)}"
    raise UsageError(f"--pair {pair}: {name!r} is no class; {hint}")


def find_evaluation(run: Run, at: str, data_dir: Path | None, images_needed: bool) -> Shown:
    """The evaluation `at` names: 'last', 'best' or an epoch. Raises UsageError for one that was not kept.

    Where images are not needed, a data set that is not here is no error as long as the matrix is in the history.
    """
    history = read_history(run.directory)
    matrices = dict(zip(history.epochs.tolist(), history.matrices, strict=True))
    kept: dict[int, Predictions] = {}
    test: TestSet | None = None
    kept_epochs: dict[str, int] = {}
    try:
        kept_epochs = {which: read_stored(run.directory, which).epoch for which in ("best", "last")}
        test = load_test_set(run.config.data, data_dir) if run.config else None
        for which in ("best", "last"):
            predictions = load_predictions(run, which, test)
            kept[predictions.epoch] = predictions
            matrices.setdefault(predictions.epoch, confusion_matrix(predictions.labels, predictions.classes))
    except (DataError, PredictionsError):
        if images_needed or not matrices:
            raise
    epoch = _wanted_epoch(at, sorted(matrices), kept_epochs)
    if epoch not in matrices:
        known = ", ".join(map(str, sorted(matrices)))
        raise UsageError(f"--at {at}: {run.id} has no evaluation of that epoch; there are those of epochs {known}")
    if images_needed and epoch not in kept:
        images = " and ".join(f"{which} ({number})" for which, number in kept_epochs.items())
        raise UsageError(f"--at {at}: images of a pair are kept of two evaluations only: {images}")
    tag = ", ".join(which for which in ("last", "best") if kept_epochs.get(which) == epoch)
    return Shown(run, epoch, Trained(run).by(epoch), matrices[epoch], kept.get(epoch), test, tag)


def _wanted_epoch(at: str, epochs: list[int], kept: dict[str, int]) -> int:
    if at in ("last", "best"):
        return kept.get(at, epochs[-1])
    if at.isdigit():
        return int(at)
    raise UsageError(f"--at {at}: is not last, best or the number of an epoch")


# --- for people


def as_text(shown: Shown, pair: tuple[int, int] | None, top: int) -> RenderableType:
    """Everything for a terminal, or a file; of one pair its images alone."""
    if pair is not None:
        return Group(_head(shown), *_image_lines(shown, pair, top))
    return Group(
        _head(shown),
        Text("rows are true classes, columns predicted ones, cells % of the true class\n"),
        _MatrixTable(shown.matrix),
        Text(),
        _scores_table(shown.matrix),
        Text("\nWorst pairs", style="bold"),
        *_pair_lines(shown.matrix, top),
    )


def _head(shown: Shown) -> Text:
    data = shown.run.config.data if shown.run.config else None
    where = f", {data.split} split, {'full data' if data.source == 'full' else 'sample'}" if data else ""
    of = "held-out training images" if data and data.hold_out else "test images"
    tag = f" ({shown.tag})" if shown.tag else ""
    images = int(shown.matrix.sum())
    return Text.assemble(
        (f"{shown.run.id}\n", "bold"),
        f"epoch {epoch_text(shown.trained)}{tag}: {words.percent(accuracy(shown.matrix))} of {images:,} {of} "
        f"right{where}",
    )


@dataclass(frozen=True)
class _MatrixTable:
    """The matrix in per cent of each true class, with tenths where there is room for them."""

    matrix: Matrix

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        tenths = options.max_width >= TENTHS_FROM
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        table.add_column("true", no_wrap=True)
        for name in SHORT_CLASSES:
            table.add_column(name[: 5 if tenths else 2], justify="right", no_wrap=True)
        for true, name in enumerate(SHORT_CLASSES):
            table.add_row(name, *(self._cell(true, predicted, tenths) for predicted in range(len(CLASSES))))
        yield table

    def _cell(self, true: int, predicted: int, tenths: bool) -> Text:
        count = int(self.matrix[true, predicted])
        if count == 0:
            return Text("-", style="dim")
        share = 100.0 * count / int(self.matrix[true].sum())
        style = "bold" if true == predicted else "red" if share >= STRONG else "yellow" if share >= NOTICED else ""
        return Text(f"{share:.1f}" if tenths else f"{math.floor(share + 0.5)}", style=style)


SCORES = (
    Column("class"),
    Column("images", 4, right=True),
    Column("precision %", 1, right=True),
    Column("recall %", 2, right=True),
    Column("F1 %", 3, right=True),
)


def _scores_table(matrix: Matrix) -> FittedTable:
    scores = class_scores(matrix)
    rows = []
    for k, name in enumerate(CLASSES):
        values = (scores.precision[k], scores.recall[k], scores.f1[k])
        cells = (words.NOTHING if math.isnan(value) else f"{value:.2f}" for value in values)
        rows.append([name, f"{int(scores.images[k]):,}", *cells])
    return FittedTable(SCORES, rows)


def _pair_lines(matrix: Matrix, top: int) -> list[Text]:
    pairs = worst_pairs(matrix, top)
    lines = [Text(f"{pair.words}  ({pair.count:,} of {int(matrix[pair.true].sum()):,})") for pair in pairs]
    return lines or [Text("No image is taken for another class.")]


def _image_lines(shown: Shown, pair: tuple[int, int], top: int) -> list[RenderableType]:
    true, predicted = pair
    assert shown.predictions is not None and shown.test is not None
    indices = mistakes.images_in_cell(shown.predictions, true, predicted)
    if true == predicted:
        title = f"{CLASSES[true]} recognised, least confident first"
    else:
        title = f"{CLASSES[true]} taken for {CLASSES[predicted]}, most confident first"
    first = f"{min(top, len(indices)):,} of {len(indices):,}"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("image", "in the files"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("guesses", no_wrap=True)
    for index in indices[:top].tolist():
        guesses = mistakes.top_guesses(shown.predictions, index)
        said = ", ".join(f"{CLASSES[k]} {100 * probability:.1f} %" for k, probability in guesses)
        table.add_row(str(index), shown.test.origin(index), said)
    return [Text(f"\n{title} ({first})", style="bold"), table if len(indices) else Text("There is none.")]


# --- for scripts


def as_objects(shown: Shown, pair: tuple[int, int] | None, top: int) -> Iterator[dict[str, Any]]:
    """The same as JSON objects: one 'matrix', ten 'class', then the 'pair's, or the 'image's of one pair."""
    yield {
        "kind": "matrix",
        "id": shown.run.id,
        "epoch": shown.epoch,
        "epochs_trained": shown.trained,
        "images": int(shown.matrix.sum()),
        "accuracy": accuracy(shown.matrix),
        "classes": list(CLASSES),
        "counts": shown.matrix.tolist(),
    }
    scores = class_scores(shown.matrix)
    for k, name in enumerate(CLASSES):
        values = {"precision": scores.precision[k], "recall": scores.recall[k], "f1": scores.f1[k]}
        numbers = {key: None if np.isnan(value) else float(value) for key, value in values.items()}
        yield {"kind": "class", "class": name, "images": int(scores.images[k]), **numbers}
    if pair is None:
        for found in worst_pairs(shown.matrix, top):
            names = {"true": CLASSES[found.true], "predicted": CLASSES[found.predicted]}
            yield {"kind": "pair", **names, "count": found.count, "share": found.share}
        return
    assert shown.predictions is not None and shown.test is not None
    for index in mistakes.images_in_cell(shown.predictions, *pair)[:top].tolist():
        yield {
            "kind": "image",
            "index": index,
            "origin": shown.test.origin(index),
            "true": CLASSES[pair[0]],
            "predicted": CLASSES[pair[1]],
            "probabilities": [float(p) for p in shown.predictions.probabilities[index]],
        }
