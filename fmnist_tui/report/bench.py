"""What `fmnist-tui bench` measured: the record of a preset, one JSON line each.

Written by `training.bench`, shown and read back by the command line, turned into tables by `bench_tables`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, computed_field

from fmnist_tui.config import RunConfig
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.result import Provenance

SCHEMA_VERSION = 1
SUFFIX = ".jsonl"


class BenchFileError(ValueError):
    """A file of bench records that can't be read; the text names the file and the line."""


class StepSeconds(Record):
    """How long a training step took, in seconds."""

    median: float
    low: float
    """Tenth percentile; the lowest of under ten steps."""
    high: float
    """Ninetieth percentile; the highest of under ten steps."""
    steps: int


class LowResolution(Record):
    """The first part of a run that begins with smaller images."""

    size: int
    """Side, pixels."""
    epochs: int
    images_per_second: float


class Round(Record):
    """Images/s of our trainer and of the plain loop, measured one after the other."""

    ours: float
    plain: float

    @property
    def ratio(self) -> float:
        """How many times as fast ours was."""
        return self.ours / self.plain


class Ratio(Record):
    """How many times as fast ours was, over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def over(cls, rounds: Sequence[Round]) -> Ratio:
        """Median, lowest and highest of the rounds' ratios, each taken within its round."""
        ratios = [one.ratio for one in rounds]
        return cls(median=statistics.median(ratios), low=min(ratios), high=max(ratios))


class Comparison(Record):
    """Our trainer against the plain loop, in turns."""

    own_process: bool = False
    """Whether the plain loop had a process of its own. In records without this field it shared our trainer's, and
    so the memory that is kept there."""
    batch_size: int
    """Of the training."""
    data_batch_size: int | None = None
    """Of the data path: the configuration's own, also where this field is missing."""
    workers: int
    """Of the plain loop's DataLoader."""
    ours_steps: int
    """Counted in each round."""
    plain_steps: int
    training: list[Round] = Field(min_length=1)
    """End to end: from the images in memory to the updated weights."""
    data_path: list[Round] = Field(min_length=1)
    """The images alone, gathered and augmented."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> Ratio:
        """Of `training`."""
        return Ratio.over(self.training)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def data_path_ratio(self) -> Ratio:
        """Of `data_path`."""
        return Ratio.over(self.data_path)


class ScalingPoint(Record):
    """Some ranks, and directly before them one process without a team, with the same whole batch."""

    ranks: int
    threads: int | None
    """Of each rank, on a CPU."""
    step_seconds: StepSeconds
    alone: StepSeconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def speedup(self) -> float:
        """How many times as fast as one process alone."""
        return self.alone.median / self.step_seconds.median

    @computed_field  # type: ignore[prop-decorator]
    @property
    def efficiency(self) -> float | None:
        """Of what as many GPUs could do at best, 1 for all of it; None on a CPU, whose cores the ranks share."""
        return self.speedup / self.ranks if self.threads is None else None


class Scaling(Record):
    """The same training by several ranks."""

    batch_size: int
    """Of all ranks together."""
    points: list[ScalingPoint] = Field(min_length=1)


class BenchRecord(Record):
    """One configuration on one device. Speeds are images/s, times seconds, arithmetic floating-point operations."""

    schema_version: int = SCHEMA_VERSION
    preset: str
    config: RunConfig
    """As measured, with what `--set` changed."""
    parameters: int
    device: str
    device_name: str
    threads: int | None
    """On a CPU."""
    precision: str
    memory_format: str
    compile: str
    choices: dict[str, str] = Field(default_factory=dict)
    """Everything that was chosen or set, by the name of its field in the configuration's training section."""
    measured_with: Literal["full", "sample"]
    """The images in use; `train_images` and `test_images` are the configuration's own."""
    train_images: int
    test_images: int
    batch_size: int
    """Measured with; smaller than the configuration's where that would have taken too long."""
    micro_batch: int | None
    """Images at once where a batch is split."""
    step_seconds: StepSeconds
    images_per_second: float
    """Training at full resolution: a batch over the median step."""
    low_resolution: LowResolution | None = None
    eval_images: int
    eval_images_per_second: float
    forward_flops: float
    """Of an image at full resolution: convolutions and matrix products, two for a multiplication and addition."""
    training_flops: float
    """Forward and backward."""
    convolution_flops: float
    """A second, of one large convolution on the spot, in this precision."""
    matrix_product_flops: float
    startup_seconds: float
    """From the start of the process to the end of its first step."""
    compile_seconds: float | None = None
    """What compiling and its checks took, or the trial that found nothing faster; None where nothing was tried."""
    peak_memory_bytes: int | None
    """On a GPU what tensors held; on a CPU what the whole process did."""
    comparison: Comparison | None = None
    scaling: Scaling | None = None
    load_average: float
    """Of the machine over the minute before."""
    measured: str
    """UTC."""
    seconds: float
    """What measuring took."""
    provenance: Provenance

    @computed_field  # type: ignore[prop-decorator]
    @property
    def flops_per_second(self) -> float:
        """What training achieves."""
        return self.images_per_second * self.training_flops

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ceiling_share(self) -> float:
        """Of the faster of the large convolution and the large matrix product."""
        return self.flops_per_second / max(self.convolution_flops, self.matrix_product_flops)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def epoch_seconds(self) -> float:
        """Training for an epoch at full resolution; evaluation is `evaluation_seconds`."""
        return self.train_images / self.images_per_second

    @computed_field  # type: ignore[prop-decorator]
    @property
    def evaluation_seconds(self) -> float:
        """Evaluating the test images once, without test-time averaging."""
        return self.test_images / self.eval_images_per_second

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total_seconds(self) -> float:
        """The whole configuration at these speeds: start, every epoch, every evaluation."""
        epochs, every = self.config.training.epochs, self.config.training.eval_every
        low = self.low_resolution
        training = epochs * self.epoch_seconds
        if low is not None:
            training += low.epochs * (self.train_images / low.images_per_second - self.epoch_seconds)
        evaluations = epochs // every + (epochs % every > 0)
        start = self.startup_seconds + (self.compile_seconds or 0.0)
        return start + training + evaluations * self.evaluation_seconds


def read_records(paths: Iterable[Path]) -> list[BenchRecord]:
    """The records in these files, and in every .jsonl file of those that are directories, in order.

    Raises BenchFileError, naming file and line.
    """
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise BenchFileError(f"{path}: holds no {SUFFIX} file; bench --json --output FILE writes one")
    return [record for file in files for record in _read(file)]


def _read(file: Path) -> list[BenchRecord]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise BenchFileError(f"{file}: no such file") from None
    except OSError as error:
        raise BenchFileError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BenchFileError(f"{file}: is not text; bench --json --output FILE writes such a file") from None
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(BenchRecord.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise BenchFileError(f"{file}, line {number}: is no bench record: {where} {first['msg']}".strip()) from None
    return records
