"""Realistic runs without training: records, statuses and whole run directories for tests and for looking at.

A wrn run of 30,000 images: noisy test accuracy at lr 0.1 around the reference's 93.28 %, a jump at each learning
rate step, train loss lines of ten steps with their spread, an evaluation an epoch, a system sample now and then.
Everything follows from the seed; timestamps end at `now`.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fmnist_tui.config import RunConfig
from fmnist_tui.data.split import split_sizes
from fmnist_tui.fields import steps_per_epoch, with_changes
from fmnist_tui.presets import shipped_preset
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, EventRecord, GpuSample, HostSample, Metric, SystemRecord, TrainRecord
from fmnist_tui.runs.result import Provenance, Result
from fmnist_tui.runs.status import State, Status
from fmnist_tui.runs.store import Run
from fmnist_tui.training.schedule import learning_rate
from fmnist_tui.tui.metric_lines import MetricRecord
from fmnist_tui.tui.run_data import RunData

NOW = datetime(2026, 11, 23, 14, 28, 0, tzinfo=UTC)
RUN_ID = "20261123-142501-wrn-k3f9"
GHOST_ID = "20261121-090000-wrn-a2b4"


def stamp(time: datetime) -> str:
    """A timestamp as records have it."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def preset(name: str = "wrn", **changes: Any) -> RunConfig:
    """A shipped preset with changes, their dots written as double underscores."""
    config = shipped_preset(name)
    assert config is not None
    return with_changes(config, {key.replace("__", "."): value for key, value in changes.items()})


@dataclass(frozen=True)
class Plan:
    """What a synthetic run is like."""

    config: RunConfig = field(default_factory=preset)
    done: float = 36.7
    """Epochs done."""
    seed: int = 0
    speed: float = 9870.0
    slow_from: float = math.inf
    """Epoch from which the speed is half."""
    nan_at: int | None = None
    """Step whose loss is NaN; the run ends there."""
    spike_at: int | None = None
    """Step whose loss is 40 times the usual."""
    overfit_from: float = math.inf
    """Epoch from which test loss rises while accuracy holds."""
    shift: float = 0.0
    """Points of accuracy more (or less) than usual."""
    lines_every: int = 10
    gpu: bool = True
    now: datetime = NOW
    resume_at: int | None = None
    """A stop and a resume at this epoch."""

    @property
    def per_epoch(self) -> int:
        """Steps an epoch."""
        return steps_per_epoch(self.config, split_sizes(self.config.data.source, self.config.data.split)[0])


def _phase(lr: float, plan: Plan) -> int:
    """How often the learning rate has dropped, by its size."""
    share = max(lr / plan.config.optimizer.lr, 1e-4)
    return min(3, round(-math.log(share) / math.log(5)))


def losses_at(epoch: float, lr: float, plan: Plan) -> tuple[float, float, float, float]:
    """Train loss, test loss, test accuracy and train accuracy around an epoch, without noise."""
    phase = _phase(lr, plan)
    start = 1.45 * math.exp(-epoch / 0.9) + 0.35 * math.exp(-epoch / 7)
    train = (0.165, 0.085, 0.03, 0.016)[phase] + start
    test = (0.205, 0.178, 0.172, 0.176)[phase] + 0.9 * start
    error = (6.9, 5.6, 5.1, 4.9)[phase] + 45 * math.exp(-epoch / 1.1) + 6 * math.exp(-epoch / 8)
    if epoch > plan.overfit_from:
        test *= 1 + 0.03 * (epoch - plan.overfit_from)
        error = 6.6
    train_error = (5.9, 3.0, 0.9, 0.4)[phase] + 48 * math.exp(-epoch / 1.0) + 6 * math.exp(-epoch / 7)
    return train, test, 100 - error + plan.shift, 100 - train_error


class _Writer:
    """The records so far and the time each was written."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rng = np.random.default_rng(plan.seed)
        self.clock, self._sampled = 0.0, -10.0
        self._found: list[tuple[float, Metric]] = []

    def add(self, record: Metric) -> None:
        self._found.append((self.clock, record))

    def sample_when_due(self) -> None:
        if self.clock - self._sampled >= 5.0:
            self._sampled = self.clock
            self.add(_sample(self.rng, self.plan))

    def dated(self) -> list[Metric]:
        """The records with timestamps that end at the plan's now."""
        now, end = self.plan.now, self._found[-1][0]
        return [r.model_copy(update={"time": stamp(now - timedelta(seconds=end - at))}) for at, r in self._found]


def records(plan: Plan) -> list[Metric]:
    """Every line of the run's metrics, in order."""
    writer = _Writer(plan)
    per_epoch, steps = plan.per_epoch, int(plan.done * plan.per_epoch)
    writer.add(EventRecord(event="start", message="wide_resnet with 36,478,906 parameters on NVIDIA H200"))
    writer.clock += 9.0
    step = 0
    while step < steps:
        writer.sample_when_due()
        end = min(step - step % plan.lines_every + plan.lines_every, (step // per_epoch + 1) * per_epoch, steps)
        line = _train_line(writer, step, end)
        writer.add(line)
        if math.isnan(line.loss):
            text = f"loss is NaN at step {plan.nan_at}"
            writer.add(EventRecord(event="error", step=end, epoch=line.epoch, message=text))
            break
        if end % per_epoch == 0 and line.epoch % plan.config.training.eval_every == 0:
            writer.clock += 1.3
            writer.add(_evaluation(writer.rng, plan, line.epoch, end, line.lr))
            if plan.resume_at == line.epoch:
                _stop_and_resume(writer, line.epoch, end)
        step = end
    return writer.dated()


def _train_line(writer: _Writer, begin: int, end: int) -> TrainRecord:
    plan, rng = writer.plan, writer.rng
    epoch = (end - 1) // plan.per_epoch + 1
    lr = learning_rate(end - 1, plan.config, plan.per_epoch)
    mean = max(0.004, losses_at(end / plan.per_epoch, lr, plan)[0] * (1 + 0.09 * float(rng.standard_normal())))
    low, high = mean * (1 - abs(rng.normal(0.25, 0.05))), mean * (1 + abs(rng.normal(0.33, 0.09)))
    if plan.spike_at is not None and begin < plan.spike_at <= end:
        high, mean = 40 * mean, mean + 39 * mean / (end - begin)
    if plan.nan_at is not None and begin < plan.nan_at <= end:
        mean = low = high = math.nan
    pace = plan.speed * (0.5 if epoch > plan.slow_from else 1.0) * (1 + 0.02 * float(rng.standard_normal()))
    pace *= 0.15 if begin == 0 else 1.0  # the first line holds compilation
    writer.clock += (end - begin) * plan.config.training.batch_size / pace
    return TrainRecord(
        step=end, epoch=epoch, loss=mean, loss_min=low, loss_max=high, lr=lr, images_per_second=pace
    )  # fmt: skip


def _stop_and_resume(writer: _Writer, epoch: int, step: int) -> None:
    where = f"after epoch {epoch}, step {step}"
    writer.add(EventRecord(event="stop", step=step, epoch=epoch, message=f"stopped by a request {where}"))
    writer.clock += 120.0
    writer.add(EventRecord(event="resume", step=step, epoch=epoch, message=f"going on {where}"))


def _evaluation(rng: np.random.Generator, plan: Plan, epoch: int, step: int, lr: float) -> EvalRecord:
    train, test, accuracy, train_accuracy = losses_at(epoch, lr, plan)
    noise = (1.0, 0.22, 0.12, 0.08)[_phase(lr, plan)]
    swing = float(rng.standard_normal()) * noise
    return EvalRecord(
        epoch=epoch,
        step=step,
        test_loss=max(0.05, test * (1 + 0.05 * noise * float(rng.standard_normal()) - 0.04 * swing)),
        test_accuracy=min(100.0, accuracy + 0.45 * swing),
        train_loss=train,
        train_accuracy=min(100.0, train_accuracy + 0.1 * noise * float(rng.standard_normal())),
        seconds=1.3 + 0.02 * float(rng.standard_normal()),
    )


def _sample(rng: np.random.Generator, plan: Plan) -> SystemRecord:
    gpu = GpuSample(
        index=0,
        name="NVIDIA H200",
        utilization=float(np.clip(rng.normal(91, 4), 0, 100)),
        memory_used=31 << 30,
        memory_total=139 << 30,
        power=float(rng.normal(512, 9)),
        power_limit=700.0,
        temperature=61.0,
    )
    host = HostSample(
        cpu_percent=float(np.clip(rng.normal(14, 3), 0, 100)), ram_used=21 << 30, ram_total=128 << 30, cores=16
    )
    return SystemRecord(gpus=[gpu] if plan.gpu else [], host=host)


def status(plan: Plan, lines: list[Metric], state: State = State.RUNNING, **changes: Any) -> Status:
    """A status that fits the records."""
    train = [record for record in lines if isinstance(record, TrainRecord)]
    evaluations = [record for record in lines if isinstance(record, EvalRecord)]
    best = max(evaluations, key=lambda record: record.test_accuracy, default=None)
    newest = train[-1] if train else None
    per_epoch, epochs = plan.per_epoch, plan.config.training.epochs
    values: dict[str, Any] = {
        "state": state,
        "phase": "training" if state is State.RUNNING else "",
        "pid": os.getpid() if state.alive else None,
        "pid_started": psutil.Process().create_time() if state.alive else None,
        "host": socket.gethostname(),
        "created": lines[0].time if lines else stamp(plan.now),
        "started": lines[0].time if lines else None,
        "ended": None if state.alive else stamp(plan.now),
        "heartbeat": stamp(plan.now),
        "epoch": newest.epoch if newest else 0,
        "epochs": epochs,
        "step": newest.step if newest else 0,
        "steps": epochs * per_epoch,
        "steps_per_epoch": per_epoch,
        "loss": newest.loss if newest else None,
        "lr": newest.lr if newest else None,
        "test_accuracy": evaluations[-1].test_accuracy if evaluations else None,
        "best_accuracy": best.test_accuracy if best else None,
        "best_epoch": best.epoch if best else None,
        "images_per_second": newest.images_per_second if newest else None,
        "active_seconds": 190.0,
        "device": "cuda:0" if plan.gpu else "cpu",
        "device_name": "NVIDIA H200" if plan.gpu else "AMD EPYC",
    }
    return Status(**(values | changes))


def result(plan: Plan, lines: list[Metric], run_id: str = RUN_ID) -> Result:
    """The result of a run that ended with these records."""
    evaluations = [record for record in lines if isinstance(record, EvalRecord)]
    best = max(evaluations, key=lambda record: record.test_accuracy)
    last, config = evaluations[-1], plan.config
    train_images, test_images = split_sizes(config.data.source, config.data.split)
    return Result(
        id=run_id,
        name=config.name,
        preset=config.preset,
        model=config.model.kind,
        parameters=36_478_906,
        seed=config.seed,
        data_source=config.data.source,
        split=config.data.split,
        train_images=train_images,
        test_images=test_images,
        epochs=last.epoch,
        steps=last.step,
        complete=True,
        test_accuracy=last.test_accuracy,
        test_loss=last.test_loss,
        best_accuracy=best.test_accuracy,
        best_epoch=best.epoch,
        train_accuracy=last.train_accuracy,
        train_seconds=612.0,
        eval_seconds=260.0,
        total_seconds=893.0,
        images_per_second=plan.speed,
        device="cuda:0",
        device_name="NVIDIA H200",
        precision="bf16",
        memory_format="channels_last",
        compile="default",
        deterministic=False,
        micro_batch=config.training.batch_size,
        peak_memory_bytes=31 << 30,
        starts=1,
        started=lines[0].time,
        finished=lines[-1].time,
        provenance=Provenance(fmnist_tui="0.1.0", python="3.12", torch="2.14", platform="Linux"),
    )


def make_run(
    runs_dir: Path, plan: Plan, state: State = State.RUNNING, run_id: str = RUN_ID, write: bool = True, **changes: Any
) -> tuple[Run, list[Metric]]:
    """A run as the store loads it and its records; `write` also puts its directory on disk."""
    lines = records(plan)
    values = status(plan, lines, State.RUNNING if state is State.LOST else state, **changes)
    if state is State.LOST:
        values = values.model_copy(update={"pid": 2**22 + 1, "pid_started": 0.0})  # no such process
    finished = result(plan, lines, run_id) if state is State.FINISHED else None
    directory = RunDirectory(runs_dir / run_id)
    if write:
        directory.path.mkdir(parents=True)
        directory.config.write_text(plan.config.model_dump_json(indent=2))
        directory.status.write_text(values.to_json())
        directory.metrics.write_text("".join(record.to_json() + "\n" for record in lines))
        directory.worker_log.write_text(_log(lines))
        if values.epoch > 2:  # without one it could not go on
            directory.checkpoint("last").parent.mkdir()
            directory.checkpoint("last").touch()
        if finished is not None:
            directory.result.write_text(finished.model_dump_json(indent=2))
        directory.marker.write_text("1\n")
    return Run(directory, plan.config, values, finished, state), lines


def _log(lines: list[Metric]) -> str:
    events = [record for record in lines if isinstance(record, EventRecord)]
    evaluations = [record for record in lines if isinstance(record, EvalRecord)]
    text = [f"{record.time} {record.event}: {record.message}" for record in events]
    text += [f"{r.time} epoch {r.epoch}: test {r.test_accuracy:.2f} %, loss {r.test_loss:.4f}" for r in evaluations]
    return "\n".join(sorted(text)) + "\n"


def ghost(runs_dir: Path, now: datetime = NOW) -> tuple[Run, list[Metric]]:
    """A finished earlier wrn run, on disk."""
    plan = replace(Plan(done=200.0, seed=7, shift=-0.2, lines_every=59), now=now - timedelta(days=2))
    return make_run(runs_dir, plan, State.FINISHED, GHOST_ID)


def data_of(lines: Sequence[MetricRecord], device: str = "cuda:0") -> RunData:
    """What the app makes of these lines."""
    data = RunData(device)
    data.extend(lines)
    return data
