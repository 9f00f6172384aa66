"""`evaluate --saved`, ensembles and ECE in `runs show`: what needs no network, on made-up predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fmnist_tui.analysis import scores
from fmnist_tui.cli import main
from fmnist_tui.config import CLASSES
from fmnist_tui.console.evaluate import Evaluated, _together
from fmnist_tui.console.evaluate_text import evaluation_object, evaluation_text
from fmnist_tui.monitor import GpuList
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.store import load_run
from tests.unit.compared_runs import TRUTH, make_run, write_predictions


def objects(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_scores_by_class_and_loss() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1], np.uint8)
    probabilities = np.full((6, 10), 0.05 / 9)
    probabilities[:, 0] = 0.95
    found = scores.scores(probabilities, labels, np.zeros(6, np.uint8))
    assert (found.images, found.accuracy) == (6, pytest.approx(400 / 6))
    assert found.by_class["T-shirt/top"] == 100.0 and found.by_class["Trouser"] == 0.0
    assert found.by_class["Bag"] is None
    assert found.loss == pytest.approx(-(4 * np.log(0.95) + 2 * np.log(0.05 / 9)) / 6)
    assert scores.scores(probabilities, labels, np.zeros(6, np.uint8), loss=0.25).loss == 0.25


def test_the_ensemble_is_the_mean_of_probabilities_not_a_vote() -> None:
    sure, unsure = np.zeros((1, 10)), np.zeros((1, 10))
    sure[0, 3], unsure[0, 4], unsure[0, 3] = 1.0, 0.6, 0.4
    probabilities, classes = scores.average([sure, unsure, unsure])
    assert classes.tolist() == [3] and probabilities[0, 3] == pytest.approx(0.6)


def test_the_ensemble_with_flips_is_the_mean_of_its_members_with_flips(runs_dir: Path) -> None:
    """Alone both are wrong of the first image; averaged over its mirror image one is sure enough for both."""
    labels = np.array([3, 4], np.uint8)

    def member(first: float, flipped: float) -> Evaluated:
        pair = []
        for right in (first, flipped):
            probabilities = np.full((2, 10), 0.0)
            probabilities[0, 3], probabilities[0, 5], probabilities[1, 4] = right, 1 - right, 1.0
            pair.append(probabilities)
        alone, averaged = pair
        classes = alone.argmax(axis=1).astype(np.uint8)
        found = scores.scores(alone, labels, classes)
        run = load_run(make_run(runs_dir, [90.0]))
        return Evaluated(run, 1, 0.25, alone, classes, labels, found, "", {"tta_accuracy": 50.0}, averaged)

    one, other = member(0.4, 0.9), member(0.3, 0.4)
    together = _together([one, other])
    assert (together.scores.accuracy, together.tta_accuracy) == (50.0, 100.0)
    shown = StringIO()
    Console(file=shown, width=120).print(evaluation_text([one, other], together, "last", False))
    (first,) = [line for line in shown.getvalue().splitlines() if line.startswith(f"{one.run.id} ")]
    assert first.split()[1] == "0.25", "epochs trained, which a step limit ended in the midst of the first"
    (row,) = [line for line in shown.getvalue().splitlines() if line.startswith("ensemble of 2")]
    assert row.split()[3:7] == ["-", "2", "50.00", "100.00"]
    *_, told = evaluation_object([one, other], together, "last", False)
    assert told["tta_accuracy"] == 100.0
    without = _together([replace(one, tta_probabilities=None), other])
    assert without.tta_accuracy is None


def test_saved_predictions_of_several_and_their_ensemble(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (make_run(runs_dir, [90.0], slice(start, start + 200)) for start in (0, 200, 400))
    assert main(["evaluate", a.id, b.id, c.id, "--saved", "--ensemble"]) == 0
    shown = capsys.readouterr().out
    for part in (a.id, "90.00", "ensemble of 3", "100.00", "+10.00 points", "beyond noise", "these are the saved",
                 "chosen figure flatter", "partly luck", "rounded to 16 bits"):  # fmt: skip
        assert part in " ".join(shown.split()), part
    assert all(name in shown for name in CLASSES)
    assert main(["evaluate", a.id, b.id, c.id, "--saved", "--ensemble", "--json"]) == 0
    one, _, _, together = objects(capsys.readouterr().out)
    assert one["run"] == a.id and one["accuracy"] == 90.0 and one["saved"] == "last" and one["checkpoint"] is None
    # Sure to 0.9 (0.8999 in 16 bits) and right in 90 of 100.
    assert one["ece"] == pytest.approx(0.0, abs=0.02) and one["reliability"][0]["images"] == 2000
    assert together["ensemble"] == [a.id, b.id, c.id] and together["accuracy"] == 100.0
    assert together["against_best_member"]["test"]["only_first"] == 200


def test_the_best_checkpoint_is_called_what_it_is(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, [90.0])
    assert main(["evaluate", run.id, "--saved", "--checkpoint", "best"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "was chosen by its accuracy on these very images" in shown and "partly luck" not in shown


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--ensemble"], "takes two runs or more"),
        (["--saved", "--tta", "flip"], "mirror images were not saved"),
        (["--tta", "mirror"], "'mirror'"),
        (["--checkpoint", "previous"], "'previous'"),
        (["--checkpoint", "lasst"], "did you mean last?"),
        (["--ensembel"], "--ensemble"),
    ],
)
def test_what_cannot_be_meant(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    run = make_run(runs_dir, [90.0])
    assert main(["evaluate", run.id, *options]) == 2
    assert reason in capsys.readouterr().err


def test_a_device_that_is_not_here_is_refused_as_run_does(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_tui.monitor.list_gpus", lambda: GpuList([], "no GPU: no driver is installed"))
    run = make_run(runs_dir, [90.0])
    assert main(["evaluate", run.id, "--device", "cuda"]) == 2
    said = capsys.readouterr().err
    assert said == "error: --device cuda: no GPU: no driver is installed; choose auto or cpu\n"
    assert main(["run", "preset", "quick", "--device", "cuda"]) == 2
    assert capsys.readouterr().err == said
    assert main(["evaluate", run.id, "--device", "gpu"]) == 2
    assert "did you mean cuda?" in capsys.readouterr().err


def test_unknown_twice_and_of_other_images(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = make_run(runs_dir, [90.0]), make_run(runs_dir, [90.0], data__split="custom")
    assert main(["evaluate", run.id[:-1] + "!"]) == 2
    assert f"did you mean {run.id}?" in capsys.readouterr().err
    assert main(["evaluate", run.id, run.id[-9:]]) == 2
    assert "named twice" in capsys.readouterr().err
    assert main(["evaluate", run.id, other.id, "--saved", "--ensemble"]) == 2
    assert "only runs of one split" in capsys.readouterr().err
    bare = make_run(runs_dir, [90.0], None)
    assert main(["evaluate", bare.id, "--saved"]) == 2
    assert "has no predictions" in capsys.readouterr().err


def test_the_full_data_that_is_not_there(runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, [90.0], data__source="full")
    assert main(["evaluate", run.id, "--saved", "--data-dir", str(tmp_path)]) == 3
    assert "was not found" in capsys.readouterr().err


# --- runs show


def show(run: RunDirectory, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["runs", "show", run.id, *options]) == 0
    return capsys.readouterr().out


def test_show_has_the_ece_of_the_predictions_there_are(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(runs_dir, [90.0], slice(0, 600))
    assert "20.01 points over 15 bins, at epoch 1" in (text := show(run, capsys)) or "19.9" in text
    assert "surer than it is right by 2" in text or "surer than it is right by 19.9" in text
    write_predictions(run, 2, slice(0, 1000))
    found = json.loads(show(run, capsys, "--json"))
    assert found["calibration"]["ece"] == pytest.approx(40.0, abs=0.1), "read anew, stored nowhere"
    assert found["calibration"]["epoch"] == 2 and found["calibration_problem"] == ""
    assert "ece" not in run.status.read_text() and len(TRUTH) == 2000


def test_show_without_predictions_or_labels(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "ECE" not in show(make_run(runs_dir, [90.0], None), capsys)
    full = make_run(runs_dir, [90.0], data__source="full")
    monkeypatch.setenv("FMNIST_TUI_DATA_DIR", str(tmp_path))
    assert "needs the true labels" in show(full, capsys)
    damaged = make_run(runs_dir, [90.0])
    damaged.predictions.write_bytes(b"no")
    assert "is damaged" in show(damaged, capsys)
