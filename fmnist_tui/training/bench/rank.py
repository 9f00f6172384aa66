"""One of several processes that `bench --gpus` times: `python -m fmnist_tui.training.bench.rank TASK ANSWER`.

Started by torch's elastic agent, as the ranks of a run are. Rank 0 writes the answer.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.training.ranks import Rank, die_with_launcher, record_failure


class Task(Record):
    """What all ranks do."""

    config: RunConfig
    """Its batch is the whole one, of all ranks."""
    steps: int
    source: str | None
    """The images to measure with where they are not the configuration's own."""
    data_dir: Path | None


class TeamSteps(Record):
    """What rank 0 saw: a step ends on every rank at the same time, because all wait for the gradients."""

    seconds: list[float]
    """Of each step."""
    threads: int | None
    """Of each rank, on a CPU."""


def measure(task: Task, rank: Rank) -> TeamSteps:
    """Take the steps, at full resolution, after some that do not count."""
    import torch

    from fmnist_tui.data import source
    from fmnist_tui.training.distributed import Team, execution_of_rank
    from fmnist_tui.training.precision import choose, resolve_device
    from fmnist_tui.training.rig import Rig

    config = task.config
    execution = execution_of_rank(choose(config.training, resolve_device(rank.devices[rank.local_rank])))
    images = source.load(config.data.model_copy(update={"source": task.source or config.data.source}), task.data_dir)
    team = Team(rank, execution.device)
    with team.until_the_end():
        rig = Rig(config, execution, images, eval_images=1, team=team)
        rig.begin(config.training.epochs)
        rig.warm_up()
        team.wait()
        seconds = rig.time_steps(task.steps)
    return TeamSteps(seconds=seconds, threads=torch.get_num_threads() if execution.device.type == "cpu" else None)


def main() -> int:
    """Do the task; what goes wrong is left for the agent."""
    rank = Rank.from_environment()
    assert rank is not None, "the elastic agent starts this"
    die_with_launcher()
    try:
        found = measure(Task.model_validate_json(Path(sys.argv[1]).read_bytes()), rank)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        record_failure((str(error).splitlines() or [type(error).__name__])[0])
        os._exit(ExitCode.FAILED)  # torch's threads that wait for other ranks would abort the interpreter's end
    if rank.rank == 0:
        Path(sys.argv[2]).write_text(found.to_json())
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
