"""How much faster several processes train than one: `fmnist-tui bench --gpus 1,2`.

Each number of ranks is started as a run starts them, through torch's elastic agent, and takes the same steps with the
same whole batch; before each of them the one process without a team takes them too.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import elastic_launch

from fmnist_tui.report.bench import Scaling, ScalingPoint, StepSeconds
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.training import launcher
from fmnist_tui.training.bench.rank import Task, TeamSteps
from fmnist_tui.training.rig import Rig, typical

MIN_STEPS, MAX_STEPS = 6, 1000


def measure_scaling(
    rig: Rig, counts: Sequence[int], source: str | None, data_dir: Path | None, seconds: float
) -> Generator[dict[str, Any], None, Scaling]:
    """Take the rig's steps with each number of ranks, for about `seconds` in all; their starts come on top.

    Yields phases. Raises RuntimeError with the cause where a rank fails.
    """
    points = list[ScalingPoint]()
    each = seconds / len(counts) / 2
    steps = max(MIN_STEPS, min(MAX_STEPS, int(each / rig.run_steps(1))))
    training = rig.config.training.model_copy(update={"batch_size": rig.batch_size})
    config = rig.config.model_copy(update={"training": training})
    for count in counts:
        yield {"phase": f"alone, before {count}"}
        rig.run_steps(1)
        alone = rig.time_steps(steps)
        yield {"phase": f"{count} at once"}
        task = Task(config=config, steps=steps, source=source, data_dir=data_dir)
        found = _steps_of_team(task, _devices(rig.device, count))
        points.append(
            ScalingPoint(
                ranks=count,
                threads=found.threads,
                step_seconds=StepSeconds(**typical(found.seconds)._asdict(), steps=steps),
                alone=StepSeconds(**typical(alone)._asdict(), steps=steps),
            )
        )
    return Scaling(batch_size=rig.batch_size, points=points)


def _devices(device: torch.device, count: int) -> list[str]:
    """One for each rank: the rig's own where there is one rank, else the first GPUs, or the CPU that many times."""
    if device.type == "cpu":
        return ["cpu"] * count
    return [str(device)] if count == 1 else [f"cuda:{number}" for number in range(count)]


def _steps_of_team(task: Task, devices: Sequence[str]) -> TeamSteps:
    """Start a rank on each device, and read what rank 0 measured."""
    with tempfile.TemporaryDirectory(prefix="fmnist-tui-", ignore_cleanup_errors=True) as scratch:
        asked, answer = Path(scratch, "task.json"), Path(scratch, "answer.json")
        asked.write_text(task.to_json())
        launch = LaunchRequest(gpus=len(devices))
        with _environment(launcher.environment(launch, devices, scratch)):
            agent = launcher.agent("bench", launch, len(devices), scratch, quiet=True)
            try:
                elastic_launch(agent, sys.executable)("-m", "fmnist_tui.training.bench.rank", str(asked), str(answer))
            except ChildFailedError as error:
                raise RuntimeError(f"{len(devices)} at once: {launcher.cause(error.failures)}") from None
        return TeamSteps.model_validate_json(answer.read_bytes())


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """For the ranks, which inherit it: another number of them has another one."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
