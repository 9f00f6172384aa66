"""The evaluating process on checkpoints of real, tiny runs: it gives the saved predictions, and says what differs."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.training import evaluate_run
from tests.training.tiny import Trainer, tiny_config


@pytest.fixture
def evaluated(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> Any:
    """Runs the process's `main` here, on the small data set; returns its code and what it said last of each run."""
    monkeypatch.setattr("fmnist_tui.data.source.load", lambda config, data_dir=None: trainer.images)

    def evaluate(*runs: RunDirectory, **request: Any) -> tuple[int, list[dict[str, Any]]]:
        values = {"runs": [str(run.path) for run in runs], "output": str(tmp_path), "device": "cpu", **request}
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(values)))
        capsys.readouterr()
        code = evaluate_run.main()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return code, list({line["run"]: line for line in lines}.values())

    return evaluate


def test_it_gives_what_the_trainer_saved(trainer: Trainer, evaluated: Any, tmp_path: Path) -> None:
    run = trainer.create(tiny_config(training={"epochs": 2, "tta": "flip"}))
    trainer.train(run)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    code, (told,) = evaluated(run, tta="flip")
    last = [record for record in trainer.steps(run) if isinstance(record, EvalRecord)][-1]
    assert code == 0 and told["done"] and (told["epoch"], told["epoch_ended"], told["images"]) == (2, True, 100)
    assert told["loss"] == last.test_loss and told["tta_accuracy"] == last.tta_accuracy
    with np.load(run.predictions) as saved, np.load(evaluate_run.predictions_path(tmp_path, run.id)) as now:
        assert np.array_equal(saved["last_classes"], now["classes"])
        assert np.array_equal(saved["last_probabilities"], now["probabilities"])
        right = now["tta_probabilities"].argmax(axis=1) == trainer.images.test_labels
        assert 100.0 * right.mean() == pytest.approx(told["tta_accuracy"], abs=1.0), "rounding may make a tie"
        assert not np.array_equal(now["tta_probabilities"], now["probabilities"])
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before, "nothing written"


def test_without_tta_there_is_no_such_accuracy_and_the_best_checkpoint_is_of_its_epoch(
    trainer: Trainer, evaluated: Any
) -> None:
    run = trainer.create(tiny_config(training={"epochs": 3}))
    trainer.train(run)
    code, (told,) = evaluated(run, checkpoint="best")
    with np.load(run.predictions) as saved:
        assert (code, told["epoch"], told["tta_accuracy"]) == (0, int(saved["best_epoch"]), None)


def test_a_failure_is_told_and_the_others_are_evaluated(trainer: Trainer, evaluated: Any) -> None:
    bare, other, done = (trainer.create(tiny_config(training={"epochs": 1})) for _ in range(3))
    trainer.train(done)
    config = RunConfig.model_validate_json(other.config.read_bytes())
    other.checkpoint("last").write_bytes(b"half")
    assert config.training.epochs == 1
    code, told = evaluated(bare, other, done)
    assert code == 2
    assert (
        "has no last checkpoint to evaluate; a run writes one" in told[0]["error"] and "--saved" not in told[0]["error"]
    )
    assert "is damaged" in told[1]["error"] and told[2]["done"]
    assert (told[0]["code"], told[1]["code"]) == (2, 2)
    done.checkpoint("last").unlink()
    _, (told,) = evaluated(done)
    assert "it was removed; there is the best one; --saved evaluates" in told["error"]


def test_a_device_that_is_not_there(trainer: Trainer, evaluated: Any) -> None:
    run = trainer.create(tiny_config(training={"epochs": 1}))
    code, (told,) = evaluated(run, device="tpu")
    assert (code, told["code"]) == (2, 2) and "device = " in told["error"]


def test_what_is_no_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    assert evaluate_run.main() == 2
    assert "not a request" in capsys.readouterr().err
