"""Try hyperparameters on a validation part of the training images: `python scripts/tune_turbo.py turbo --seeds 3`.

Trains a preset, changed by --set, on 25,000 of the custom split's 30,000 training images and tests it on the other
5,000 (data.hold_out, data.fold): the last ones for the first seed, those before them for the second, and so on, so that
several seeds see several validation parts (--fold begins with another). No test image is looked at. That is how the
turbo presets were chosen; each line it prints is one JSON object: a seed's figures, then their mean and deviation.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fmnist_tui.config import RunConfig
from fmnist_tui.data import source
from fmnist_tui.data.source import Images
from fmnist_tui.data.split import split_of
from fmnist_tui.fields import parse_value, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.metrics import EvalRecord, parse_metric
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import Status
from fmnist_tui.training import loop
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.job import Job
from fmnist_tui.training.precision import choose, resolve_device
from fmnist_tui.training.reporter import Reporter


def calibrated_loss(probabilities: NDArray[np.float16], labels: NDArray[np.uint8]) -> float:
    """Cross-entropy at the best temperature: it tells configurations apart where 5,000 images' accuracy can't.

    Label smoothing leaves networks too unsure by amounts that differ with size and length of training; the
    temperature takes that out.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-7))
    losses = []
    for temperature in np.geomspace(0.2, 2.0, 47):
        scaled = logits / temperature
        log_sum = np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1)
        losses.append(float(np.mean(log_sum - scaled[np.arange(len(labels)), labels])))
    return min(losses)


def train(runs_dir: Path, config: RunConfig, images: Images, device: str) -> dict[str, float | None]:
    """One run; its accuracies (%), loss and costs (s)."""
    run = starting.create_run(runs_dir, config, device=device)
    reporter = Reporter(run, Status.model_validate_json(run.status.read_bytes()))
    execution = choose(config.training, resolve_device(device))
    before = resource.getrusage(resource.RUSAGE_SELF)
    loop.train(Job(run, config, LaunchRequest(device=device), images, execution, reporter, StopSignal()))
    after = resource.getrusage(resource.RUSAGE_SELF)
    result = Result.model_validate_json(run.result.read_bytes())
    records = [parse_metric(line) for line in run.metrics.read_bytes().splitlines()]
    saved = np.load(run.predictions)["last_probabilities"]
    last = [record for record in records if isinstance(record, EvalRecord)][-1]
    return {
        "seed": config.seed,
        "accuracy": result.test_accuracy,
        "tta_accuracy": result.tta_accuracy,
        "loss": result.test_loss,
        "calibrated_loss": calibrated_loss(saved, split_of(images, config.data).test_labels),
        "train_loss": last.train_loss,
        "train_accuracy": result.train_accuracy,
        "train_seconds": result.train_seconds,
        "eval_seconds": result.eval_seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def main() -> None:
    """Read the command line and train seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from the preset's seed on")
    parser.add_argument("--hold-out", type=int, default=5000, help="training images to validate on")
    parser.add_argument("--fold", type=int, default=0, help="of the first seed; 0 holds out the last images")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--threads", type=int, help="CPU threads")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    pairs = [change.partition("=") for change in options.changes]
    changes = {key: parse_value(text, key) for key, _, text in pairs}
    # The last evaluation alone counts.
    base = with_changes(
        load_preset(options.preset), {"training.eval_every": 100_000, "data.hold_out": options.hold_out}
    )
    images = source.load(base.data, options.data_dir)
    folds = sum(base.data.sizes) // options.hold_out
    found = []
    with tempfile.TemporaryDirectory(prefix="tune-turbo-") as runs_dir:
        for fold in range(options.fold, options.fold + options.seeds):
            config = with_changes(base, {**changes, "seed": base.seed + fold, "data.fold": fold % folds})
            found.append(train(Path(runs_dir), config, images, options.device))
            print(json.dumps({"changes": changes, "fold": fold, **found[-1]}), flush=True)
    for key in ("accuracy", "tta_accuracy", "loss", "calibrated_loss", "train_seconds", "cpu_seconds"):
        values = [value for run in found if (value := run[key]) is not None]
        if values:
            sd = statistics.stdev(values) if len(values) > 1 else None
            print(json.dumps({"of": key, "n": len(values), "mean": statistics.fmean(values), "sd": sd}))


if __name__ == "__main__":
    main()
