"""A finished run that is trained for longer: what it had come to stays, with its predictions, until it has more."""

from __future__ import annotations

import numpy as np
import pytest

from fmnist_tui import api
from fmnist_tui.analysis.predictions import TestSet, load_predictions
from fmnist_tui.config import DataConfig
from fmnist_tui.report import render
from fmnist_tui.report.rows import collect
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.starting import prepare_resume
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import load_run
from fmnist_tui.training.checkpoint import CheckpointError
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.ending import after_finish
from fmnist_tui.training.job import Stopped
from tests.events import messages
from tests.training.tiny import Trainer, full_size_config
from tests.training.whole_runs import result_of


@pytest.fixture
def longer(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A run that was finished after an epoch, and stopped on its way to a third, in the midst of it."""
    run = trainer.create(full_size_config(training={"epochs": 1}))
    trainer.train(run)
    with monkeypatch.context() as patch:
        original = Desk.after_step

        def after_step(self: Desk) -> None:
            original(self)
            if self.progress.step == 12:
                self.save_checkpoint()
                raise Stopped("stopped by a test")

        patch.setattr(Desk, "after_step", after_step)
        with pytest.raises(Stopped):
            trainer.train(run, LaunchRequest(epochs=3))
    return run


def accuracy_in(path: str, trainer: Trainer) -> float:
    with np.load(path) as saved:
        return 100.0 * float((saved["last_classes"] == trainer.images.test_labels).mean())


def test_the_earlier_result_is_reported_and_belongs_to_the_predictions_beside_it(
    longer: RunDirectory, trainer: Trainer
) -> None:
    run = load_run(longer)
    assert run.result is None and run.earlier is not None and not longer.result.exists()
    with np.load(longer.predictions) as now, np.load(longer.earlier_predictions) as before:
        assert (int(now["last_epoch"]), int(before["last_epoch"])) == (2, 1)
    (row,) = collect(trainer.runs_dir).rows
    assert row.first.resumed is run.state is not State.FINISHED
    assert (row.first.result, row.first.result.epochs) == (run.earlier, 1)
    assert row.first.result.test_accuracy == accuracy_in(str(longer.earlier_predictions), trainer)
    assert "earlier result: resumed since" in render(trainer.runs_dir)


def test_it_goes_once_the_run_is_finished_again(longer: RunDirectory, trainer: Trainer) -> None:
    reporter = trainer.train(longer).reporter
    (row,) = collect(trainer.runs_dir).rows
    assert longer.result.exists() and (row.first.result.epochs, row.first.resumed) == (1, State.RUNNING)
    reporter.close(State.FINISHED, None, 0)
    (row,) = collect(trainer.runs_dir).rows
    assert (row.first.result.epochs, row.first.resumed) == (3, None), "at no moment without a row"
    after_finish(longer)
    assert not longer.earlier.exists()
    (row,) = collect(trainer.runs_dir).rows
    assert (row.first.result, row.first.result.epochs, row.first.resumed) == (result_of(longer), 3, None)
    assert row.first.result.test_accuracy == accuracy_in(str(longer.predictions), trainer)


def test_a_start_that_cannot_take_up_the_checkpoint_leaves_the_run_finished(trainer: Trainer) -> None:
    run = trainer.create(full_size_config(training={"epochs": 1}))
    trainer.train(run)
    result = result_of(run)
    other = full_size_config(model={"kind": "wide_resnet", "depth": 16, "widen_factor": 1}, training={"epochs": 1})
    run.config.write_text(other.model_dump_json())
    with pytest.raises(CheckpointError, match="another model"):
        trainer.train(run, LaunchRequest(epochs=3))
    assert result_of(run) == result and not run.earlier.exists()


def test_where_it_cannot_be_kept_there_is_none_and_training_goes_on(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer.create(full_size_config(training={"epochs": 1}))
    trainer.train(run)
    assert not run.earlier.exists()
    run.earlier.write_text("a file where the directory is to be")
    trainer.train(run, LaunchRequest(epochs=2))
    assert any("the earlier result could not be kept: " in message for message in messages(run, "warning"))
    assert result_of(run).epochs == 2


def images_tested(trainer: Trainer) -> TestSet:
    """The trainer's own few images."""
    of = DataConfig(source="sample", split="standard")
    return TestSet(trainer.images.test_images, trainer.images.test_labels, of, {})


def test_the_api_gives_the_predictions_of_the_result_it_shows(longer: RunDirectory, trainer: Trainer) -> None:
    (shown,) = api.benchmark_table(trainer.runs_dir).runs
    assert shown.resumed is not None
    run = api.load_run(shown.id, trainer.runs_dir)
    test = images_tested(trainer)
    newest, earlier = (load_predictions(run, "last", test, earlier=which) for which in (False, True))
    assert (newest.epoch, earlier.epoch) == (2, 1) and earlier.accuracy == shown.result.test_accuracy
    assert load_predictions(run, "best", test, earlier=True).epoch == shown.result.best_epoch
    trainer.train(longer).reporter.close(State.FINISHED, None, 0)
    after_finish(longer)
    with pytest.raises(api.RunError, match=r"of epoch 3, the earlier result is of epoch 1: .* load it again"):
        api.predictions(run, earlier=True)
    again = api.load_run(shown.id, trainer.runs_dir)
    with pytest.raises(api.RunError, match="has no earlier result: it is not a finished run that goes on"):
        api.predictions(again, earlier=True)


def test_before_its_training_begins_the_earlier_predictions_are_those_that_lie_there(trainer: Trainer) -> None:
    made = trainer.create(full_size_config(training={"epochs": 1}))
    trainer.train(made).reporter.close(State.FINISHED, None, 0)
    prepare_resume(load_run(made), "cpu", epochs=2)
    test = images_tested(trainer)
    run = load_run(made)
    found = load_predictions(run, "last", test, earlier=True)
    assert run.earlier is not None and (found.epoch, found.accuracy) == (1, run.earlier.test_accuracy)
