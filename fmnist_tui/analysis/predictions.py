"""A run's predictions beside the true labels of the images they are of.

The one reader of predictions.npz, for the command line, the app and the report. `load_test_set` gives the images
and labels a run was tested on, `load_predictions` what the run made of them, in the same order.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.config import CLASSES, DATA_SIZES, DataConfig
from fmnist_tui.data import source
from fmnist_tui.data.split import held_out, split_of
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.store import Run

Which = Literal["last", "best"]
"""The newest evaluation of a run, or the one of its highest test accuracy (the earliest of equals)."""


class PredictionsError(RunError):
    """Predictions that can't be had; the text names the run or the file, says why and what to do."""


class NoPredictions(PredictionsError):
    """There are none: the run has not been evaluated, or the file was left out where it was copied from."""


@dataclass(frozen=True)
class TestSet:
    """The images a run is tested on, in the order of its predictions."""

    __test__ = False  # its name makes pytest look for tests in it

    images: NDArray[np.uint8]
    """(N, 28, 28) uint8."""
    labels: NDArray[np.uint8]
    """(N,) uint8, class numbers 0-9."""
    data: DataConfig
    """Which these are."""
    sha256: dict[str, str]
    """SHA-256 of each file's uncompressed content, by file name."""

    def origin(self, index: int) -> str:
        """Where an image comes from: 'test 123', or of the custom split's second part 'train 30123'.

        Counted from 0 in the official files of the data set (of the sample, in the sample's own).
        """
        if self.data.hold_out:
            images = sum(self.data.sizes)
            return f"train {held_out(images, self.data.hold_out, self.data.fold).start + index}"
        train, test = DATA_SIZES[self.data.source]
        return f"test {index}" if index < test else f"train {index - test + train // 2}"


def load_test_set(config: DataConfig, data_dir: Path | None = None) -> TestSet:
    """The test images and labels of a configuration; about half a second for the full data, whose sums are checked.

    Raises DataError where the data set can't be had.
    """
    images = source.load(config, data_dir)
    parts = split_of(images, config)
    return TestSet(parts.test_images, parts.test_labels, config, dict(images.sha256))


@dataclass(frozen=True)
class Predictions:
    """What a run predicted for each image of its test set, at one evaluation."""

    run_id: str
    which: Which
    epoch: int
    """The epoch that ended in this evaluation, counted from 1."""
    classes: NDArray[np.uint8]
    """(N,) uint8: the predicted class."""
    probabilities: NDArray[np.float32]
    """(N, 10) float32: softmax, rounded to float16 when it was written."""
    labels: NDArray[np.uint8]
    """(N,) uint8: the true class."""
    data: DataConfig
    """Which images these are."""
    previous_classes: NDArray[np.uint8] | None = None
    """(N,) uint8: what the evaluation before the last one predicted; only of 'last', and not in files of old runs."""
    previous_epoch: int | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.labels)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether each image's predicted class is its true one."""
        return np.equal(self.classes, self.labels)

    @property
    def accuracy(self) -> float:
        """Prec@1, %."""
        return 100.0 * float(self.right.mean())


@dataclass(frozen=True)
class Stored:
    """One evaluation as predictions.npz holds it, without the truth."""

    epoch: int
    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    previous_classes: NDArray[np.uint8] | None
    previous_epoch: int | None


def read_stored(directory: RunDirectory, which: Which = "last") -> Stored:
    """What a run's predictions.npz holds of an evaluation. Raises PredictionsError: missing, unreadable or damaged."""
    return _read(directory, directory.predictions, which)


def _stored(run: Run, which: Which, earlier: bool) -> Stored:
    """What a run predicted lately, or for its earlier result: that is in a place of its own once training has begun."""
    directory = run.directory
    if not earlier:
        return read_stored(directory, which)
    result = run.earlier
    if result is None:
        why = run.earlier_problem or "it is not a finished run that goes on; what it predicted last is its newest"
        raise PredictionsError(f"{run.id}: has no earlier result: {why}")
    moved = directory.earlier_result.exists()
    stored = _read(directory, directory.earlier_predictions if moved else directory.predictions, which)
    epoch = result.epochs if which == "last" else result.best_epoch
    if stored.epoch != epoch:
        raise PredictionsError(
            f"{run.id}: its predictions are of epoch {stored.epoch}, the earlier result is of epoch {epoch}: the run "
            "has gone on since it was loaded; load it again"
        )
    return stored


def _read(directory: RunDirectory, path: Path, which: Which) -> Stored:
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in (f"{which}_classes", f"{which}_probabilities", f"{which}_epoch")}
            if which == "last" and "previous_classes" in file:
                arrays |= {key: file[key] for key in ("previous_classes", "previous_epoch")}
    except FileNotFoundError:
        if not directory.marker.exists():
            raise PredictionsError(f"{directory.path}: is no run (any more)") from None
        raise NoPredictions(
            f"{directory.id}: has no predictions: predictions.npz, which every evaluation writes, is not there"
        ) from None
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or ["empty"])[0][:120]
        reason = "no arrays" if "pickle" in reason else reason  # what NumPy takes any other file for
        raise PredictionsError(f"{path}: is damaged ({reason}); the run's next evaluation replaces it") from None
    return _checked(path, which, arrays)


def _checked(path: Path, which: Which, arrays: dict[str, NDArray[Any]]) -> Stored:
    classes, probabilities = arrays[f"{which}_classes"], arrays[f"{which}_probabilities"]
    previous = arrays.get("previous_classes")
    epochs = [array for key, array in arrays.items() if key.endswith("_epoch")]
    whole = (
        classes.ndim == 1
        and probabilities.shape == (len(classes), len(CLASSES))
        and probabilities.dtype.kind == "f"
        and all(epoch.shape == () and epoch.dtype.kind in "iu" for epoch in epochs)
        and all(
            array.dtype == np.uint8 and array.shape == classes.shape and (array < len(CLASSES)).all()
            for array in (classes, previous)
            if array is not None
        )
    )
    if not whole:
        raise PredictionsError(f"{path}: is damaged (its arrays are not of the shapes and kinds a trainer writes)")
    return Stored(
        int(arrays[f"{which}_epoch"]),
        classes.astype(np.uint8),
        probabilities.astype(np.float32),
        None if previous is None else previous.astype(np.uint8),
        None if previous is None else int(arrays["previous_epoch"]),
    )


def load_predictions(
    run: Run, which: Which = "last", test: TestSet | None = None, data_dir: Path | None = None, earlier: bool = False
) -> Predictions:
    """A run's predictions with the true labels. `test` saves reading the data again; it must be of the run's data.

    With `earlier` those of the result a finished run had come to before it went on (`Run.earlier`).

    Raises PredictionsError where they are missing, damaged or of other images than the run's test set, and
    DataError where the data set can't be had.
    """
    if run.config is None:
        raise PredictionsError(f"{run.id}: {run.problem}; so what it was tested on is not known")
    stored = _stored(run, which, earlier)
    test = test or load_test_set(run.config.data, data_dir)
    _check_tested_on(run, run.config.data, stored, test, run.earlier if earlier else run.result)
    return Predictions(
        run.id,
        which,
        stored.epoch,
        stored.classes,
        stored.probabilities,
        test.labels,
        run.config.data,
        stored.previous_classes,
        stored.previous_epoch,
    )


def _check_tested_on(run: Run, data: DataConfig, stored: Stored, test: TestSet, result: Result | None) -> None:
    """Raises PredictionsError where a run was tested on other images than these."""
    if test.data != data:
        raise PredictionsError(f"{run.id}: was tested on the {data.words}, not on the {test.data.words}")
    if len(stored.classes) != len(test.labels):
        raise PredictionsError(
            f"{run.directory.predictions}: holds {len(stored.classes):,} images, the {test.data.words} has "
            f"{len(test.labels):,} to test on; it is of another split or data set"
        )
    made_with = result.provenance.data_sha256 if result else {}
    if other := [name for name, digest in made_with.items() if test.sha256.get(name, digest) != digest]:
        raise PredictionsError(
            f"{run.id}: was tested on other files than are here now ({', '.join(other)} differ), as with a sample "
            "of another version of fmnist-tui; its images can't be told"
        )
