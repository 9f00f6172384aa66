"""`evaluate` from start to end: a run, its checkpoint in a process of its own, agreement to the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cli_helpers import TINY, json_lines, only_run, run

from fmnist_tui.runs.records import Result


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
    with np.load(directory.predictions) as file:
        arrays = dict(file)
    arrays["last_classes"][:7] = (arrays["last_classes"][:7] + 1) % 10
    np.savez(directory.predictions, **arrays)
    directory.result.write_text(result.model_copy(update={"precision": "bf16"}).model_dump_json())
    done = run("evaluate", "last", "--device=cpu", f"--runs-dir={runs_dir}")
    assert "7 of 2,000 predictions differ from the saved ones (bf16 then, fp32 now)" in done.stdout
    directory.checkpoint("last").unlink()
    done = run("evaluate", "last", "--device=cpu", f"--runs-dir={runs_dir}")
    assert done.returncode == 2 and "no such checkpoint" in done.stderr and "Traceback" not in done.stderr
