"""The ghost: the best earlier run of the same preset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fmnist_tui.runs.metrics import EvalRecord
from fmnist_tui.runs.status import State
from fmnist_tui.tui.ghost import find_ghost, load_ghost
from fmnist_tui.tui.run_charts import GhostCurves
from tests.tui.synthetic_runs import Plan, ghost, make_run


def test_the_ghost_is_the_best_earlier_finished_run_of_the_preset(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, Plan(done=3.0))
    best, lines = ghost(tmp_path)
    assert best.result is not None and best.config is not None
    worse = replace(best, result=best.result.model_copy(update={"test_accuracy": 10.0}))
    assert find_ghost(run, [run, worse, best]) is best
    assert find_ghost(best, [run, best]) is None, "a later run is no ghost, nor is the run itself"
    other = replace(best, config=best.config.model_copy(update={"preset": "dpn"}))
    stopped = replace(best, state=State.STOPPED)
    assert find_ghost(run, [other, stopped]) is None
    evaluations = load_ghost(best.directory)
    assert evaluations == [record for record in lines if isinstance(record, EvalRecord)]
    assert load_ghost(replace(best.directory, path=tmp_path / "gone")) == []


def test_its_evaluations_lie_where_they_were_made() -> None:
    values = {"test_loss": 0.5, "test_accuracy": 80.0, "train_loss": 0.4, "train_accuracy": 85.0, "seconds": 1.0}
    whole, limited = EvalRecord(epoch=1, step=100, **values), EvalRecord(epoch=2, step=150, **values)
    curves = GhostCurves.of("best wrn", [whole, limited], per_epoch=100)
    assert curves.test_loss.x.tolist() == curves.test_accuracy.x.tolist() == [1.0, 1.5]
