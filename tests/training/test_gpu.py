"""What only a CUDA device can show; runs where there is one (`pytest -m gpu`)."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fmnist_tui.data import source
from fmnist_tui.data.augment import epoch_flips
from fmnist_tui.data.batches import DeviceDataset, batch_indices, epoch_permutation, train_batch
from fmnist_tui.data.source import Images
from fmnist_tui.fields import with_changes
from fmnist_tui.models import begin_epoch, build_model, initialise_from
from fmnist_tui.presets import load_preset
from fmnist_tui.report.bench import BenchRecord
from fmnist_tui.runs import process, starting, store
from fmnist_tui.runs.status import State
from fmnist_tui.training import checkpoint
from fmnist_tui.training.bench import __main__ as bench
from fmnist_tui.training.compiling import choose_training
from fmnist_tui.training.graphs import Recorder
from fmnist_tui.training.losses import LossLog
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import apply_global_settings, choose
from fmnist_tui.training.progress import Progress
from fmnist_tui.training.rig import STEPS_AT_ONCE, Rig
from fmnist_tui.training.schedule import mixes, train_resolution
from fmnist_tui.training.step import TrainStep
from tests.events import messages
from tests.training.tiny import full_size_config

pytestmark = pytest.mark.gpu

SMALL = {"model.depth": 22, "training.batch_size": 32}
"""A densenet that is compiled in a fraction of the time."""


@pytest.mark.parametrize("name", ["wrn", "densenet", "dpn", "shake-shake-96", "shake-shake-64", "turbo-long"])
def test_no_step_waits_for_the_device(images: Images, name: str) -> None:
    """After warm-up and recording, five steps with their losses on the way raise at the first synchronising call."""
    config = load_preset(name)
    device = torch.device("cuda", 0)
    execution = choose(config.training, device)
    dataset = DeviceDataset(images.train_images, images.train_labels, device)
    model = build_model(config.model).to(device).to(memory_format=execution.memory_format)
    step = TrainStep(model, build_optimizer(model, config.optimizer), config, execution)
    losses, progress = LossLog(device, steps_per_epoch=10), Progress(epochs=1, steps_per_epoch=10)
    progress.start_epoch(device)
    for index in range(10):
        if index == 5:
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        try:
            permutation = epoch_permutation(len(dataset), config.seed, 1, device)
            batch, labels = train_batch(dataset, permutation, index % 4, 32)
            loss, correct = step(batch, labels, 0.01, 1, index)
            progress.count(loss, correct, len(labels))
            losses.add(loss, len(labels), index + 1, 1, index + 1, 0.01)
            losses.collect()
        finally:
            if index == 9:
                torch.cuda.set_sync_debug_mode("default")
    assert all(record.loss == record.loss for record in losses.collect(wait=True))
    assert step.graphs is not None and step.graphs.problem is None


@pytest.mark.parametrize("name", ["densenet", "shake-shake-64", "turbo", "turbo-long"])
def test_replayed_steps_are_the_eager_ones(name: str) -> None:
    """Twelve steps in fp32, recorded and not: the same noise, augmentation, rates and updates, so the same losses.

    turbo's are of two kinds: its images grow, and the whitening's bias is frozen. turbo-long's have CutMix first.
    """
    size = 64
    settings = {"training.batch_size": size, "training.precision": "fp32", "training.tf32": "off"}
    settings |= {"training.cudnn_benchmark": "off", "training.epochs": 2, "augment.cutmix_share": 0.5}
    if name == "densenet":
        settings["model.depth"] = 22
    device = torch.device("cuda", 0)
    sample = source.load_sample()
    dataset = DeviceDataset(sample.train_images, sample.train_labels, device)
    found = []
    for graphs in ("off", "on"):
        config = with_changes(load_preset(name), settings | {"training.cuda_graphs": graphs})
        execution = choose(config.training, device)
        apply_global_settings(execution, deterministic=False)
        torch.manual_seed(1)
        model = build_model(config.model).to(device).to(memory_format=execution.memory_format)
        initialise_from(model, dataset.images)
        step = TrainStep(model, build_optimizer(model, config.optimizer, execution.dtype), config, execution)
        losses = []
        for epoch in (1, 2):
            begin_epoch(model, epoch, 2)
            step.mixing = mixes(epoch, config)
            permutation = epoch_permutation(len(dataset), config.seed, epoch, device)
            flips = epoch_flips(config.augment, len(dataset), config.seed, epoch, device)
            for index in range(6):
                pixels, labels = train_batch(dataset, permutation, index, size)
                flip = None if flips is None else flips.index_select(0, batch_indices(permutation, index, size))
                lr = 0.01 * (1 + index) if name != "shake-shake-64" else 1e-4  # its noise multiplies what rounding does
                losses.append(step(pixels, labels, lr, epoch, index, flip, train_resolution(epoch, config))[0])
        assert (step.graphs is not None) == (graphs == "on")
        assert step.graphs is None or step.graphs.problem is None
        found.append(torch.stack(losses))
    assert len({float(loss) for loss in found[1]}) == 12
    assert torch.allclose(found[1], found[0], rtol=1e-2), found
    assert torch.allclose(found[1][:5], found[0][:5], rtol=1e-3), found


def test_steps_go_on_after_a_recording_that_broke_off() -> None:
    """What reads from the device can't be recorded: the stream and the random numbers are then as they were."""
    device = torch.device("cuda", 0)
    own = torch.Generator(device)
    recorder = Recorder(device)
    usual = torch.cuda.current_stream(device)

    def draw() -> list[list[float]]:
        return [torch.rand(3, device=device, generator=generator).tolist() for generator in (None, own)]

    torch.manual_seed(3)
    own.manual_seed(4)
    expected = draw()
    torch.manual_seed(3)
    own.manual_seed(4)
    with pytest.raises(Exception, match=r"captur"):
        recorder.record(lambda: torch.rand(1, device=device, generator=own).item(), (own,))
    assert torch.cuda.current_stream(device) == usual
    assert draw() == expected
    with recorder.aside():
        pass
    value = torch.zeros((), device=device)
    replay, result = recorder.record(lambda: value + 1, (own,))
    value.fill_(2)
    replay()
    assert result.item() == 3.0, "and others can be recorded"


def test_compiled_steps_are_eager_ones_and_wait_for_nothing(images: Images) -> None:
    """Checked against eager steps, then recorded and trained with: finite losses, no synchronising call."""
    mode = "default"
    config = with_changes(load_preset("densenet"), SMALL | {"training.compile": mode})
    device = torch.device("cuda", 0)
    execution = choose(config.training, device)
    dataset = DeviceDataset(images.train_images, images.train_labels, device)
    model = build_model(config.model).to(device).to(memory_format=execution.memory_format)
    step = TrainStep(model, build_optimizer(model, config.optimizer), config, execution)
    permutation = epoch_permutation(len(dataset), config.seed, 1, device)
    batches = []
    for index in range(2):
        pixels, labels = train_batch(dataset, permutation, index, 32)
        batches.append((step.inputs(pixels, 1, index), labels))
    choice = choose_training(step, batches, steps_left=100)
    assert choice.mode == mode and not choice.problems, choice
    losses = []
    for index in range(12):
        if index == 6:
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
        try:
            pixels, labels = train_batch(dataset, permutation, index % 5, 32)  # the fifth batch has 22 images
            losses.append(step(pixels, labels, 0.01, 1, index)[0])
        finally:
            if index == 11:
                torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.stack(losses).isfinite().all()) and len({float(loss) for loss in losses}) == 12
    assert step.graphs is not None and step.graphs.problem is None


def test_auto_tries_what_is_faster_and_leaves_no_trace(images: Images) -> None:
    config = with_changes(load_preset("densenet"), SMALL)
    device = torch.device("cuda", 0)
    execution = choose(config.training, device)
    assert execution.try_compile
    dataset = DeviceDataset(images.train_images, images.train_labels, device)
    model = build_model(config.model).to(device).to(memory_format=execution.memory_format)
    step = TrainStep(model, build_optimizer(model, config.optimizer), config, execution)
    pixels, labels = train_batch(dataset, epoch_permutation(len(dataset), 1, 1, device), 0, 32)
    batch = step.inputs(pixels, 1, 0), labels
    before = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.cuda.get_rng_state(device)
    choice = choose_training(step, [batch], steps_left=10**6)
    print(choice)  # the figures of this device, with -s
    assert not choice.problems and "eager" in choice.reason and step.compile == choice.mode
    assert torch.equal(torch.cuda.get_rng_state(device), random)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_checkpoint_holds_the_weights_of_its_moment() -> None:
    """The copy is only on its way when the next step changes the weights."""
    weights = torch.zeros(64 << 20, device="cuda")
    kept = checkpoint.to_host({"a": [weights]})
    arrived = checkpoint.arrival(weights.device)
    weights.fill_(1.0)
    assert arrived is not None
    arrived.synchronize()
    assert kept["a"][0].is_pinned() and not kept["a"][0].any()


def test_a_worker_trains_on_the_gpu_and_resumes(runs_dir: Path) -> None:
    config = full_size_config(training={"epochs": 2, "batch_size": 256, "deterministic": False, "precision": "auto"})
    run = starting.create_run(runs_dir, config, device="cuda:0")
    assert process.start_worker(run).wait(timeout=300) == 0, run.worker_log.read_text()
    loaded = store.load_run(run)
    assert loaded.state is State.FINISHED and loaded.result is not None
    assert loaded.result.device == "cuda:0" and loaded.result.peak_memory_bytes
    starting.prepare_resume(loaded, device="cuda:0", epochs=3)
    assert process.start_worker(run).wait(timeout=300) == 0, run.worker_log.read_text()


def test_a_recorded_run_whose_images_grow(runs_dir: Path) -> None:
    """turbo from CUDA graphs: two sizes of images, a bias frozen on the way, Muon, and evaluations between."""
    changes = {
        "data.source": "sample",
        "training.batch_size": 250,
        "training.epochs": 4,
        "training.eval_every": 1,
    }
    run = starting.create_run(runs_dir, with_changes(load_preset("turbo"), changes), device="cuda:0")
    assert process.start_worker(run).wait(timeout=400) == 0, run.worker_log.read_text()
    result = store.load_run(run).result
    print(run.worker_log.read_text())
    assert result is not None and result.choices["cuda_graphs"].startswith("on") and result.test_accuracy > 60.0
    assert not messages(run, "warning")


def deterministic_steps(device_name: str) -> None:
    """Two steps and an evaluation of every preset, twice: torch raises where it has no deterministic way."""
    device = torch.device(device_name)
    sample = source.load_sample()
    few = replace(sample, train_images=sample.train_images[:64], train_labels=sample.train_labels[:64])
    for name in ("wrn", "densenet", "dpn", "shake-shake-64", "turbo-long"):
        changes = {"data.source": "sample", "training.deterministic": True, "training.batch_size": 8}
        config = with_changes(load_preset(name), changes)
        found = []
        for _ in range(2):
            rig = Rig(config, choose(config.training, device), few, eval_images=8)
            rig.run_steps(2)
            rig.evaluate(8)
            found.append([value.clone() for value in rig.model.state_dict().values()])
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True)), name


def test_deterministic_training_needs_no_operation_that_has_none() -> None:
    """In a process of its own: cuBLAS reads its setting once."""
    command = "from tests.training.test_gpu import deterministic_steps as steps; steps('cuda:0')"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", command], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_out_of_memory_finds_a_micro_batch_that_fits(images: Images) -> None:
    """A memory limit far below what the batch needs: `auto` splits it and trains on."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 3e9 / total))
    try:
        config = load_preset("wrn")
        config = config.model_copy(
            update={"training": config.training.model_copy(update={"micro_batch": "auto", "batch_size": 2048})}
        )
        device = torch.device("cuda", 0)
        execution = choose(config.training, device)
        model = build_model(config.model).to(device).to(memory_format=execution.memory_format)
        step = TrainStep(model, build_optimizer(model, config.optimizer), config, execution)
        pixels = torch.randint(0, 256, (2048, 28, 28), dtype=torch.uint8, device=device)
        labels = torch.randint(0, 10, (2048,), device=device)
        loss, _ = step(pixels, labels, 0.01, 1, 0)
        assert step.micro_batch < 2048 and bool(loss.isfinite())
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_bench_on_the_gpu_times_with_events_and_reports_the_tensors_memory() -> None:
    config = full_size_config(training={"epochs": 2, "batch_size": 256, "deterministic": False, "precision": "auto"})
    job = bench.Job(config, "cuda:0", None, None, 30.0, 3, [])
    torch.cuda.reset_peak_memory_stats()
    *_, last = bench.measure(job)
    record = BenchRecord.model_validate(last["record"])
    assert record.device == "cuda:0" and record.threads is None and record.batch_size == 256
    assert record.step_seconds.steps % STEPS_AT_ONCE["cuda"] == 0
    assert record.step_seconds.low <= record.step_seconds.median <= record.step_seconds.high
    assert record.peak_memory_bytes and record.peak_memory_bytes < torch.cuda.get_device_properties(0).total_memory
    assert 0 < record.ceiling_share < 1
    assert record.comparison is not None and record.comparison.ratio.median > 0


def test_event_times_add_up_to_the_clock(images: Images) -> None:
    """Steps handed over without waiting, each timed by its event: together what the host sees, or a little less."""
    config = full_size_config(training={"batch_size": 32, "deterministic": False, "precision": "auto"})
    rig = Rig(config, choose(config.training, torch.device("cuda", 0)), images)
    rig.warm_up()
    started = time.perf_counter()
    times = rig.time_steps(20)
    clock = time.perf_counter() - started
    assert len(times) == 20 and 0.5 * clock < sum(times) <= 1.01 * clock
