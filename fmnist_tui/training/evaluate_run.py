"""Evaluation of checkpoints in a process of its own: `python -m fmnist_tui.training.evaluate_run`.

Reads a Request as JSON on stdin and prints JSON lines on stdout: for each run one for each phase as it begins and a
last one with `done` true, or one with `error` and its exit `code`. Probabilities go into one .npz file for each run
in the request's directory. Started by `fmnist-tui evaluate`; it writes nothing into a run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.runs import disk
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import ExitCode

if TYPE_CHECKING:
    from fmnist_tui.training.evaluate import Evaluation


class Request(BaseModel):
    """What to evaluate."""

    runs: list[Path] = Field(min_length=1)
    """Run directories."""
    output: Path
    """The directory the predictions are written to."""
    checkpoint: Literal["last", "best"] = "last"
    tta: Literal["none", "flip"] = "none"
    device: str = "auto"
    data_dir: Path | None = None


def predictions_path(output: Path, run_id: str) -> Path:
    """Where a run's predictions are written: `classes` (N,) uint8 and `probabilities` (N, 10) float16.

    With test-time averaging also `tta_probabilities`, of the same form.
    """
    return output / f"{run_id}.npz"


def evaluate_run(run: RunDirectory, request: Request, tell: Any) -> dict[str, Any]:
    """Evaluate a run's checkpoint on its test set; returns the figures.

    Raises ConfigError for a device that is not there, DataError, CheckpointError, RuntimeError of the device.
    """
    from fmnist_tui.data import source
    from fmnist_tui.data.batches import DeviceDataset
    from fmnist_tui.data.split import split_of
    from fmnist_tui.models import build_model
    from fmnist_tui.training.evaluate import evaluate
    from fmnist_tui.training.precision import apply_global_settings, choose, resolve_device
    from fmnist_tui.training.result import device_name

    config = RunConfig.model_validate_json(run.config.read_bytes())
    execution = choose(config.training, resolve_device(request.device))
    apply_global_settings(execution, config.training.deterministic)
    content = _content(run, request.checkpoint, config)
    tell(phase="loading data", device=str(execution.device), device_name=device_name(execution.device))
    parts = split_of(source.load(config.data, request.data_dir), config.data)
    dataset = DeviceDataset(parts.test_images, parts.test_labels, execution.device)
    model = build_model(config.model).to(execution.device).to(memory_format=execution.memory_format)
    model.load_state_dict(content["model"])
    tell(phase="evaluating", images=len(dataset))
    started = time.perf_counter()
    found = evaluate(model, model, dataset, execution, request.tta)
    seconds = time.perf_counter() - started
    _write(found, predictions_path(request.output, run.id))
    progress = content["progress"]
    return {
        "loss": found.loss,
        "tta_accuracy": found.tta_accuracy,
        "step": progress["step"],
        "epoch": progress["epoch"] - 1 if progress["batch"] == 0 else progress["epoch"],
        "epoch_ended": progress["batch"] == 0,
        "images": len(dataset),
        "seconds": seconds,
        "device": str(execution.device),
        "device_name": device_name(execution.device),
        "precision": execution.precision,
    }


def _content(run: RunDirectory, which: str, config: RunConfig) -> dict[str, Any]:
    """What the checkpoint holds. Raises CheckpointError where there is none, or none of this network."""
    from fmnist_tui.training import checkpoint

    path = run.checkpoint(which)
    if not path.is_file():
        instead = "; --saved evaluates its saved predictions" if run.predictions.is_file() else ""
        remedy = f"{disk.why_no_checkpoint(run)}{instead}"
        raise checkpoint.CheckpointError(f"has no {which} checkpoint to evaluate; {remedy}")
    content = checkpoint.read_of_run(run, which)
    checkpoint.check_model(content, config, str(path))
    return content


def _write(found: Evaluation, path: Path) -> None:
    """The predictions, as `predictions_path` says."""
    import numpy as np

    arrays = {"classes": found.classes, "probabilities": found.probabilities}
    if found.tta_probabilities is not None:
        arrays["tta_probabilities"] = found.tta_probabilities
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def main() -> int:
    """Evaluate what the request on stdin names; returns an `ExitCode`, that of the first error."""
    try:
        request = Request.model_validate_json(sys.stdin.read())
    except ValidationError as error:
        print(f"evaluate_run: not a request: {error.errors()[0]['msg']}", file=sys.stderr)
        return ExitCode.USAGE
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read once, and any of the runs may be deterministic
    first = 0
    for path in request.runs:
        run = RunDirectory(path)

        def tell(_run: RunDirectory = run, **values: Any) -> None:
            print(json.dumps({"run": _run.id, **values}), flush=True)

        tell(phase="loading torch")
        code, problem = 0, ""
        try:
            tell(done=True, **evaluate_run(run, request, tell))
        except ConfigError as error:
            code, problem = ExitCode.USAGE, str(error)
        except ValueError as error:  # DataError, CheckpointError, a configuration that is not one
            from fmnist_tui.data.source import DataError

            code, problem = (ExitCode.DATA if isinstance(error, DataError) else ExitCode.USAGE), str(error)
        except (OSError, RuntimeError) as error:  # the run is gone, the device failed or is out of memory
            code, problem = ExitCode.FAILED, (str(error).splitlines() or [type(error).__name__])[0]
        if problem:
            tell(error=problem, code=code)
            first = first or code
    return first


if __name__ == "__main__":
    sys.exit(main())
