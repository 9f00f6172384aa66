"""The process that measures one configuration for `fmnist-tui bench`.

Reads a RunConfig as JSON on stdin and prints JSON lines on stdout: the phases as they begin, and last a
`record`, a BenchRecord. One configuration a process: then its peak memory and its start are its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from fmnist_tui.config import IMAGE_SIZE, RunConfig
from fmnist_tui.report.bench import BenchRecord, Comparison, LowResolution, StepSeconds
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.records import utc_now
from fmnist_tui.training.child import answer
from fmnist_tui.training.schedule import low_resolution_epochs

if TYPE_CHECKING:
    from fmnist_tui.data.source import Images
    from fmnist_tui.training.precision import Execution
    from fmnist_tui.training.rig import Rig

TRAIN_SHARE, LOW_SHARE, EVAL_SHARE, CEILING_SHARE, COMPARE_SHARE = 0.4, 0.15, 0.15, 0.1, 0.6
"""Of the time that is left when each of them begins, so that one that overran shortens the others; comparing
begins last and leaves some for what can't be foreseen."""
SCALING_SHARE = 0.5
COMPARED_TRAIN_SHARE = 0.2
"""Of training by itself where the comparison follows, which trains too."""
ROUND_SHARE = 0.2
"""For five steps of ours, over the number of rounds: a round has three of ours and three of the plain loop, which
take two to four times as long."""
TRIAL_IMAGES = 8
"""In the step that tells how long the others would take."""
TRIAL_SECONDS = 120.0
"""Of a measurement that makes the trial of compiling which a run makes: the trial takes about as long, and besides."""
SMALLEST_BATCH = 4
MIN_STEPS = 4
MAX_STEPS = 1000
EVAL_FASTER = 2.5
"""How much faster than training evaluation is taken to be until it is measured: a forward pass is a third of it."""


@dataclass(frozen=True)
class Job:
    """What is to be measured and for how long."""

    config: RunConfig
    device: str
    data_dir: Path | None
    source: str | None
    """The images to measure with where they are not the configuration's own: 'full' or 'sample'."""
    seconds: float
    """For everything, from the start of the process."""
    rounds: int
    """Of the comparison with the plain loop; 0 for none."""
    command: list[str]
    """As typed by the user."""
    batch: int | None = None
    """Images in a step, however long it takes; None for what fits into the time, the configuration's at most."""
    counts: tuple[int, ...] = ()
    """Of ranks to train with together."""
    began: float = field(default_factory=lambda: psutil.Process().create_time())

    @property
    def elapsed(self) -> float:
        """Seconds since the process was created."""
        return time.time() - self.began

    def share(self, part: float) -> float:
        """Seconds that are `part` of what is left."""
        return max(0.0, self.seconds - self.elapsed) * part


def fitting_batch(batch_size: int, seconds_per_image: float, seconds: float, smallest: int = SMALLEST_BATCH) -> int:
    """The largest halving of `batch_size`, not under `smallest`, of which MIN_STEPS steps and one more fit."""
    while batch_size // 2 >= smallest and batch_size * seconds_per_image * (MIN_STEPS + 1) > seconds:
        batch_size //= 2
    return batch_size


def measure(job: Job) -> Iterator[dict[str, Any]]:
    """Yield the phases and at the end the record.

    Raises ConfigError for a device that is not there, DataError where the images can't be had, OutOfMemory.
    """
    yield {"phase": "loading torch"}
    from fmnist_tui.data import source
    from fmnist_tui.training.bench.ceiling import measure_ceiling
    from fmnist_tui.training.precision import choose, resolve_device
    from fmnist_tui.training.result import peak_memory_bytes

    config, load = job.config, os.getloadavg()[0]
    execution = choose(config.training, resolve_device(job.device))
    yield {"phase": "loading data"}
    wanted = config.data.model_copy(update={"source": job.source or config.data.source})
    images = source.load(wanted, job.data_dir)
    rig = _rig(job, execution, images)
    if execution.try_compile or execution.compile != "off":
        yield {"phase": "compiling"}
    compile_seconds = _compilation(rig, job)
    job = replace(job, seconds=job.seconds + (compile_seconds or 0.0))
    yield {"phase": "first steps"}
    values = {"compile_seconds": compile_seconds} | _first_steps(rig, job)
    values["startup_seconds"] -= compile_seconds or 0.0
    yield {"phase": "training"}
    values |= _training(rig, job.share(COMPARED_TRAIN_SHARE if job.rounds else TRAIN_SHARE))
    if low_resolution_epochs(config) and rig.size == IMAGE_SIZE:
        yield {"phase": "training at low resolution"}
        values["low_resolution"] = _low_resolution(rig, job.share(LOW_SHARE))
    yield {"phase": "evaluating"}
    values |= _evaluation(rig, job.share(EVAL_SHARE), values["images_per_second"])
    values["peak_memory_bytes"] = peak_memory_bytes(execution.device)
    yield {"phase": "measuring the ceiling"}
    ceiling = measure_ceiling(execution, min(5.0, job.share(CEILING_SHARE)))
    values |= {"convolution_flops": ceiling.convolution, "matrix_product_flops": ceiling.matrix_product}
    if job.rounds:
        values["comparison"] = yield from _comparison(rig, job)
    if job.counts:
        from fmnist_tui.training.bench.scaling import measure_scaling

        seconds = job.share(SCALING_SHARE)
        values["scaling"] = yield from measure_scaling(rig, job.counts, job.source, job.data_dir, seconds)
    record = BenchRecord(**_circumstances(job, rig.execution, images, load), **values, seconds=job.elapsed)
    yield {"record": record.model_dump(mode="json")}


def _rig(job: Job, execution: Execution, images: Images) -> Rig:
    """What is measured: the last epoch's steps, since full size comes last where the resolution changes."""
    from fmnist_tui.training.rig import Rig

    rig = Rig(job.config, execution, images)
    rig.begin(job.config.training.epochs)
    if job.batch is not None:
        rig.batch_size = min(job.batch, len(rig.train_set))
    return rig


def _compilation(rig: Rig, job: Job) -> float | None:
    """Compile as a run would, where there is time for its trial; the seconds it took, None where nothing was tried."""
    if rig.execution.try_compile and job.seconds < TRIAL_SECONDS:
        rig.execution = rig.execution.with_compile("off", "a run tries to compile; so does bench with --thorough")
        return None
    began = time.perf_counter()
    return time.perf_counter() - began if rig.settle_compilation() else None


def _first_steps(rig: Rig, job: Job) -> dict[str, Any]:
    """Start-up, and the batch to measure with: on a device that computes for itself, one that fits into the time."""
    wanted = rig.batch_size
    trial = rig.device.type == "cpu" and rig.execution.compile == "off" and job.batch is None
    if trial:
        rig.batch_size = min(wanted, TRIAL_IMAGES)
    rig.run_steps(1)
    startup = job.elapsed
    if trial:
        each = rig.run_steps(1) / rig.batch_size
        share = TRAIN_SHARE if not job.rounds else ROUND_SHARE / job.rounds
        rig.batch_size = fitting_batch(wanted, each, job.share(share))
    if not trial or rig.batch_size != min(wanted, TRIAL_IMAGES):
        rig.warm_up()
    return {"startup_seconds": startup}


def _training(rig: Rig, seconds: float) -> dict[str, Any]:
    """Steps for about this long, four at least."""
    from fmnist_tui.training.rig import STEPS_AT_ONCE, typical

    until, times = time.perf_counter() + seconds, list[float]()
    while len(times) < MIN_STEPS or (time.perf_counter() < until and len(times) < MAX_STEPS):
        times += rig.time_steps(STEPS_AT_ONCE.get(rig.device.type, 1))
    found = typical(times)
    return {
        "batch_size": rig.batch_size,
        "micro_batch": rig.step.micro_batch if rig.step.micro_batch < rig.batch_size else None,
        "step_seconds": StepSeconds(**found._asdict(), steps=len(times)),
        "images_per_second": rig.batch_size / found.median,
    }


def _low_resolution(rig: Rig, seconds: float) -> LowResolution:
    """The same for the first part of the run, at its smaller images."""
    rig.begin(1)
    rig.warm_up()
    found = _training(rig, seconds)
    size = rig.size
    rig.begin(rig.config.training.epochs)
    epochs = low_resolution_epochs(rig.config)
    return LowResolution(size=size, epochs=epochs, images_per_second=found["images_per_second"])


def _evaluation(rig: Rig, seconds: float, images_per_second: float) -> dict[str, Any]:
    """As many test images as fit into this time, twice: the first pass allocates, and compiles."""
    count = len(rig.test_set)
    if rig.device.type == "cpu":
        count = min(count, max(TRIAL_IMAGES, int(seconds * images_per_second * EVAL_FASTER)))
        count = count // 250 * 250 or count  # whole batches, as almost all of a run's are
        rig.evaluate(min(count, 32))
    else:
        rig.evaluate(count)
    return {"eval_images": count, "eval_images_per_second": count / rig.evaluate(count)}


def _comparison(rig: Rig, job: Job) -> Generator[dict[str, Any], None, Comparison]:
    """Our trainer against the plain loop, from the start of the latter's process."""
    import torch

    from fmnist_tui.training.bench.plain_process import Task
    from fmnist_tui.training.bench.versus import PlainProcess, compare

    yield {"phase": "setting up the plain loop"}
    task = Task(
        config=job.config,
        device=str(rig.device),
        threads=torch.get_num_threads(),
        batch_size=rig.batch_size,
        epoch=job.config.training.epochs,
        source=job.source,
        data_dir=job.data_dir,
    )
    with PlainProcess(task) as plain:
        return (yield from compare(rig, plain, job.share(COMPARE_SHARE), job.rounds))


def _circumstances(job: Job, execution: Execution, images: Images, load: float) -> dict[str, Any]:
    """What was measured, where and with what."""
    import torch

    from fmnist_tui.models.count import parameter_count
    from fmnist_tui.training.bench.flops import flops_per_image
    from fmnist_tui.training.provenance import provenance
    from fmnist_tui.training.result import device_name

    config, epochs = job.config, job.config.training.epochs
    train_images, test_images = config.data.sizes
    flops = flops_per_image(config.model, epoch=epochs, epochs=epochs)
    return {
        "preset": config.preset or config.name,
        "config": config,
        "parameters": parameter_count(config.model),
        "device": str(execution.device),
        "device_name": device_name(execution.device),
        "threads": torch.get_num_threads() if execution.device.type == "cpu" else None,
        "precision": execution.precision,
        "memory_format": execution.layout,
        "compile": execution.compile,
        "choices": execution.choices,
        "measured_with": images.source,
        "train_images": train_images,
        "test_images": test_images,
        "forward_flops": flops.forward,
        "training_flops": flops.training,
        "load_average": load,
        "measured": utc_now(),
        "provenance": provenance(LaunchRequest(command=job.command), images),
    }


def main() -> int:
    """Measure the configuration on stdin; returns an `ExitCode`."""
    parser = argparse.ArgumentParser(prog="python -m fmnist_tui.training.bench", description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--source", choices=["full", "sample"])
    parser.add_argument("--seconds", type=float, default=60.0, help="for everything, from the start of the process")
    parser.add_argument("--rounds", type=int, default=0, help="of the comparison with the plain loop; 0 for none")
    parser.add_argument("--ranks", type=int, nargs="*", default=[], help="numbers of processes to train with together")
    parser.add_argument("--batch", type=int, help="images in a step, however long it takes; else what fits")
    parser.add_argument("--command", nargs=argparse.REMAINDER, default=[], help="what the user typed")
    given = parser.parse_args()

    def run(config: RunConfig) -> Iterator[dict[str, Any]]:
        return measure(
            Job(
                config,
                given.device,
                given.data_dir,
                given.source,
                given.seconds,
                given.rounds,
                given.command,
                given.batch,
                tuple(given.ranks),
            )
        )

    return answer(run)


if __name__ == "__main__":
    sys.exit(main())
