"""What a run leaves behind at its end: predictions.npz and result.json."""

from __future__ import annotations

import io
import resource
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fmnist_tui.analysis.predictions import NoPredictions, PredictionsError, read_stored
from fmnist_tui.config import RunConfig
from fmnist_tui.models import count_parameters
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import utc_now
from fmnist_tui.runs.result import Provenance, Result
from fmnist_tui.runs.status import Status
from fmnist_tui.training.evaluate import Evaluation
from fmnist_tui.training.precision import Execution
from fmnist_tui.training.progress import Progress
from fmnist_tui.training.provenance import cpu_name

if TYPE_CHECKING:
    from fmnist_tui.data.split import Split


class Predictions:
    """The predictions at the last and at the best evaluation, kept in the checkpoint and in predictions.npz.

    The file holds, for `last` and `best`: `{which}_classes` (N,) uint8, `{which}_probabilities` (N, 10)
    float16 and `{which}_epoch` () int64, in the order of the test set (`data.split`). Of the evaluation before the
    last it holds the classes alone, `previous_classes` and `previous_epoch`: they tell which images flipped.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def add(self, evaluation: Evaluation, epoch: int, is_best: bool) -> None:
        """An epoch's evaluation: the last one, and perhaps the best. What was the last is the previous one."""
        if "last_classes" in self._arrays:
            self._arrays["previous_classes"] = self._arrays["last_classes"]
            self._arrays["previous_epoch"] = self._arrays["last_epoch"]
        for which in ("last", "best") if is_best else ("last",):
            self._arrays[f"{which}_classes"] = evaluation.classes
            self._arrays[f"{which}_probabilities"] = evaluation.probabilities
            self._arrays[f"{which}_epoch"] = np.asarray(epoch, dtype=np.int64)

    def save(self, run: RunDirectory, durable: bool = False) -> None:
        """Replace predictions.npz; `durable` waits until the disk has it. Raises OSError where it can't be written."""
        buffer = io.BytesIO()
        np.savez(buffer, **self._arrays)  # type: ignore[arg-type]
        replace_bytes(run.predictions, buffer.getvalue(), durable)

    def cut_back(self, run: RunDirectory, evaluated_epoch: int) -> None:
        """Put these in the place of a file that holds a later evaluation: a run that goes on knows nothing of it.

        Raises OSError where that can't be done.
        """
        try:
            if read_stored(run, "last").epoch <= evaluated_epoch:
                return
        except NoPredictions:
            return
        except PredictionsError:  # damaged, and no better than a later evaluation
            pass
        if self._arrays:
            self.save(run)
        else:
            run.predictions.unlink()

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint."""
        return {key: torch.from_numpy(np.asarray(array)) for key, array in self._arrays.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """From a checkpoint."""
        self._arrays = {key: tensor.cpu().numpy() for key, tensor in state.items()}


def device_name(device: torch.device) -> str:
    """What people call the device: the GPU's name, or the processor's with its cores in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({cpu_name()})"
    threads = torch.get_num_threads()
    return f"{cpu_name()}, {threads} thread{'' if threads == 1 else 's'}"


def peak_memory_bytes(device: torch.device) -> int | None:
    """Most bytes the allocator held on a GPU, or the resident maximum of this process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type == "mps":
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def build_result(
    run: RunDirectory,
    config: RunConfig,
    progress: Progress,
    status: Status,
    model: torch.nn.Module,
    split: Split,
    execution: Execution,
    made_with: Provenance,
) -> Result:
    """The run's row of the benchmark table. The run must have been evaluated at its last epoch."""
    return Result(
        id=run.id,
        name=config.name,
        preset=config.preset,
        model=config.model.kind,
        parameters=count_parameters(model),
        seed=config.seed,
        data_source=config.data.source,
        split=config.data.split,
        hold_out=config.data.hold_out,
        fold=config.data.fold,
        train_images=len(split.train_labels),
        test_images=len(split.test_labels),
        complete=progress.step >= progress.steps or config.training.max_steps is None,
        deterministic=config.training.deterministic,
        peak_memory_bytes=peak_memory_bytes(execution.device),
        started=status.started,
        finished=utc_now(),
        provenance=made_with,
        **_reached(progress),
        **_computed(execution, progress),
    )


def _reached(progress: Progress) -> dict[str, Any]:
    """What the run came to, and what it took."""
    assert progress.test_accuracy is not None and progress.best_accuracy is not None
    assert progress.test_loss is not None and progress.train_accuracy is not None
    return {
        "epochs": progress.evaluated_epoch,
        "steps": progress.step,
        "test_accuracy": progress.test_accuracy,
        "test_loss": progress.test_loss,
        "tta_accuracy": progress.tta_accuracy,
        "best_accuracy": progress.best_accuracy,
        "best_epoch": progress.best_epoch,
        "train_accuracy": progress.train_accuracy,
        "train_seconds": progress.train_seconds,
        "eval_seconds": progress.eval_seconds,
        "total_seconds": progress.active_seconds,
        "images_per_second": progress.images_trained / max(1e-9, progress.train_seconds),
        "starts": progress.starts,
        "energy_joules": progress.energy_joules,
    }


def _computed(execution: Execution, progress: Progress) -> dict[str, Any]:
    """On what, and how."""
    return {
        "device": str(execution.device),
        "device_name": device_name(execution.device),
        "precision": execution.precision,
        "memory_format": execution.layout,
        "compile": execution.compile,
        "threads": progress.threads,
        "choices": execution.choices_in_words,
        "micro_batch": progress.micro_batch,
    }
