"""What `evaluate` prints: figures of each run and of an ensemble, by class, and what may be concluded from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from fmnist_tui.analysis.calibration import BINS
from fmnist_tui.analysis.compare import p_text
from fmnist_tui.analysis.epochs import epoch_text
from fmnist_tui.analysis.scores import Scores
from fmnist_tui.config import CLASSES
from fmnist_tui.console import words
from fmnist_tui.console.fitted import Column, FittedTable
from fmnist_tui.report.words import signed

if TYPE_CHECKING:
    from fmnist_tui.console.evaluate import Ensemble, Evaluated

TEST_SET = (
    "These are the test images. The figures say what this network does on them; to choose a run, an epoch, an ensemble "
    "or a temperature by them makes the chosen figure flatter itself."
)
HELD_OUT = (
    "These are held-out training images, to choose by; what is chosen is measured on the test images once, by a run "
    "without data.hold_out."
)


def evaluation_text(
    found: Sequence[Evaluated], together: Ensemble | None, checkpoint: str, saved: bool
) -> RenderableType:
    """Tables and sentences."""
    parts: list[RenderableType] = [_figures(found, together)]
    parts += [Text(f"{each.run.id}: {each.agreement}.") for each in found]
    parts += [Text("\nAccuracy by class, %", style="bold"), _by_class(found, together)]
    parts += [Text(f"\nCalibration ({BINS} bins of equal width)", style="bold")]
    parts += [Text(f"{each.run.id}: {_calibrated(each.scores)}") for each in found]
    if together is not None:
        parts += [Text(f"ensemble: {_calibrated(together.scores)}"), Text("\nEnsemble", style="bold")]
        parts.append(Text(ensemble_sentence(together)))
    parts.append(Text("\n" + " ".join(cautions(found, checkpoint, saved)), style="dim"))
    return Group(*parts)


FIGURES = {"epoch": 5, "images": 6, "test %": 1, "with flip %": 2, "loss": 3, "ECE": 4}
"""Titles of the columns beside the run's id, and how soon each is left out where the terminal is narrow."""


def _figures(found: Sequence[Evaluated], together: Ensemble | None) -> FittedTable:
    averaged = any(each.figures.get("tta_accuracy") is not None for each in found)
    titles = [title for title in FIGURES if averaged or title != "with flip %"]
    columns = [Column("run"), *(Column(title, FIGURES[title], right=True) for title in titles)]
    rows = []
    for each in found:
        extra = _tta_cell(each.figures.get("tta_accuracy")) if averaged else []
        rows.append([each.run.id, *_cells(epoch_text(each.trained), each.scores, extra)])
    if together is not None:
        title = f"ensemble of {len(together.members)}"
        extra = _tta_cell(together.tta_accuracy) if averaged else []
        rows.append([title, *_cells(words.NOTHING, together.scores, extra)])
    return FittedTable(columns, rows)


def _tta_cell(accuracy: float | None) -> list[str]:
    return [words.NOTHING if accuracy is None else f"{accuracy:.2f}"]


def _cells(epoch: str, scores: Scores, extra: list[str]) -> list[str]:
    figures = [f"{scores.loss:.4f}", f"{scores.calibration.ece:.2f}"]
    return [epoch, f"{scores.images:,}", f"{scores.accuracy:.2f}", *extra, *figures]


def _by_class(found: Sequence[Evaluated], together: Ensemble | None) -> FittedTable:
    columns = [(each.run.id.rpartition("-")[2], each.scores) for each in found]
    columns += [("ensemble", together.scores)] if together else []
    rows = []
    for name in CLASSES:
        shares = [scores.by_class[name] for _, scores in columns]
        rows.append([name, *(words.NOTHING if share is None else f"{share:.2f}" for share in shares)])
    return FittedTable([Column(""), *(Column(title, 1, right=True) for title, _ in columns)], rows)


def _calibrated(scores: Scores) -> str:
    found, mended = scores.calibration, scores.mended
    return (
        f"ECE {found.ece:.2f} points; mean confidence {found.confidence:.2f} % at {found.accuracy:.2f} % accuracy: "
        f"{found.in_words}. A temperature of {mended.temperature:.2f}, fitted on every other image, takes ECE on the "
        f"rest from {mended.ece_before:.2f} to {mended.ece_after:.2f}."
    )


def ensemble_sentence(together: Ensemble) -> str:
    """The ensemble against its best member, with the paired test."""
    against = together.against_best
    low, high = against.interval
    verdict = "within noise" if against.within_noise else "beyond noise"
    return (
        f"The mean of {len(together.members)} runs' probabilities has {together.scores.accuracy:.2f} %, "
        f"{signed(against.difference)} points from its best member {together.best} "
        f"(95 % interval {low:+.2f} to {high:+.2f}; McNemar p {p_text(against.test.p)}: {verdict})."
    )


def cautions(found: Sequence[Evaluated], checkpoint: str, saved: bool) -> list[str]:
    """What the figures do not say, in sentences."""
    held_out = [bool(each.run.config and each.run.config.data.hold_out) for each in found]
    said = [HELD_OUT] if any(held_out) else []
    if not all(held_out):
        said.append(TEST_SET)
    if checkpoint == "best":
        said.append("The best checkpoint was chosen by its accuracy on these very images: its figures flatter.")
    if len(found) > 1:
        said.append(f"Of {len(found)} runs the best one's accuracy is partly luck; the mean over seeds is not.")
    if any(each.figures.get("tta_accuracy") is not None for each in found):
        said.append("The accuracy with flips needs two evaluations of each image and stands beside the headline.")
    if saved:
        said.append("Loss and calibration are of probabilities that were rounded to 16 bits.")
    return said


def evaluation_object(
    found: Sequence[Evaluated], together: Ensemble | None, checkpoint: str, saved: bool
) -> Iterator[dict[str, Any]]:
    """One object for each run, then one for the ensemble."""
    for each in found:
        yield {
            "run": each.run.id,
            "checkpoint": None if saved else checkpoint,
            "saved": checkpoint if saved else None,
            "epoch": each.epoch,
            "epochs_trained": each.trained,
            "tta_accuracy": each.figures.get("tta_accuracy"),
            **_scores_object(each.scores),
            "agreement": each.agreement,
            **{key: each.figures.get(key) for key in ("step", "device", "device_name", "precision", "seconds")},
        }
    if together is not None:
        against = together.against_best
        yield {
            "ensemble": list(together.members),
            "tta_accuracy": together.tta_accuracy,
            **_scores_object(together.scores),
            "best_member": together.best,
            "against_best_member": {**asdict(against), "within_noise": against.within_noise},
        }


def _scores_object(scores: Scores) -> dict[str, Any]:
    calibration = scores.calibration
    return {
        "images": scores.images,
        "accuracy": scores.accuracy,
        "loss": scores.loss,
        "by_class": scores.by_class,
        "ece": calibration.ece,
        "ece_bins": BINS,
        "confidence": calibration.confidence,
        "reliability": [row._asdict() for row in calibration.rows],
        "temperature": scores.mended._asdict(),
    }
