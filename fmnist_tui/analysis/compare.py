"""Several runs side by side: what differs in their settings, who leads at equal epochs, and whether it is noise.

Called by `runs compare` and the app's Compare screen, which show the same sentences. Reads runs, writes nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from fmnist_tui.analysis.epochs import Trained, epoch_steps, epoch_text
from fmnist_tui.analysis.paired import PairedComparison, compare_right, holm
from fmnist_tui.analysis.predictions import (
    NoPredictions,
    Predictions,
    PredictionsError,
    load_predictions,
    load_test_set,
)
from fmnist_tui.config import DataConfig
from fmnist_tui.data.source import DataError
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.store import Run

LETTERS = "ABCDEFGH"
"""What stands for each run, in the order given."""
MOST = len(LETTERS)
"""Runs in one comparison: more curves can't be told apart on one chart."""


@dataclass(frozen=True)
class Lead:
    """The runs at the last epoch that all of them have evaluated."""

    epoch: float
    """Epochs trained; not whole where all have evaluated at the same place in the midst of one."""
    accuracies: tuple[float, ...]
    """Test accuracy of each run there, %."""
    led: tuple[int, ...]
    """At how many of the common epochs each run was ahead of all others."""
    common: int
    """Epochs that all have evaluated."""

    @property
    def leaders(self) -> list[int]:
        """Index of the leader; of several where they are equal."""
        best = max(self.accuracies)
        return [at for at, value in enumerate(self.accuracies) if value == best]

    @property
    def margin(self) -> float:
        """Points between the leader and the next; 0 where several lead."""
        first, second = sorted(self.accuracies, reverse=True)[:2]
        return first - second


def lead(runs: Sequence[Run], evaluations: Sequence[Sequence[EvalRecord]]) -> Lead | None:
    """Who leads at equal epochs; None for fewer than two runs, where no epoch was evaluated by all, or of other images.

    An evaluation made before a step limit, in mid-epoch, counts where its step is: it equals another run's only where
    that had trained for the same share of the epoch.
    """
    if len(runs) < 2 or _tests_differ(runs):
        return None
    by_epoch = []
    for run, records in zip(runs, evaluations, strict=True):
        per_epoch = epoch_steps(run.status, run.config, records)
        by_epoch.append({Fraction(record.step, per_epoch): record.test_accuracy for record in records})
    common = sorted(set.intersection(*(set(found) for found in by_epoch)))
    if not common:
        return None
    led = [0] * len(by_epoch)
    for epoch in common:
        values = [found[epoch] for found in by_epoch]
        if values.count(max(values)) == 1:
            led[values.index(max(values))] += 1
    last = common[-1]
    at = int(last) if last.denominator == 1 else float(last)
    return Lead(at, tuple(found[last] for found in by_epoch), tuple(led), len(common))


def _tests_differ(runs: Sequence[Run]) -> bool:
    """Whether some were tested on other images than others."""
    data = [run.config.data for run in runs if run.config is not None]
    return any(other != data[0] for other in data)


def lead_sentence(found: Lead | None, runs: Sequence[Run]) -> str:
    """'At epoch 8, the last that all have evaluated, A leads B by 0.40 points (84.00 to 83.60 %); ...'"""
    if found is None and _tests_differ(runs):
        return "They were not tested on the same images: nothing to compare at equal epochs."
    if found is None:
        yet = " yet" if any(run.state.alive for run in runs) else ""
        return f"No epoch has been evaluated by all of them{yet}: nothing to compare at equal epochs."
    at = f"At epoch {epoch_text(found.epoch)}, the last that all have evaluated,"
    leaders = found.leaders
    if len(leaders) > 1:
        return f"{at} {_letters(leaders)} are level at {found.accuracies[leaders[0]]:.2f} %."
    first = leaders[0]
    second = max((i for i in range(len(runs)) if i != first), key=lambda i: found.accuracies[i])
    share = f"; ahead at {found.led[first]} of {found.common} epochs" if found.common > 1 else ""
    return (
        f"{at} {LETTERS[first]} leads {LETTERS[second]} by {found.margin:.2f} points "
        f"({found.accuracies[first]:.2f} to {found.accuracies[second]:.2f} %){share}."
    )


def _letters(runs: Sequence[int]) -> str:
    """'A', 'A and C', 'A, C and D'."""
    *others, last = (LETTERS[at] for at in runs)
    return f"{', '.join(others)} and {last}" if others else last


@dataclass(frozen=True)
class Pair:
    """Two of the runs (by index): their comparison on the same test images, or why there is none."""

    first: int
    second: int
    comparison: PairedComparison | None
    reasons: tuple[tuple[int, str], ...] = ()
    """Why there is none: a run and what is the matter with it, 'has no predictions'."""
    epochs: tuple[float, float] = (0, 0)
    """Epochs trained by the evaluations whose predictions were compared; not whole where one came in mid-epoch."""

    @property
    def why_not(self) -> str:
        """The reasons in words: 'A has no predictions; B is running ...'; '' where they were compared."""
        return "; ".join(f"{LETTERS[at]} {reason}" for at, reason in self.reasons)


def pairs(runs: Sequence[Run], data_dir: Path | None = None) -> list[Pair]:
    """Every pair of runs tested on the same images, at each run's last evaluation, p-values adjusted for their
    number. Where that is not possible a pair says why. Reads predictions and labels: call it in a thread.
    """
    found, reasons = _predictions(runs, data_dir)
    result = [_pair(i, j, runs, found, reasons) for i, j in itertools.combinations(range(len(runs)), 2)]
    tested = [(at, pair.comparison) for at, pair in enumerate(result) if pair.comparison is not None]
    for (at, comparison), p in zip(tested, holm([each.test.p for _, each in tested]), strict=True):
        result[at] = replace(result[at], comparison=replace(comparison, adjusted_p=p))
    return result


def _predictions(runs: Sequence[Run], data_dir: Path | None) -> tuple[dict[int, Predictions], dict[int, str]]:
    """The predictions at the last evaluation by index, and why others have none."""
    found: dict[int, Predictions] = {}
    reasons: dict[int, str] = {}
    tests: dict[DataConfig, Any] = {}
    for at, run in enumerate(runs):
        if run.state.alive:
            reasons[at] = f"is {run.state}: a run is tested when it has ended, once, not until it looks good"
            continue
        try:
            if run.config is None:
                raise PredictionsError(run.problem)
            key = run.config.data
            if key not in tests:
                tests[key] = load_test_set(run.config.data, data_dir)
            found[at] = load_predictions(run, "last", tests[key])
        except DataError as error:
            reasons[at] = f"can't be tested without the true labels: {error.problem.removesuffix('.')}"
        except NoPredictions:
            reasons[at] = "has no predictions"
        except PredictionsError as error:
            problem = str(error).replace(f"{run.directory.predictions}:", "predictions.npz")
            own = f"{run.id}: "
            reasons[at] = problem.removeprefix(own) if problem.startswith(own) else f"can't be tested: {problem}"
    return found, reasons


def _pair(i: int, j: int, runs: Sequence[Run], found: Mapping[int, Predictions], reasons: Mapping[int, str]) -> Pair:
    one, two = runs[i].config, runs[j].config
    if one is not None and two is not None and one.data != two.data:
        said = "was tested on the {0.split} split of the {0.source} data"
        return Pair(i, j, None, ((i, said.format(one.data)), (j, said.format(two.data))))
    if why := tuple((at, reasons[at]) for at in (i, j) if at in reasons):
        return Pair(i, j, None, why)
    first, second = found[i], found[j]
    trained = (Trained(runs[i]).by(first.epoch), Trained(runs[j]).by(second.epoch))
    return Pair(i, j, compare_right(first.right, second.right), epochs=trained)


_OF_SEVERAL = {"has": "have", "is": "are", "was": "were"}
"""The verbs that reasons begin with, for more than one run."""


def untested_sentence(pairs: Sequence[Pair]) -> str:
    """Why pairs were not compared, each reason once: 'No paired tests: A, B and C have no predictions.'

    '' where all were.
    """
    runs_of: dict[str, set[int]] = {}
    for at, reason in (each for pair in pairs for each in pair.reasons):
        runs_of.setdefault(reason, set()).add(at)
    if not runs_of:
        return ""
    said = []
    for reason, runs in runs_of.items():
        verb, _, rest = reason.partition(" ")
        said.append(f"{_letters(sorted(runs))} {verb if len(runs) == 1 else _OF_SEVERAL.get(verb, verb)} {rest}")
    other = "other " if any(pair.comparison for pair in pairs) else ""
    return f"No {other}paired {'tests' if len(pairs) > 1 else 'test'}: {'; '.join(said)}."


def pair_sentences(pair: Pair, tests: int) -> list[str]:
    """A compared pair in words: the difference with its interval, the test, and the verdict.

    `tests`: pairs tested at once.
    """
    a, b = LETTERS[pair.first], LETTERS[pair.second]
    assert pair.comparison is not None
    found = pair.comparison
    low, high = found.interval
    verdict = "within noise" if found.within_noise else f"{a if found.difference > 0 else b} is better beyond noise"
    number = f", adjusted for {tests} pairs" if tests > 1 else ""
    at = [epoch_text(epochs) for epochs in pair.epochs]
    epochs = "" if pair.epochs[0] == pair.epochs[1] else f" ({a} at epoch {at[0]}, {b} at {at[1]})"
    difference = (
        f"{a} {found.accuracies[0]:.2f} % - {b} {found.accuracies[1]:.2f} % = {found.difference:+.2f} points "
        f"(95 % interval {low:+.2f} to {high:+.2f}): {verdict}."
    )
    images = (
        f"{found.images:,} test images{epochs}: {found.test.only_first:,} only {a} has right, "
        f"{found.test.only_second:,} only {b}; "
        f"McNemar ({found.test.method}) p {p_text(found.adjusted_p)}{number}."
    )
    return [difference, images]


def p_text(p: float) -> str:
    """A p-value to two digits with its sign: '= 0.43', '= 0.0012', '< 0.0001'."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}" if p < 0.995 else "= 1.0"


CAVEAT = (
    "This compares these trained networks on these images, not their settings: another seed moves the accuracy too. "
    "For settings, train several seeds of each and compare the means in the report."
)
"""Said below every paired test."""
