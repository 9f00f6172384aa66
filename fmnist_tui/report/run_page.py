"""One run's part of the HTML report: its numbers, curves, confusion matrix, mistakes, configuration, provenance.

Called by `report.render`. Everything a user wrote (names, paths, command lines) goes through `page.text`.
"""

from __future__ import annotations

import base64
import functools
import io
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.analysis.axis import Linear, Log, Scale
from fmnist_tui.analysis.confusion import (
    SHORT_CLASSES,
    Matrix,
    class_scores,
    confusion_matrix,
    read_history,
    worst_pairs,
)
from fmnist_tui.analysis.differences import names_apart
from fmnist_tui.analysis.epochs import Trained, epoch_steps
from fmnist_tui.analysis.mistakes import confident_mistakes, top_guesses
from fmnist_tui.analysis.predictions import Predictions, PredictionsError, TestSet, load_predictions, load_test_set
from fmnist_tui.analysis.series import Series
from fmnist_tui.config import CLASSES, DataConfig
from fmnist_tui.data.source import DataError
from fmnist_tui.fields import field_value, flatten
from fmnist_tui.report.blocks import Column, Table
from fmnist_tui.report.curves import Level, Line, chart
from fmnist_tui.report.page import table, text
from fmnist_tui.report.words import duration, images, percent, speed
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.launch import last_launch
from fmnist_tui.runs.metrics import EvalRecord, Metrics, read_metrics
from fmnist_tui.runs.provenance import described, recorded
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import Run

MISTAKES = 24
"""Images of mistakes a run shows."""
PAIRS = 6
"""Confused pairs told in words."""

LoadTestSet = Callable[[DataConfig, Path | None], TestSet]


def sections(runs: Sequence[Run]) -> list[str]:
    """A list of links and a section for each run; the images of the data set are read once."""
    if not runs:
        return []
    names = names_apart(runs)
    links = "".join(f'<li><a href="#run-{text(run.id)}">{_title(names[run.id], run)}</a></li>' for run in runs)
    load_tests = functools.cache(load_test_set)
    return [f"<h2>Runs</h2><ul>{links}</ul>", *(section(run, names[run.id], load_tests) for run in runs)]


def section(run: Run, name: str, load_tests: LoadTestSet = load_test_set) -> str:
    """A run as a section element with the id 'run-ID', under a name that tells it from the others of the page.

    Never raises for what is in the run's directory or for missing data: a part that can't be had says why.
    """
    parts = [f'<section class="run" id="run-{text(run.id)}">', f"<h2>{_title(name, run)}</h2>"]
    if run.comment:
        parts.append(f'<p class="comment">{text(run.comment)}</p>')
    parts.append(_facts(run))
    metrics, unread = _metrics(run)
    parts += [f'<p class="problem">{text(said)}</p>' for said in (run.problem, run.earlier_problem, unread) if said]
    parts.append(_curves(run, metrics))
    parts.append(_evaluation(run, metrics.eval, load_tests))
    if run.config is not None:
        rows = [(key, field_value(value)) for key, value in flatten(run.config).items()]
        parts.append(f"<h3>Configuration</h3>{_pairs(rows)}")
    if (made := recorded(run)) is not None:
        parts.append(f"<h3>Made with</h3>{_pairs(described(made).items())}")
    return "\n".join(part for part in [*parts, "</section>"] if part)


def _metrics(run: Run) -> tuple[Metrics, str]:
    """The run's metrics, and '' or why there are none to be had."""
    try:
        return read_metrics(run.directory), ""
    except RunError as error:
        return Metrics(), str(error)


def _title(name: str, run: Run) -> str:
    return f"{text(name)} <small>{text(run.id)}</small>"


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Labels and values as a list that flows into columns where there is room."""
    items = "".join(f"<div><dt>{text(label)}</dt><dd>{text(value)}</dd></div>" for label, value in rows)
    return f'<dl class="pairs">{items}</dl>'


def _facts(run: Run) -> str:
    """The headline: state, accuracies and what they took, as far as they are known."""
    rows = [("state", str(run.state))]
    status, result = run.status, run.result
    if status is not None and status.error:
        rows.append(("error", status.told()))
    if result is not None:
        rows += [
            ("test accuracy, last epoch", f"{percent(result.test_accuracy)} %"),
            (
                "best (chosen on the test set)",
                f"{percent(result.best_accuracy)} % in epoch {result.best_epoch}",
            ),
            ("training", f"{duration(result.train_seconds)}, {speed(result.images_per_second)} images/s"),
            ("device", f"{result.devices_named} ({result.precision})"),
            ("parameters", f"{result.parameters:,}"),
            ("data", images(result)),
        ]
    elif status is not None:
        rows.append(("epoch", f"{status.epoch} of {status.epochs}"))
        if status.test_accuracy is not None:
            rows.append(("test accuracy so far", f"{percent(status.test_accuracy)} %"))
    return _pairs(rows)


# --- curves


def _curves(run: Run, metrics: Metrics) -> str:
    per_epoch = epoch_steps(run.status, run.config, metrics.eval)
    train, train_accuracy, test_loss, test_accuracy, averaged, rate = (Series() for _ in range(6))
    for line in metrics.train:
        train.append(line.step / per_epoch, line.loss, line.loss_min, line.loss_max)
        rate.append(line.step / per_epoch, line.lr)
    for found in metrics.eval:
        epoch = found.step / per_epoch
        test_loss.append(epoch, found.test_loss)
        test_accuracy.append(epoch, found.test_accuracy)
        train_accuracy.append(epoch, found.train_accuracy)
        if found.tta_accuracy is not None:
            averaged.append(epoch, found.tta_accuracy)
    losses = [Line("train", "train", train, _number), Line("test", "test", test_loss, _number)]
    accuracies = [
        Line("train", "train", train_accuracy, _percent),
        Line("test", "test", test_accuracy, _percent),
        Line("test with flip averaging", "other", averaged, _percent),
    ]
    reference = run.config.measured_against if run.config else None
    levels = [Level(f"reference {percent(reference.accuracy)} %", reference.accuracy)] if reference else []
    lr_scale: Scale = Log() if run.config and run.config.schedule.kind == "step" else Linear()
    charts = [
        chart("Loss", losses, Log()),
        chart("Accuracy in %", accuracies, Linear((0.0, 100.0)), levels),
        chart("Learning rate", [Line("learning rate", "other", rate, _number)], lr_scale),
    ]
    drawn = "\n".join(drawing for drawing in charts if drawing)
    return f'<h3>Curves</h3><div class="charts">\n{drawn}\n</div>' if drawn else "<p>No metrics yet.</p>"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(value: float) -> str:
    return f"{percent(value)} %"


# --- the evaluation of the last epoch


def _evaluation(run: Run, evaluations: Sequence[EvalRecord], load_tests: LoadTestSet) -> str:
    """Confusion matrix, classes and mistakes; without the data the matrix the trainer counted itself."""
    if run.config is None or run.state in (State.QUEUED, State.STARTING):
        return ""
    directory = last_launch(run.directory).data_dir
    trained = Trained(run, evaluations)
    try:
        test = load_tests(run.config.data, Path(directory) if directory else None)
        predictions = load_predictions(run, "last", test)
    except (DataError, PredictionsError) as error:
        why = f'<p class="problem">No pictures of mistakes: {text(str(error).splitlines()[0])}</p>'
        history = read_history(run.directory)
        if not len(history):
            return f"<h3>Mistakes</h3>{why}"
        return _matrix_parts(history.matrices[-1], trained.text(int(history.epochs[-1]))) + why
    matrix = confusion_matrix(predictions.labels, predictions.classes)
    return _matrix_parts(matrix, trained.text(predictions.epoch)) + _mistakes(predictions, test)


def _matrix_parts(matrix: Matrix, epoch: str) -> str:
    pairs = worst_pairs(matrix, PAIRS)
    told = "".join(f"<li>{text(pair.words)} ({pair.count:,} images)</li>" for pair in pairs)
    return (
        f"<h3>Confusion matrix after epoch {epoch}</h3>{_matrix(matrix)}"
        + (f"<h3>Most confused</h3><ul>{told}</ul>" if told else "<p>No test image is wrong.</p>")
        + f"<h3>Classes</h3>{_classes(matrix)}"
    )


def _matrix(matrix: Matrix) -> str:
    """Rows are true classes, columns predicted ones; a cell's shade is its share of the row."""
    head = "".join(f'<th scope="col"><span>{text(name)}</span></th>' for name in SHORT_CLASSES)
    rows = []
    for true, counts in enumerate(matrix.tolist()):
        total = max(1, sum(counts))
        cells = []
        for predicted, count in enumerate(counts):
            share = count / total
            shade = share if true == predicted else math.sqrt(share)
            kind = "right" if true == predicted else "wrong"
            strong = " strong" if shade > 0.5 else ""
            said = f"{CLASSES[true]} taken for {CLASSES[predicted]}: {count:,} of {total:,} ({100 * share:.1f} %)"
            cells.append(
                f'<td class="{kind}{strong}" style="--share:{shade:.3f}" title="{escape(said)}">{count or ""}</td>'
            )
        rows.append(f'<tr><th scope="row">{text(SHORT_CLASSES[true])}</th>{"".join(cells)}</tr>')
    return (
        '<div class="table"><table class="matrix"><thead><tr><th>true \\ predicted</th>'
        f"{head}</tr></thead><tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _classes(matrix: Matrix) -> str:
    scores = class_scores(matrix)
    worst: dict[int, str] = {}
    for pair in worst_pairs(matrix):
        worst.setdefault(pair.true, f"{CLASSES[pair.predicted]} ({pair.share:.1f} %)")
    rows = tuple(
        (
            name,
            f"{scores.images[k]:,}",
            _score(scores.precision[k]),
            _score(scores.recall[k]),
            _score(scores.f1[k]),
            worst.get(k, "-"),
        )
        for k, name in enumerate(CLASSES)
    )
    numbers = ("Images", "Precision %", "Recall %", "F1 %")
    columns = (Column("Class"), *(Column(name, True) for name in numbers), Column("Most often taken for"))
    return table(Table(columns, rows))


def _score(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def _mistakes(predictions: Predictions, test: TestSet) -> str:
    wrong = confident_mistakes(predictions)
    if not wrong.size:
        return ""
    figures = []
    for index in wrong[:MISTAKES].tolist():
        (said, sure), *_ = top_guesses(predictions, index, 1)
        truth = CLASSES[int(predictions.labels[index])]
        caption = f"{truth}<br>taken for {CLASSES[said]}, {100 * sure:.1f} %"
        alt = f"{truth} taken for {CLASSES[said]}, {test.origin(index)}"
        figures.append(
            f'<figure><img src="{png(test.images[index])}" width="84" height="84" alt="{escape(alt)}" '
            f'title="{escape(test.origin(index))}"><figcaption>{caption}</figcaption></figure>'
        )
    shown = f"the {len(figures)} it is surest of" if wrong.size > len(figures) else "all"
    return (
        f"<h3>Mistakes</h3><p>{wrong.size:,} of {len(predictions):,} test images are wrong; {shown}:</p>"
        f'<div class="mistakes">\n{chr(10).join(figures)}\n</div>'
    )


def png(pixels: NDArray[np.uint8]) -> str:
    """(H, W) uint8 grey pixels as the data URI of a PNG of this size."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
