"""Compiled networks in evaluations, runs and bench, that no compiler can end a run, and Inductor itself."""

from __future__ import annotations

import os
import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fmnist_tui.data.batches import DeviceDataset
from fmnist_tui.data.source import Images
from fmnist_tui.report.bench import BenchRecord
from fmnist_tui.runs.result import Result
from fmnist_tui.training import compiling
from fmnist_tui.training.bench import __main__ as bench
from fmnist_tui.training.compiling import choose_evaluation, settle
from fmnist_tui.training.evaluate import EVAL_BATCH, evaluate
from fmnist_tui.training.optim import build_optimizer
from fmnist_tui.training.precision import choose
from fmnist_tui.training.step import TrainStep
from tests.events import messages
from tests.training.small_network import NOISY, Batches, Small, broken, make_step, wrong
from tests.training.tiny import Trainer, full_size_config

pytestmark = pytest.mark.usefixtures("backend")


def test_the_first_evaluation_finds_its_network_compiled(
    images: Images, seconds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial's tensors are what an evaluation's are: for others the compiler would begin anew."""
    monkeypatch.setitem(EVAL_BATCH, "cpu", 50)
    step = make_step()
    train_set = DeviceDataset(images.train_images[:16], images.train_labels[:16])
    test_set = DeviceDataset(images.test_images, images.test_labels)
    seconds(0.010, 0.005, 0.010, 0.005)
    settled = settle(step, train_set, test_set, epoch=1, epochs=10**6, steps_left=10**6)
    assert settled.evaluation is not None and settled.evaluation.mode == "default"
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    evaluate(step.model, step.eval_network, test_set, step.execution)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled


def test_evaluation_has_its_own_network(batches: Batches, seconds: Any, backend: Any) -> None:
    step = make_step()
    inputs = batches[0][0]
    assert choose_evaluation(step, inputs, 10**6).mode == "off", "training is not compiled"
    step.use("default")
    seconds(0.010, 0.005)
    choice = choose_evaluation(step, inputs, 10**6)
    assert choice.mode == "default" and step.eval_network is not step.model
    step.eval_network = step.model
    seconds(0.010)
    backend(wrong)
    assert choose_evaluation(step, inputs, 10**6).problems and step.eval_network is step.model


def test_a_compiled_run_equals_an_eager_one(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    """Noise included. The short last batch of each epoch runs as it is: one shape is compiled, once."""
    backend("aot_eager")
    monkeypatch.setattr(compiling, "choose_evaluation", lambda *arguments: pytest.fail("its batch is never full"))
    runs = []
    for mode in ("off", "default"):
        training = {"deterministic": False, "epochs": 2, "compile": mode, "cpu_kernels": "off"}
        run = trainer.create(full_size_config(model=NOISY, training=training))
        trainer.train(run)
        runs.append(run)
    eager, other = (trainer.weights(run) for run in runs)
    assert all(torch.allclose(eager[key].float(), other[key].float(), rtol=1e-4, atol=1e-5) for key in eager)
    result = Result.model_validate_json(runs[1].result.read_bytes())
    assert result.compile == "default" and "agree with eager ones" in result.choices["compile"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_run_whose_compiler_fails_goes_on_without(trainer: Trainer, backend: Any) -> None:
    backend(broken)
    run = trainer.create(full_size_config(training={"deterministic": False, "epochs": 1, "compile": "default"}))
    trainer.train(run)
    warnings = messages(run, "warning")
    assert len(warnings) == 1 and "no C++ compiler here" in warnings[0]
    assert Result.model_validate_json(run.result.read_bytes()).compile == "off"


@pytest.mark.parametrize(
    ("seconds_asked", "mode", "words"),
    [(bench.TRIAL_SECONDS, "default", "saves about"), (bench.TRIAL_SECONDS - 1, "off", "--thorough")],
)
def test_bench_makes_the_trial_of_a_run(
    images: Images, seconds: Any, seconds_asked: float, mode: str, words: str
) -> None:
    """Where there is time for it; its record says how the network ran, and why."""
    config = full_size_config(training={"deterministic": False})
    job = bench.Job(config, "cpu", None, None, seconds_asked, 0, [])
    rig = bench._rig(job, replace(choose(config.training, torch.device("cpu")), try_compile=True), images)
    seconds(100.0, 40.0)
    spent = bench._compilation(rig, job)
    assert (spent is None) == (mode == "off") and spent != 0.0
    assert (rig.step.compile, rig.execution.compile) == (mode, mode)
    assert words in rig.execution.reasons["compile"]


def test_bench_compiles_as_told_and_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.MATRIX_SIDE", {"cpu": 256})
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.CONV_IMAGES", {"cpu": 1})
    config = full_size_config(training={"deterministic": False, "compile": "default", "batch_size": 16})
    *phases, last = bench.measure(bench.Job(config, "cpu", None, None, 0.0, 0, []))
    assert {"phase": "compiling"} in phases
    record = BenchRecord.model_validate(last["record"])
    assert record.compile == record.choices["compile"] == "default"
    assert record.compile_seconds and record.startup_seconds > 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "one for training, one for evaluation"


def test_another_batch_than_the_runs_is_not_compiled(images: Images) -> None:
    config = full_size_config(training={"deterministic": False, "compile": "default"})
    job = bench.Job(config, "cpu", None, None, 0.0, 0, [], batch=8)
    rig = bench._rig(job, choose(config.training, torch.device("cpu")), images)
    assert bench._compilation(rig, job) is None
    rig.take_step()
    assert rig.step.compile == rig.execution.compile == "off"
    assert "compiling is for batches of 32" in rig.execution.reasons["compile"]


def why_no_inductor() -> str:
    """What Inductor lacks on this machine to build its kernels, '' where it has all."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"no C++ compiler ({compiler}): Inductor can't build its kernels"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return "" if header.is_file() else f"{header} is missing: Inductor can't build its kernels"


@pytest.mark.skipif(bool(why_no_inductor()), reason=why_no_inductor())
@pytest.mark.skipif(
    torch.__version__.startswith("2.11."),
    reason="torch 2.11's Inductor computes other gradients on a CPU with bf16; a run that sets it refuses it",
)
def test_inductor_trains_as_eager_does(
    images: Images, backend: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The compiler that users have: losses, weights, momentum and batch norm's statistics of 4 steps, the last short.

    The C++ compiler is at work most of the time: for four kernels, not also for programs that try what /proc/cpuinfo
    tells of the CPU, nor for a header that would make many kernels cheaper and is kept outside the test's directory.
    """
    backend("inductor")
    monkeypatch.setattr(torch._inductor.config.cpp, "vec_isa_ok", True)
    monkeypatch.setattr(torch._inductor.config, "cpp_cache_precompile_headers", False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    config = full_size_config(training={"deterministic": False, "batch_size": 16})
    pixels = torch.from_numpy(images.train_images[:56].copy())
    labels = torch.from_numpy(images.train_labels[:56].copy()).long()
    found = []
    for mode in ("off", "default"):
        torch.manual_seed(0)
        model = Small()
        optimizer = build_optimizer(model, config.optimizer)
        step = TrainStep(model, optimizer, config, replace(choose(config.training, torch.device("cpu")), compile=mode))
        losses = [
            step(pixels[at : at + 16], labels[at : at + 16], 0.1, 1, nth)[0] for nth, at in enumerate(range(0, 56, 16))
        ]
        momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
        found.append([torch.stack(losses), *model.parameters(), *momentum, *model.buffers()])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-4)
    assert list((tmp_path / "kernels").rglob("*.cpp")), "no kernel was written: this was not Inductor"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
