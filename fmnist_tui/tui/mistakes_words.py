"""What the Mistakes screen says in words: its title, the worst pairs, the cell under the cursor, captions of images.

Pure functions from a `Reading` to text; the screen puts them into its widgets.
"""

from __future__ import annotations

import math

import numpy as np
from rich.cells import cell_len
from textual.content import Content

from fmnist_tui.analysis import mistakes
from fmnist_tui.analysis.confusion import SHORT_CLASSES, Matrix, accuracy, class_scores, worst_pairs
from fmnist_tui.analysis.predictions import Predictions, TestSet
from fmnist_tui.config import CLASSES, IMAGE_SIZE
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui.mistakes_data import Reading
from fmnist_tui.tui.mistakes_lists import Listing
from fmnist_tui.tui.widgets.matrix import spark

Parts = list[tuple[str, str]]
SPARK = 16
"""Most cells of a history in the panel."""
LABEL = 10
"""Cells of what a history is of."""


def tags(reading: Reading, epoch: int) -> str:
    """'last, best' where an epoch is that, '' for any other."""
    found = ["last"] if reading.epochs and epoch == reading.epochs[-1] else []
    return ", ".join([*found, *(["best"] if epoch == reading.best_epoch else [])])


def images_words(run: Run) -> str:
    """What a run is tested on."""
    return "held-out training images" if run.config and run.config.data.hold_out else "test images"


def evaluation_line(reading: Reading, at: int, run: Run, width: int) -> str:
    """Which weights, how good, of how many images of what; shortened where it has to be."""
    epoch, matrix = reading.epochs[at], reading.matrices[at]
    after = f"Epoch {reading.trained.text(epoch)}"
    of = f" of {run.status.epochs}" if run.status and run.status.epochs else ""
    tagged = f" ({tags(reading, epoch)})" if tags(reading, epoch) else ""
    good = f"{tagged}  {words.percent(accuracy(matrix))} % right of {int(matrix.sum()):,} {images_words(run)}"
    data = run.config.data if run.config else None
    where = f" ({data.split} split, {'full data' if data.source == 'full' else 'sample'})" if data else ""
    short = f" ({data.split}{', sample' if data.source == 'sample' else ''})" if data else ""
    line = f"{after}{good}"
    for longer in (
        f"{after}{of}{good}{where}  matrix {at + 1} of {len(reading.epochs)}",
        f"{after}{of}{good}{where}",
        f"{after}{of}{good}{short}",
        f"{after}{good}{short}",
    ):
        if len(longer) <= width:
            return longer
    return line


def title(
    run_id: str, run: Run | None, gone: bool, reading: Reading | None, at: int | None, width: int, glyphs: words.Glyphs
) -> Content:
    """Two lines: which run in which state, and which evaluation of it or why there is none."""
    parts = _which(run_id, run, gone, width, glyphs)
    if reading is not None and at is not None and run is not None:
        parts.append((f"\n{evaluation_line(reading, at, run, width)}", ""))
    elif reading is None:
        parts.append(("\nReading the predictions ...", "$foreground-muted"))
    elif run is not None and run.state.alive:
        parts.append(("\nNo evaluation yet: the matrix comes with the first.", "$foreground-muted"))
    else:
        parts.append((f"\nThere is nothing to show. {reading.problem}", "$foreground-muted"))
    return Content.assemble(*parts)


def _which(run_id: str, run: Run | None, gone: bool, width: int, glyphs: words.Glyphs) -> Parts:
    """Name, id and state. Where there is no room the id gives way to its end, then the name is shortened."""
    head = f"Mistakes of {run.name if run else run_id}"
    state = "deleted" if gone else str(run.state) if run else ""
    said = f"  {state}" if state else ""
    room = width - cell_len(said)
    for more in (f"  {run_id}", f"  {run_id[-4:]}"):  # its end tells runs of one name apart
        if cell_len(head) + cell_len(more) <= room:
            return [(head, "bold"), (more + said, "$foreground-muted")]
    return [(words.shorten(head, room, glyphs.ellipsis), "bold"), (said, "$foreground-muted")]


def pair_lines(matrix: Matrix, rows: int, cursor: tuple[int, int]) -> Content:
    """The worst pairs under their heading; the one under the cursor is marked."""
    parts: Parts = [("Worst pairs", "bold $primary")]
    pairs = worst_pairs(matrix, rows - 1)
    for pair in pairs:
        here = (pair.true, pair.predicted) == cursor
        parts.append((f"\n{pair.words}", "bold" if here else ""))
    if not pairs:
        parts.append(("\nNo image is taken for another class.", "$foreground-muted"))
    return Content.assemble(*parts)


def cell_lines(reading: Reading, at: int, cursor: tuple[int, int], width: int, glyphs: words.Glyphs) -> Content:
    """The cell under the cursor, its history, and the scores of its true class with theirs, in lines of `width`."""
    true, predicted = cursor
    stack = np.stack(reading.matrices[: at + 1])
    matrix, scores = stack[-1], class_scores(stack)
    count, total = int(matrix[true, predicted]), int(matrix[true].sum())
    with np.errstate(invalid="ignore"):
        shares = 100.0 * stack[:, true, predicted] / stack[:, true].sum(axis=1)
    name = CLASSES[true]
    head = f"{name} recognised" if true == predicted else f"{name} taken for {CLASSES[predicted]}"
    parts: Parts = [(head, "bold"), (f"\n{count:,} of {total:,} images of {name}\n", "")]
    parts += _history("share", shares.tolist(), width, glyphs)
    parts.append((f"{name}\n", "bold"))
    for label, values in (("precision", scores.precision), ("recall", scores.recall), ("F1", scores.f1)):
        parts += _history(label, values[:, true].tolist(), width, glyphs)
    return Content.assemble(*parts)


def _history(label: str, values: list[float], width: int, glyphs: words.Glyphs) -> Parts:
    """A line: label, curve over the evaluations, and the first and the present value; the curve gives way to these."""
    first, now = (glyphs.missing if math.isnan(value) else f"{value:.1f}" for value in (values[0], values[-1]))
    figures = f"{first} {glyphs.arrow} {now} %" if len(values) > 1 else f"{now} %"
    room = min(SPARK, width - LABEL - 1 - len(figures))
    line = spark(values, room, glyphs) if len(values) > 1 and room > 0 else ""
    return [
        (f"{label:<{LABEL}}", "$foreground-muted"),
        (f"{line} " if line else "", "$primary"),
        (f"{figures}\n", ""),
    ]


def caption(listing: Listing, test: TestSet, place: int) -> str:
    """Four lines below the image in this place of a list."""
    if listing.shared is not None:
        return _shared_caption(listing.shared, test, place)
    assert listing.predictions is not None
    index = int(listing.indices[place])
    before = f"before: {CLASSES[int(listing.before[index])]}" if listing.before is not None else ""
    return _caption(listing.predictions, test, index, before)


def _caption(predictions: Predictions, test: TestSet, index: int, before: str) -> str:
    """The true class, what was predicted, the next two guesses (or what was `before`), where the image is."""
    first, *others = mistakes.top_guesses(predictions, index)
    right = first.class_number == int(predictions.labels[index])
    return "\n".join(
        [
            f"is {CLASSES[int(predictions.labels[index])]}",
            f"{'said so' if right else f'said {CLASSES[first.class_number]}'} {100 * first.probability:.1f} %",
            before or ", ".join(f"{SHORT_CLASSES[k]} {100 * p:.1f}" for k, p in others) + "%",
            _place(test, index),
        ]
    )


def _shared_caption(shared: mistakes.AlwaysWrong, test: TestSet, at: int) -> str:
    """The label, what the runs say and how surely, how many of them, where the image is."""
    index = int(shared.indices[at])
    return "\n".join(
        [
            f"labelled {CLASSES[int(test.labels[index])]}",
            f"runs say {CLASSES[int(shared.said[at])]}",
            f"{int(shared.agreeing[at])} of {len(shared.runs)} runs, mean {100 * float(shared.probability[at]):.0f} %",
            _place(test, index),
        ]
    )


def _place(test: TestSet, index: int) -> str:
    """The index in the test set, and where that is in the official files if it is not the same."""
    origin = test.origin(index)
    line = f"image {index}" if origin == f"test {index}" else f"image {index} ({origin})"
    return line[:IMAGE_SIZE]


def first_cell(matrix: Matrix) -> tuple[int, int]:
    """Where the cursor begins: on the worst pair."""
    pairs = worst_pairs(matrix, 1)
    return (pairs[0].true, pairs[0].predicted) if pairs else (0, 0)
