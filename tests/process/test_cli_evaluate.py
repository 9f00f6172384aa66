"""`evaluate` from start to end: a run, its checkpoint in a process of its own, agreement to the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import Status
from tests.printed import json_lines
from tests.process.cli_helpers import TINY, only_run
from tests.process.forked_commands import run


def test_evaluate_agrees_with_the_run_and_says_what_does_not(runs_dir: Path) -> None:
    arguments = ("run", "preset", "quick", *TINY, "--epochs=1", "--set=training.max_steps=20", f"--runs-dir={runs_dir}")
    assert run(*arguments).returncode == 0
    directory = only_run(runs_dir)
    result = Result.model_validate_json(directory.result.read_bytes())
    done = run("evaluate", "last", "--tta=flip", "--device=cpu", "--json", f"--runs-dir={runs_dir}")
    assert done.returncode == 0, done.stderr
    (told,) = json_lines(done.stdout)
    assert told["accuracy"] == result.test_accuracy and told["loss"] == result.test_loss
    assert told["agreement"] == "all 2,000 predictions are the saved ones"
    assert told["tta_accuracy"] is not None and told["checkpoint"] == "last"
    assert "evaluating" in done.stderr and told["images"] == 2000
    status = Status.model_validate_json(directory.status.read_bytes())
    assert (told["epoch"], told["epochs_trained"]) == (1, 20 / status.steps_per_epoch)
    (saved,) = json_lines(run("evaluate", "last", "--saved", "--json", f"--runs-dir={runs_dir}").stdout)
    assert (saved["epoch"], saved["epochs_trained"]) == (1, 20 / status.steps_per_epoch)
    with np.load(directory.predictions) as file:
        arrays = dict(file)
    arrays["last_classes"][:7] = (arrays["last_classes"][:7] + 1) % 10
    np.savez(directory.predictions, **arrays)
    directory.result.write_text(result.model_copy(update={"precision": "bf16"}).model_dump_json())
    done = run("evaluate", "last", "--device=cpu", f"--runs-dir={runs_dir}")
    assert "7 of 2,000 predictions differ from the saved ones (bf16 then, fp32 now)" in done.stdout


def test_a_run_that_cannot_be_evaluated_stops_no_other(runs_dir: Path) -> None:
    """Three runs; the first has lost its checkpoint and its predictions. The others are evaluated."""
    arguments = ("run", "preset", "quick", *TINY, "--epochs=1", "--set=training.max_steps=3", f"--runs-dir={runs_dir}")
    for name in ("broken", "one", "other"):
        assert run(*arguments, f"--name={name}").returncode == 0
    broken = next(path for path in runs_dir.iterdir() if "broken" in path.name)
    for path in (broken / "checkpoints" / "last.pt", broken / "predictions.npz"):
        path.unlink()
    for options, reason in (("--device=cpu",), "has no last checkpoint"), (("--saved",), "predictions"):
        done = run("evaluate", "broken", "one", "other", *options, "--ensemble", "--json", f"--runs-dir={runs_dir}")
        assert done.returncode == 2 and "Traceback" not in done.stderr
        told = json_lines(done.stdout)
        assert told, done.stderr
        assert [("one" in each["run"], "other" in each["run"]) for each in told] == [(True, False), (False, True)]
        assert broken.name in done.stderr and reason in done.stderr
        assert "--ensemble: nothing was averaged" in done.stderr
    both = ("one", "other", "--ensemble", "--tta=flip", "--device=cpu", "--json", f"--runs-dir={runs_dir}")
    *members, together = json_lines(run("evaluate", *both).stdout)
    assert all(isinstance(each["tta_accuracy"], float) for each in (*members, together))
