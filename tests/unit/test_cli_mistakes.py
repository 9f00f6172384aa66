"""`runs mistakes`: matrix, scores and pairs for people and scripts, the images of a pair, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.cli import main
from fmnist_tui.config import CLASSES, DataConfig
from fmnist_tui.data.source import load_sample
from fmnist_tui.presets import load_preset
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.starting import create_run
from tests.predictions_maker import evaluate, limited, sample_run, write_evaluations

LABELS = load_sample().test_labels
FOUND = evaluate(LABELS, 4)
LAST = FOUND[-1]


@pytest.fixture
def run(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("FMNIST_TUI_RUNS_DIR", str(runs_dir))
    made = sample_run(runs_dir, load_preset("quick"))
    write_evaluations(made, LABELS, FOUND)
    return made


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_for_people(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "mistakes", "last", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = LAST.counts(LABELS)
    accuracy = 100 * sum(counts[11 * k] for k in range(10)) / 2_000
    assert lines[0] == run.id
    assert lines[1] == f"epoch 4 (last): {accuracy:.2f} % of 2,000 test images right, standard split, sample"
    shirt = next(line for line in lines if line.startswith("Shirt ")).split()
    assert shirt[1:] == ["-" if count == 0 else f"{100 * count / 200:.1f}" for count in counts[60:70]]
    recall = 100 * counts[66] / 200
    precision = 100 * counts[66] / sum(counts[10 * k + 6] for k in range(10))
    scores = [line for line in lines if line.startswith("Shirt ")][1].split()
    f1 = 2 / (1 / precision + 1 / recall)
    assert scores == ["Shirt", "200", f"{precision:.2f}", f"{recall:.2f}", f"{f1:.2f}"]
    at = lines.index("Worst pairs")
    assert lines[at + 1] == f"Shirt taken for T-shirt/top: {counts[60] / 2:.0f} %  ({counts[60]} of 200)"
    assert len(lines) == at + 3


def test_for_scripts(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "mistakes", "last", "--at", "best", "--top", "3", "--json"]) == 0
    matrix, *rest = objects(capsys)
    assert (matrix["kind"], matrix["epoch"], matrix["images"], matrix["classes"]) == ("matrix", 3, 2_000, list(CLASSES))
    assert [count for row in matrix["counts"] for count in row] == FOUND[2].counts(LABELS)
    assert [one["class"] for one in rest[:10]] == list(CLASSES)
    assert [one["kind"] for one in rest[10:]] == ["pair"] * 3
    assert rest[10]["count"] == FOUND[2].counts(LABELS)[60]


def test_any_evaluated_epoch(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "mistakes", "last", "--at", "1", "--json"]) == 0
    matrix = objects(capsys)[0]
    assert [count for row in matrix["counts"] for count in row] == FOUND[0].counts(LABELS)


def test_an_evaluation_in_mid_epoch_is_named_by_what_was_trained(
    run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step limit ends the run in the midst of its fourth epoch."""
    limited(run, 4, 0.25)
    assert main(["runs", "mistakes", "last"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("epoch 3.26 (last): ")
    for at, trained in (("4", 3 + 12 / 47), ("3", 3)):
        assert main(["runs", "mistakes", "last", "--at", at, "--json"]) == 0
        matrix = objects(capsys)[0]
        assert (matrix["epoch"], matrix["epochs_trained"]) == (int(at), trained)


@pytest.mark.parametrize("pair", ["Shirt,T-shirt/top", "shirt, t-shirt", "6,0"])
def test_the_images_of_a_pair_most_confident_first(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], pair: str
) -> None:
    assert main(["runs", "mistakes", "last", "--pair", pair, "--top", "5", "--json"]) == 0
    images = [one for one in objects(capsys) if one["kind"] == "image"]
    cell = [i for i in range(2_000) if (LABELS[i], LAST.classes[i]) == (6, 0)]
    cell.sort(key=lambda i: (-LAST.probabilities[i][0], i))
    assert [one["index"] for one in images] == cell[:5]
    assert images[0]["probabilities"] == [float(p) for p in LAST.probabilities[cell[0]]]
    assert main(["runs", "mistakes", "last", "--pair", pair, "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert f"Shirt taken for T-shirt/top, most confident first (1 of {len(cell)})" in out
    assert f"T-shirt/top {100 * float(LAST.probabilities[cell[0]][0]):.1f} %" in out
    assert "precision" not in out and "columns predicted ones" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pair", "Shirt"], "--pair Shirt: is not TRUE,PREDICTED; give two classes"),
        (["--pair", "Shirt,Bota"], "--pair Shirt,Bota: 'Bota' is no class; did you mean Ankle boot?"),
        (["--pair", "Shirt,17"], "'17' is no class; the classes are T-shirt/top, Trouser"),
        (["--at", "best of all"], "--at best of all: is not last, best or the number of an epoch"),
        (["--at", "7"], "has no evaluation of that epoch; there are those of epochs 1, 2, 3, 4"),
        (["--at", "1", "--pair", "6,0"], "images of a pair are kept of two evaluations only: best (3) and last (4)"),
        (["--top", "0"], "'0' is not 1 or more"),
    ],
)
def test_what_is_refused(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["runs", "mistakes", "last", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err.replace("\n", " ")
    assert captured.out == ""


def test_without_the_data_set_the_matrix_is_printed_and_images_are_refused(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMNIST_TUI_DATA_DIR", str(tmp_path / "nowhere"))
    data = DataConfig(source="full", split="standard")
    made = create_run(runs_dir, load_preset("quick").model_copy(update={"data": data}))
    write_evaluations(made, LABELS, FOUND)
    given = ["runs", "mistakes", "last", "--runs-dir", os.fspath(runs_dir)]
    assert main([*given, "--json"]) == 0
    assert [count for row in objects(capsys)[0]["counts"] for count in row] == LAST.counts(LABELS)
    assert main([*given, "--pair", "6,0"]) == 3
    assert "was not found in the directory named" in capsys.readouterr().err
    made.confusions.unlink()
    assert main(given) == 3


def test_a_run_without_an_evaluation(
    runs_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample_run(runs_dir, load_preset("quick"))
    assert main(["runs", "mistakes", "last", "--runs-dir", os.fspath(runs_dir)]) == 2
    assert "has no predictions: predictions.npz, which every evaluation writes, is not there" in capsys.readouterr().err
