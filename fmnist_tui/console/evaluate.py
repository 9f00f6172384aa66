"""Evaluate runs for the `evaluate` command: from their checkpoints, or from their saved predictions; print it.

Checkpoints are evaluated by `training.evaluate_run` in a process of its own, which alone imports torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fmnist_tui.analysis import scores as scoring
from fmnist_tui.analysis.epochs import Trained
from fmnist_tui.analysis.paired import PairedComparison, compare_right
from fmnist_tui.analysis.predictions import (
    PredictionsError,
    TestSet,
    Which,
    load_predictions,
    load_test_set,
    read_stored,
)
from fmnist_tui.analysis.scores import Scores
from fmnist_tui.console.evaluate_text import evaluation_object, evaluation_text
from fmnist_tui.console.output import UsageError, console, print_error, print_json, say
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.process import worker_environment
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.runs.store import Run, find_run

COMMAND = (sys.executable, "-m", "fmnist_tui.training.evaluate_run")


@dataclass(frozen=True)
class Evaluated:
    """A run's predictions and what they amount to."""

    run: Run
    epoch: int
    trained: float
    """Epochs trained by then: not whole where a step limit, or the checkpoint, came in the midst of one."""
    probabilities: np.ndarray
    classes: np.ndarray
    labels: np.ndarray
    scores: Scores
    agreement: str
    """In words: how these predictions agree with the saved ones."""
    figures: dict[str, Any]
    """What the evaluating process said; {} of saved predictions."""
    tta_probabilities: np.ndarray | None = None
    """(N, 10), averaged with those of the mirror images; None where that was not asked for."""

    @property
    def right(self) -> np.ndarray:
        """(N,) bool: which images are right."""
        return np.equal(self.classes, self.labels)


@dataclass(frozen=True)
class Ensemble:
    """Runs whose probabilities were averaged."""

    members: tuple[str, ...]
    scores: Scores
    tta_accuracy: float | None
    """With each member's outputs averaged over the mirror images, %; None where that was not asked for."""
    against_best: PairedComparison
    """The ensemble and its member of the highest accuracy, on the same images."""
    best: str


@dataclass(frozen=True)
class NotEvaluated:
    """A run that could not be evaluated: why, in words that name it, and the exit code for it."""

    reason: str
    code: int


def check(runs_dir: Path, texts: Sequence[str], ensemble: bool, saved: bool, tta: str) -> list[Run]:
    """The runs a user means. Raises RunError and UsageError for what can't be evaluated so."""
    if saved and tta != "none":
        raise UsageError(f"--saved and --tta {tta}: the mirror images were not saved; leave one of the two out")
    runs: list[Run] = []
    for text in texts:
        run = find_run(runs_dir, text)
        if run.id in {other.id for other in runs}:
            raise UsageError(f"RUN: {run.id} is named twice; give each run once")
        if run.config is None:
            raise RunError(f"{run.id}: cannot be evaluated: {run.problem}")
        runs.append(run)
    if ensemble:
        _check_members(runs)
    return runs


def _check_members(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise UsageError("--ensemble: takes two runs or more; name those to be averaged")
    first = runs[0].config
    for run in runs[1:]:
        assert first is not None and run.config is not None
        if run.config.data != first.data:
            raise UsageError(
                f"--ensemble: {run.id} was tested on other images ({run.config.data.words}) than {runs[0].id} "
                f"({first.data.words}); only runs of one split can be averaged"
            )


def evaluate(
    runs: Sequence[Run],
    data_dir: Path | None,
    checkpoint: Which,
    tta: str,
    device: str,
    ensemble: bool,
    saved: bool,
    as_json: bool,
) -> int:
    """Evaluate and print; returns the exit code: of the first run that can't be evaluated, which stops no other.

    Raises DataError.
    """
    found: list[Evaluated] = []
    failures: list[NotEvaluated] = []
    evaluations = (
        (_from_saved(run, checkpoint, data_dir) for run in runs)
        if saved
        else _from_checkpoints(runs, data_dir, checkpoint, tta, device)
    )
    for one in evaluations:
        if isinstance(one, Evaluated):
            found.append(one)
        else:
            failures.append(one)
    for failure in failures:
        print_error(failure.reason)
    if ensemble and failures:
        print_error(
            "--ensemble: nothing was averaged, because it takes all of the runs; leave out those that can't be had"
        )
    together = _together(found) if ensemble and not failures else None
    if as_json:
        for record in evaluation_object(found, together, checkpoint, saved):
            print_json(record)
    elif found:
        console().print(evaluation_text(found, together, checkpoint, saved))
    return failures[0].code if failures else ExitCode.DONE


def _from_saved(run: Run, which: Which, data_dir: Path | None) -> Evaluated | NotEvaluated:
    try:
        found = load_predictions(run, which, data_dir=data_dir)
    except PredictionsError as error:
        return NotEvaluated(str(error), ExitCode.USAGE)
    figures = scoring.scores(found.probabilities, found.labels, found.classes)
    said = "these are the saved predictions"
    trained = Trained(run).by(found.epoch)
    return Evaluated(run, found.epoch, trained, found.probabilities, found.classes, found.labels, figures, said, {})


def _from_checkpoints(
    runs: Sequence[Run], data_dir: Path | None, checkpoint: Which, tta: str, device: str
) -> Iterator[Evaluated | NotEvaluated]:
    """Each run's evaluation, or why there is none, in the order given. Raises DataError."""
    tests: dict[str, TestSet] = {}
    for run in runs:
        assert run.config is not None
        key = run.config.data.model_dump_json()
        tests[key] = tests.get(key) or load_test_set(run.config.data, data_dir)
    with tempfile.TemporaryDirectory(prefix="fmnist-tui-") as directory:
        request = {
            "runs": [str(run.directory.path.absolute()) for run in runs],
            "output": directory,
            "checkpoint": checkpoint,
            "tta": tta,
            "device": device,
            "data_dir": str(data_dir.absolute()) if data_dir else None,
        }
        told, ended = _run_child(request)
        for run in runs:
            assert run.config is not None
            last = told.get(run.id, {})
            if "error" in last:
                yield NotEvaluated(f"{run.id}: {last['error']}", last["code"])
                continue
            if not last.get("done"):
                yield NotEvaluated(f"{run.id}: {ended}", ExitCode.FAILED)
                continue
            test = tests[run.config.data.model_dump_json()]
            yield _evaluated(run, told[run.id], Path(directory), test, checkpoint)


def _run_child(request: dict[str, Any]) -> tuple[dict[str, dict[str, Any]], str]:
    """Have the process evaluate: its last line on each run, and how it ended, in words."""
    told: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=worker_environment(), text=True
        )
        try:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(json.dumps(request))
            child.stdin.close()
            for line in child.stdout:
                record = json.loads(line)
                if record.get("phase") == "evaluating":
                    where = told[record["run"]]
                    say(f"evaluating {record['run']} on {record['images']:,} images, {where['device_name']}")
                told[record["run"]] = record
            child.wait()
        finally:
            child.kill()
            child.wait()
        return told, _reason(child.returncode, errors)


def _reason(returncode: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read()[-4096:].decode(errors="replace").strip().splitlines()
    said = f": {lines[-1].strip()}" if lines else ""
    return f"the evaluating process ended without a result (exit code {returncode}){said}"


def _evaluated(run: Run, figures: dict[str, Any], directory: Path, test: TestSet, which: Which) -> Evaluated:
    with np.load(directory / f"{run.id}.npz") as file:
        classes, probabilities = file["classes"], file["probabilities"]
        averaged = file.get("tta_probabilities")
    found = scoring.scores(probabilities, test.labels, classes, figures["loss"])
    agreement = _agreement(run, classes, figures, which)
    trained, epoch = Trained(run).by_step(figures["step"]), figures["epoch"]
    return Evaluated(run, epoch, trained, probabilities, classes, test.labels, found, agreement, figures, averaged)


def _agreement(run: Run, classes: np.ndarray, figures: dict[str, Any], which: Which) -> str:
    """How the classes agree with the saved ones, and where they do not, what may be the reason."""
    try:
        stored = read_stored(run.directory, which)
    except PredictionsError as error:
        return f"nothing to compare with: {error}"
    if not figures["epoch_ended"] or stored.epoch != figures["epoch"]:
        place = "the end of" if figures["epoch_ended"] else "the middle of"
        return (
            f"not comparable: the checkpoint is of {place} epoch {figures['epoch']}, "
            f"the saved predictions are of epoch {stored.epoch}"
        )
    if len(stored.classes) != len(classes):
        return f"not comparable: {len(stored.classes):,} saved predictions for {len(classes):,} images"
    differ = int((stored.classes != classes).sum())
    if not differ:
        return f"all {len(classes):,} predictions are the saved ones"
    return f"{differ:,} of {len(classes):,} predictions differ from the saved ones{_changed(run, figures)}"


def _changed(run: Run, figures: dict[str, Any]) -> str:
    """What is not as it was when the run was evaluated: device or precision; '' where neither is."""
    if run.result is None:
        return ""
    was = {"device_name": run.result.device_name, "precision": run.result.precision}
    changes = [f"{was[key]} then, {figures[key]} now" for key in was if was[key] != figures[key]]
    return f" ({'; '.join(changes)})" if changes else " (same device and precision)"


def _together(found: Sequence[Evaluated]) -> Ensemble:
    probabilities, classes = scoring.average([each.probabilities for each in found])
    labels = found[0].labels
    best = max(found, key=lambda each: each.scores.accuracy)
    averaged = [each.tta_probabilities for each in found if each.tta_probabilities is not None]
    tta_accuracy = None
    if len(averaged) == len(found):
        _, tta_classes = scoring.average(averaged)
        tta_accuracy = 100.0 * float(np.equal(tta_classes, labels).mean())
    return Ensemble(
        members=tuple(each.run.id for each in found),
        scores=scoring.scores(probabilities, labels, classes),
        tta_accuracy=tta_accuracy,
        against_best=compare_right(np.equal(classes, labels), best.right),
        best=best.run.id,
    )
