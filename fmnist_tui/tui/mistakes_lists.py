"""The lists of images that the Mistakes screen can show: of a cell, all mistakes, flips, wrong in every run.

`read_always_wrong` is for a worker thread; pure otherwise: no Textual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.analysis import mistakes
from fmnist_tui.analysis.predictions import Predictions, PredictionsError, TestSet, load_predictions
from fmnist_tui.config import CLASSES
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run
from fmnist_tui.tui import format as words
from fmnist_tui.tui.mistakes_data import Reading

Kind = Literal["cell", "mistakes", "learned", "forgotten", "best learned", "best forgotten", "always"]
"""A list of images: those of the cell under the cursor, all mistakes, what flipped since the evaluation before or
since the best one, and what every finished run gets wrong."""


@dataclass(frozen=True)
class Listing:
    """Images to page through, or why there are none."""

    title: str
    indices: mistakes.Indices
    nothing: str
    """Said where there are no images."""
    predictions: Predictions | None = None
    """Whose guesses are told of them."""
    before: NDArray[np.uint8] | None = None
    """(N,) uint8: of flips, what the earlier evaluation predicted."""
    shared: mistakes.AlwaysWrong | None = None
    """What several runs say of them, instead."""


_NONE = np.zeros(0, dtype=np.int64)


def no_images(why: str) -> Listing:
    """A list that can't be had."""
    return Listing("", _NONE, why)


def kinds(reading: Reading) -> list[Kind]:
    """The lists that make sense for a run, in the order one steps through them."""
    return ["cell", "mistakes", *flip_kinds(reading), "always"]


def flip_kinds(reading: Reading) -> list[Kind]:
    """The lists of flips: since the evaluation before, and since the best where that is another than the last."""
    found: list[Kind] = ["learned", "forgotten"]
    if reading.last and reading.best and reading.last.epoch != reading.best.epoch:
        found += ["best learned", "best forgotten"]
    return found


def of_epoch(reading: Reading, epoch: int, cell: tuple[int, int] | None) -> Listing:
    """The images of a cell (true, predicted), or all mistakes, of an epoch whose predictions are kept."""
    predictions, said = reading.at(epoch), reading.trained.text
    if predictions is None:
        assert reading.last is not None
        best = said(reading.best_epoch) if reading.best_epoch is not None else "?"
        kept = f"of the last evaluation (epoch {said(reading.last.epoch)}) and of the best one (epoch {best})"
        return no_images(f"Of epoch {said(epoch)} only the matrix is kept. Images are kept {kept}.")
    if cell is None:
        title = f"All mistakes of epoch {said(epoch)}, most confident first"
        return Listing(title, mistakes.confident_mistakes(predictions), "No image is wrong.", predictions)
    true, predicted = cell
    order = "least confident first" if true == predicted else "most confident first"
    what = "recognised" if true == predicted else f"taken for {CLASSES[predicted]}"
    indices = mistakes.images_in_cell(predictions, true, predicted)
    nothing = f"No {CLASSES[true]} is {what} in epoch {said(epoch)}."
    return Listing(f"{CLASSES[true]} {what}, {order}", indices, nothing, predictions)


def flipped(reading: Reading, kind: Kind) -> Listing:
    """What the last evaluation gets right and an earlier one did not, or the other way round."""
    last, said = reading.last, reading.trained.text
    if last is None:
        return no_images(reading.problem)
    if kind.startswith("best"):
        assert reading.best is not None
        before, what = reading.best.classes, f"epoch {said(reading.best.epoch)} (best)"
    elif last.previous_classes is None or last.previous_epoch is None:
        return no_images(f"Only one evaluation was kept so far (epoch {said(last.epoch)}): nothing to compare with.")
    else:
        before, what = last.previous_classes, f"epoch {said(last.previous_epoch)} (the one before)"
    found = mistakes.flips(before, last.classes, last.labels)
    learned = kind.endswith("learned")
    verb = "Learned" if learned else "Forgotten"
    chosen = found.learned if learned else found.forgotten
    sure = mistakes.confidence(last)[chosen]
    chosen = chosen[np.argsort(-sure, kind="stable")]
    other = len(found.forgotten if learned else found.learned)
    change = f"{verb} from {what} to epoch {said(last.epoch)}"
    beside = f"{'Forgotten' if learned else 'Learned'} meanwhile: {other:,}."
    return Listing(f"{change}, surest first", chosen, f"{change}: no image. {beside}", last, before)


@dataclass(frozen=True)
class Shared:
    """The images that every finished run of the same test set gets wrong."""

    key: tuple[tuple[str, str], ...]
    """The runs that were asked for; see `key_of`."""
    found: mistakes.AlwaysWrong | None = None
    """None until they are read."""
    unread: int = 0
    """Runs whose predictions could not be used."""

    def listing(self, run: Run) -> Listing:
        """The images, or why there are none yet, or not of so few runs."""
        found = self.found
        if found is None:
            return no_images("Reading the predictions of all finished runs ...")
        data = run.config.data.words if run.config else "split"
        if len(found.runs) < 2:
            said = "One has" if found.runs else "None has"
            return no_images(f"This needs two or more finished runs of the {data}, with predictions. {said}.")
        unread = f"; {words.count(self.unread, 'run')} could not be read" if self.unread else ""
        title = f"Wrong in all {len(found.runs)} finished runs of the {data}, likely label errors first{unread}"
        return Listing(title, found.indices, f"No image is wrong in all {len(found.runs)} runs.", shared=found)


def comparable(run: Run, runs: Sequence[Run]) -> list[Run]:
    """The finished runs tested on the same images as this one."""
    return [
        other
        for other in runs
        if other.state is State.FINISHED and other.config and run.config and other.config.data == run.config.data
    ]


def key_of(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    """Each run's id and when it ended: one that was resumed and finished again predicts anew."""
    return tuple((run.id, (run.status.ended or "") if run.status else "") for run in runs)


def read_always_wrong(runs: Sequence[Run], test: TestSet) -> Shared:
    """Read every run's last predictions, one at a time, and keep the images that all get wrong."""
    unread = 0

    def readable() -> Iterator[Predictions]:
        nonlocal unread
        for run in runs:
            try:
                yield load_predictions(run, "last", test)
            except PredictionsError:
                unread += 1

    found = mistakes.always_wrong(readable())
    return Shared(key_of(runs), found, unread)
