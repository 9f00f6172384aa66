"""What the New run screen wants to know of this machine and can't wait for: pictures, GPUs, the data set, Slurm,
and who is on its devices.

Called in thread workers; no Textual.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.config import CLASSES
from fmnist_tui.data import source
from fmnist_tui.data.files import GET_DATA
from fmnist_tui.monitor import Gpu, list_gpus
from fmnist_tui.runs import queue
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.store import Run, load_run
from fmnist_tui.tui.remedies import FORM

PICTURES_PER_CLASS = 12
"""Pictures of each class kept for the augmentation preview."""


@dataclass(frozen=True)
class Surroundings:
    """What was found."""

    pictures: Mapping[int, NDArray[np.uint8]]
    """(N, 28, 28) uint8 by class number, from the shipped sample; empty where it can't be read."""
    pictures_problem: str
    gpus: Sequence[Gpu]
    data_problem: str
    """Why the full data set is not at hand, and what helps; '' where its four files are."""
    slurm: bool = False
    """Whether jobs are submitted to Slurm from this machine."""


def look_around(data_dir: Path | None) -> Surroundings:
    """Read the sample, ask the driver for GPUs, look for the data set; a fraction of a second."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    pictures_problem = data_problem = ""
    try:
        sample = source.load_sample()
        for label in range(len(CLASSES)):
            of_class = sample.train_images[sample.train_labels == label]
            pictures[label] = of_class[:PICTURES_PER_CLASS].copy()
    except source.DataError as error:
        pictures_problem = error.problem
    try:
        source.find(data_dir)
    except source.DataError as error:
        data_problem = f"{error.problem} {GET_DATA.worded(FORM)}"
    return Surroundings(pictures, pictures_problem, list_gpus().gpus, data_problem, has_slurm())


def has_slurm() -> bool:
    """Whether Slurm's program that submits jobs is here; whether it can, it says itself."""
    return shutil.which("sbatch") is not None


def at_work_elsewhere(runs_dir: Path) -> list[Run]:
    """Runs of other runs directories that have a device of this machine: a new run waits for them as for one of here.

    None are known where the device queue can't be read; the run's start then says so.
    """
    try:
        devices = queue.snapshot()
    except RunError:
        return []
    places = {entry.directory for device in devices for entry in device.on}
    here = runs_dir.resolve()
    return [load_run(RunDirectory(place)) for place in sorted(places) if place.parent.resolve() != here]
