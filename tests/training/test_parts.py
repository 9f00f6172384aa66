"""The trainer's parts by themselves: losses on their way, pace, precision, control, reporter, checkpoints."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
import torch

from fmnist_tui.config import ConfigError, TrainingConfig
from fmnist_tui.runs import starting
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord, parse_metric
from fmnist_tui.runs.requests import send_request
from fmnist_tui.runs.status import State, Status
from fmnist_tui.training import checkpoint, control, precision
from fmnist_tui.training.control import ControlReader, StopSignal
from fmnist_tui.training.logbook import in_words
from fmnist_tui.training.losses import LossLog, lines_every
from fmnist_tui.training.precision import apply_global_settings, choose, resolve_device
from fmnist_tui.training.progress import Pace, Progress, evaluated_epochs
from fmnist_tui.training.reporter import Reporter
from tests.training.tiny import tiny_config

CPU = torch.device("cpu")


def reporter_for(runs_dir: Path) -> Reporter:
    run = starting.create_run(runs_dir, tiny_config(), device="cpu")
    return Reporter(run, Status.model_validate_json(run.status.read_bytes()))


# --- losses


def test_lines_end_at_multiples_and_at_the_end_of_an_epoch() -> None:
    log = LossLog(CPU, steps_per_epoch=130)
    assert log.every == lines_every(130) == 3
    for epoch in (1, 2):
        for batch in range(1, 131):
            log.add(torch.tensor(float(batch)), 10, (epoch - 1) * 130 + batch, epoch, batch, 0.1)
    lines = log.collect()
    assert [line.step for line in lines[:3]] == [3, 6, 9] and lines[43].step == 130 and lines[44].step == 133
    assert (lines[0].loss, lines[0].loss_min, lines[0].loss_max) == (2.0, 1.0, 3.0)
    assert lines[43].loss == 130.0, "the last line of an epoch holds what is left"
    assert len(lines) == 2 * 44


def test_a_non_finite_loss_is_not_averaged_away() -> None:
    log = LossLog(CPU, steps_per_epoch=120)
    for batch, loss in ((1, 2.0), (2, math.inf)):
        log.add(torch.tensor(loss), 10, batch, 1, batch, 0.1)
    (line,) = log.collect()
    assert line.loss == math.inf and line.loss_min == 2.0
    assert json.loads(line.to_json())["loss"] == "Infinity"
    assert parse_metric(line.to_json()) == line


class Arrival:
    """An event of a device whose lines arrive when the test says so, or when they are waited for."""

    def __init__(self) -> None:
        self.here = False

    def query(self) -> bool:
        return self.here

    def synchronize(self) -> None:
        self.here = True


@pytest.mark.parametrize("wait", [False, True])
def test_lines_that_arrive_together_share_the_time(monkeypatch: pytest.MonkeyPatch, wait: bool) -> None:
    """The host looks between two steps: where two lines arrived since, the second took no millionth of a second."""
    clock = iter([0.0, 2.0, 3.0])
    monkeypatch.setattr("fmnist_tui.training.losses.time.perf_counter", lambda: next(clock))
    log = LossLog(torch.device("cpu"), steps_per_epoch=100)
    log.every = 1
    events = [Arrival() for _ in range(3)]
    for step, event in enumerate(events, 1):
        log.add(torch.tensor(1.0), 100, step, 1, step, 0.1)
        log._lines[-1].arrived = cast("torch.cuda.Event", event)
    events[0].here = events[1].here = True
    records = log.collect(wait)
    assert [record.images_per_second for record in records] == [100.0, 100.0, 100.0][: len(records)]
    assert len(records) == (3 if wait else 2) and log.collect(wait) == []


def test_an_unfinished_line_goes_on_after_a_restore() -> None:
    log = LossLog(CPU, steps_per_epoch=120)
    log.add(torch.tensor(1.0), 10, 1, 1, 1, 0.1)
    again = LossLog(CPU, steps_per_epoch=120)
    again.restore(log.state())
    again.add(torch.tensor(3.0), 10, 2, 1, 2, 0.1)
    assert again.collect()[0].loss == 2.0


def test_the_steps_before_a_step_limit_are_a_line_of_their_own() -> None:
    log = LossLog(CPU, steps_per_epoch=300)
    for batch in (1, 2):
        log.add(torch.tensor(float(batch)), 10, batch, 1, batch, 0.1)
    assert log.collect() == []
    log.end_line()
    log.end_line()
    (line,) = log.collect()
    assert (line.step, line.loss) == (2, 1.5)


# --- pace


@pytest.mark.parametrize(
    ("first", "last", "every", "expected"),
    [(1, 5, 1, [1, 2, 3, 4, 5]), (1, 5, 2, [2, 4, 5]), (3, 6, 3, [3, 6]), (5, 5, 10, [5]), (4, 3, 1, [])],
)
def test_evaluated_epochs(first: int, last: int, every: int, expected: list[int]) -> None:
    assert list(evaluated_epochs(first, last, every)) == expected


def test_the_estimate_leaves_out_the_first_line_and_counts_evaluations() -> None:
    pace = Pace(tiny_config(training={"epochs": 10}), test_images=300)
    progress = Progress(epochs=10, steps_per_epoch=5, epoch=3, batch=0, step=10)
    pace.line(1.0)  # warm-up
    assert pace.left(progress, 100) is None
    pace.line(100.0)
    assert pace.left(progress, 100) == pytest.approx(8 * 1.0 + 8 * 1.0)  # 8 epochs; 300 images at 3 x 100 a second
    pace.evaluation(0.5)
    assert pace.left(progress, 100) == pytest.approx(8 * 1.0 + 8 * 0.5)
    progress.batch = 5
    assert pace.left(progress, 100) == pytest.approx(7 * 1.0 + 8 * 0.5)


def test_the_estimate_knows_the_step_limit() -> None:
    pace = Pace(tiny_config(training={"epochs": 10, "max_steps": 7}), test_images=300)
    pace.line(1.0)
    pace.line(100.0)
    pace.evaluation(0.5)
    left = pace.left(Progress(epochs=10, steps_per_epoch=5, epoch=1, batch=2, step=2), 100)
    assert left == pytest.approx(1.0 + 2 * 0.5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(20, "about 20 seconds"), (600, "about 10 minutes"), (7200, "about 2 hours"), (432000, "about 5 days")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


# --- precision and devices


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, ("bf16", "channels_last")), (False, ("fp32", "contiguous"))])
def test_auto_on_a_cpu_goes_by_what_it_can(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: has_bf16)
    execution = choose(TrainingConfig(), CPU)
    assert (execution.precision, execution.layout) == expected and execution.compile == "off"
    assert set(execution.reasons) == {"precision", "memory_format", "compile", "threads", "fused"}


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp16"), ((6, 1), "fp32")]
)
def test_auto_on_cuda_goes_by_its_capability(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose(TrainingConfig(), torch.device("cuda", 0)).precision == expected


def test_what_is_set_is_taken() -> None:
    settings: dict[str, Any] = {
        "precision": "fp32",
        "memory_format": "channels_last",
        "compile": "default",
        "fused": "off",
    }
    execution = choose(TrainingConfig(**settings, threads=3, tf32="on"), CPU)
    assert execution.choices == settings | {"threads": "3"}, "a GPU's switches are nothing to tell of on a CPU"
    assert set(execution.reasons.values()) == {"set"}


@pytest.mark.parametrize(("deterministic", "expected"), [(False, "on"), (True, "off")])
def test_a_gpus_switches(monkeypatch: pytest.MonkeyPatch, deterministic: bool, expected: Literal["on", "off"]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    device = torch.device("cuda", 0)
    chosen = choose(TrainingConfig(deterministic=deterministic), device).choices
    assert (chosen["tf32"], chosen["cudnn_benchmark"], chosen["fused"]) == (expected, expected, "on")
    other: Literal["on", "off"] = "off" if expected == "on" else "on"
    config = TrainingConfig(deterministic=deterministic, tf32=other, cudnn_benchmark=other)
    execution = choose(config, device)
    assert (execution.tf32, execution.cudnn_benchmark) == (other == "on",) * 2
    assert execution.reasons["tf32"] == "set"


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_run_on_the_second_gpu_means_that_one(monkeypatch: pytest.MonkeyPatch, deterministic: bool) -> None:
    """An event that names no device is recorded on the current one: else losses would be read before they arrive.

    And whatever sets the arithmetic up, bench and calibration too, can multiply matrices deterministically.
    """
    current = list[torch.device]()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # put back afterwards, whatever is set meanwhile
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    device = torch.device("cuda", 1)
    try:
        apply_global_settings(choose(TrainingConfig(deterministic=deterministic, threads=1), device), deterministic)
        assert current == [device]
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if deterministic else None)
    finally:
        apply_global_settings(choose(TrainingConfig(threads=1), CPU), False)


@pytest.mark.parametrize("name", ["cuda:7", "cuda", "tpu", "cpu:x", "meta", ""])
def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device"):
        resolve_device(name)


def test_bf16_trains_like_fp32() -> None:
    """The same three steps: losses within bf16's rounding of each other."""
    from fmnist_tui.data import source
    from fmnist_tui.models import build_model
    from fmnist_tui.training.optim import build_optimizer
    from fmnist_tui.training.step import TrainStep

    sample = source.load_sample()
    batch = torch.from_numpy(sample.train_images[:32].copy())
    labels = torch.from_numpy(sample.train_labels[:32].copy()).long()
    losses = {}
    for name in ("fp32", "bf16"):
        config = tiny_config(training={"precision": name})
        torch.manual_seed(0)
        model = build_model(config.model)
        execution = choose(config.training, CPU)
        model = model.to(memory_format=execution.memory_format)
        step = TrainStep(model, build_optimizer(model, config.optimizer), config, execution)
        losses[name] = [float(step(batch, labels, 0.05, 1, index)[0]) for index in range(3)]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.03)
    assert losses["bf16"] != losses["fp32"]


# --- control and signals


def test_control_reader_returns_each_request_once(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)
    run = starting.create_run(runs_dir, tiny_config())
    reader = ControlReader(run)
    assert reader.poll() == []
    send_request(run, "checkpoint")
    send_request(run, "edit", epochs=5)
    assert [request.request for request in reader.poll()] == ["checkpoint", "edit"]
    assert reader.poll() == []
    send_request(run, "stop")
    reader.forget()
    assert run.control.exists(), "a request not yet seen stays"
    assert [request.request for request in reader.poll()] == ["stop"]
    reader.forget()
    assert not run.control.exists()
    run.control.write_bytes(b'{"requests": [{"id": 1')
    assert reader.poll() == []


def test_the_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        stop = StopSignal()
        stop.install()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
        os.kill(os.getpid(), signal.SIGTERM)  # the same one, from a scheduler that tells every process and the parent
        monkeypatch.setattr(control, "SECOND_SIGNAL_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- reporter


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def test_the_heartbeat_beats_and_the_machine_is_sampled_while_the_loop_is_busy(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_tui.training.reporter.STATUS_SECONDS", 0.02)
    monkeypatch.setattr("fmnist_tui.training.reporter.HEARTBEAT_SECONDS", 0.05)
    reporter = reporter_for(runs_dir)
    reporter.start()
    first = Status.model_validate_json(reporter.run.status.read_bytes())
    assert first.pid == os.getpid()
    wait_until(lambda: Status.model_validate_json(reporter.run.status.read_bytes()).heartbeat > first.heartbeat)
    wait_until(lambda: reporter.run.metrics.exists() and b'"system"' in reporter.run.metrics.read_bytes())
    reporter.close(State.FINISHED, None, 0)
    assert not any(thread.name == "reporter" for thread in threading.enumerate())
    last = Status.model_validate_json(reporter.run.status.read_bytes())
    assert (last.state, last.exit_code) == (State.FINISHED, 0) and last.ended is not None


def test_lines_wait_while_the_disk_is_full(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = reporter_for(runs_dir)
    line = TrainRecord(step=1, epoch=1, loss=1.0, loss_min=1.0, loss_max=1.0, lr=0.1, images_per_second=5.0)
    reporter.write(line)
    pwrite = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        reporter.write(line.model_copy(update={"step": 2}))
        reporter.write(line.model_copy(update={"step": 3}))
    assert os.pwrite is pwrite
    reporter.write(line.model_copy(update={"step": 4}))
    records = [parse_metric(text) for text in reporter.run.metrics.read_bytes().splitlines()]
    steps = [record.step for record in records if isinstance(record, TrainRecord)]
    warnings = [record for record in records if record is not None and record.kind == "event"]
    assert steps == [1, 2, 3, 4]
    assert len(warnings) == 1 and "No space left" in warnings[0].message


def test_a_trouble_with_the_disk_is_said_once_and_once_that_it_is_over(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where every other write succeeds: status.json needs a new block, a metric line fits into the old one."""
    monkeypatch.setattr("fmnist_tui.training.reporter.OVER_SECONDS", 0.0)
    reporter = reporter_for(runs_dir)
    line = TrainRecord(step=1, epoch=1, loss=1.0, loss_min=1.0, loss_max=1.0, lr=0.1, images_per_second=5.0)

    def full(path: Path, data: bytes, durable: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def warnings() -> list[str]:
        records = [parse_metric(text) for text in reporter.run.metrics.read_bytes().splitlines()]
        return [record.message for record in records if record is not None and record.kind == "event"]

    for nth in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr("fmnist_tui.training.reporter.replace_bytes", full)
            for step in (1, 2, 3):
                reporter.update(now=True, step=step)
                reporter.write(line)
        assert len(warnings()) == 2 * nth - 1 and "No space left on device" in warnings()[-1]
        for _ in range(3):
            reporter.update(now=True)
            reporter.write(line)
        assert len(warnings()) == 2 * nth and "files can be written again" in warnings()[-1]
    assert capsys.readouterr().err.count("\n") == 4, "as in the log"


def test_keep_until_drops_later_lines_and_damaged_ones(runs_dir: Path) -> None:
    reporter = reporter_for(runs_dir)
    for step in range(1, 6):
        reporter.write(TrainRecord(step=step, epoch=1, loss=1, loss_min=1, loss_max=1, lr=0.1, images_per_second=1))
    for epoch in (1, 2):  # both of step 3: a checkpoint of an epoch's last step may be older than its evaluation
        values = {"test_loss": 1, "test_accuracy": 1, "train_loss": 1, "train_accuracy": 1, "seconds": 1}
        reporter.write(EvalRecord(step=3, epoch=epoch, **values))
    reporter.event("warning", "something")
    with reporter.run.metrics.open("ab") as file:
        file.write(b'{"kind": "train", "st')
    reporter.keep_until(3, evaluated_epoch=1)
    records = [parse_metric(text) for text in reporter.run.metrics.read_bytes().splitlines()]
    assert [record.kind for record in records if record] == ["train"] * 3 + ["eval", "event"]


# --- checkpoints


def state(step: int) -> dict[str, Any]:
    return {"weights": torch.full((4,), float(step)), "step": step}


def test_last_previous_and_best(runs_dir: Path) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    for step, best in ((1, True), (2, True), (3, False)):
        checkpoint.save(run, state(step))
        if best:
            checkpoint.mark_best(run)
    assert [checkpoint.read(run.checkpoint(name))["step"] for name in ("last", "previous", "best")] == [3, 2, 2]


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"PK\x03\x04 nothing", b"not a checkpoint"])
def test_a_damaged_last_falls_back_to_previous(runs_dir: Path, content: bytes) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    checkpoint.save(run, state(1))
    checkpoint.save(run, state(2))
    run.checkpoint("last").write_bytes(content)
    loaded, problems = checkpoint.load_newest(run)
    assert loaded is not None and loaded["step"] == 1
    assert len(problems) == 1 and "last.pt" in problems[0] and "damaged" in problems[0]
    run.checkpoint("previous").write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint of this run can be read"):
        checkpoint.load_newest(run)


def test_a_missing_last_falls_back_to_previous(runs_dir: Path) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    assert checkpoint.load_newest(run) == (None, [])
    checkpoint.save(run, state(1))
    checkpoint.save(run, state(2))
    run.checkpoint("last").unlink()
    loaded, problems = checkpoint.load_newest(run)
    assert loaded is not None and loaded["step"] == 1
    assert len(problems) == 1 and problems[0].endswith("last.pt: is missing")


def test_code_in_a_checkpoint_is_never_run(runs_dir: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    run = starting.create_run(runs_dir, tiny_config())
    torch.save({"format": 1, "evil": Evil()}, run.checkpoint("last"))
    with pytest.raises(checkpoint.CheckpointError):
        checkpoint.load_newest(run)
    assert not (tmp_path / "owned").exists()


def test_a_failed_write_leaves_the_older_checkpoints(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = starting.create_run(runs_dir, tiny_config())
    checkpoint.save(run, state(1))
    checkpoint.save(run, state(2))
    checkpoint.mark_best(run)

    def full(content: Any, file: Any) -> None:
        file.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="could not be written"):
        checkpoint.save(run, state(3))
    assert [checkpoint.read(run.checkpoint(name))["step"] for name in ("last", "previous", "best")] == [2, 1, 2]
    assert len(list(run.checkpoints.iterdir())) == 3


def test_the_writers_thread_waits_on_the_runs_gpu(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch would open the first one in a new thread, beside the run that has it."""
    current: list[Any] = [torch.device("cuda", 0)]
    waited: list[Any] = []

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.append(device)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", on)
    event = SimpleNamespace(device=torch.device("cuda", 1), synchronize=lambda: waited.append(current[-1]))
    writer = checkpoint.Writer(reporter_for(runs_dir).run)
    writer.save({"a": 1}, False, cast("torch.cuda.Event", event))
    writer.wait()
    assert waited == [torch.device("cuda", 1)] and writer.problem == ""


def test_to_host_is_a_copy() -> None:
    weights = torch.ones(3)
    kept = checkpoint.to_host({"a": [weights], "b": 1})
    weights.zero_()
    assert kept["a"][0].tolist() == [1, 1, 1] and kept["b"] == 1


def test_run_directory_has_no_other_checkpoint_name(runs_dir: Path) -> None:
    with pytest.raises(AssertionError):
        RunDirectory(runs_dir).checkpoint("../../etc")
