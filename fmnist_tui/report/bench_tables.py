"""The tables of `fmnist-tui bench`: speed, time and memory, and the comparison with the plain loop.

Blocks of plain text, which the command line prints and `report.markdown` writes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from fmnist_tui import presets
from fmnist_tui.report.bench import BenchRecord, Ratio, Round
from fmnist_tui.report.blocks import Block, Code, Column, Heading, Items, Paragraph, Table
from fmnist_tui.report.words import duration, speed

NOTHING = "-"
SPEED = (
    Column("Preset"),
    Column("Batch", True),
    Column("Training, images/s", True),
    Column("Evaluation, images/s", True),
    Column("Step, ms", True),
    Column("of which 80 %", True),
    Column("Steps", True),
    Column("GFLOP an image", True),
    Column("GFLOP/s", True),
    Column("Ceiling, GFLOP/s", True),
    Column("Share", True),
)
COST = (
    Column("Preset"),
    Column("Start", True),
    Column("Compiling", True),
    Column("Peak memory", True),
    Column("Epoch", True),
    Column("Evaluation", True),
    Column("Epochs", True),
    Column("Whole preset", True),
)
COMPARED = (
    Column("Preset"),
    Column("Batch", True),
    Column("Rounds", True),
    Column("Ours, images/s", True),
    Column("Plain loop", True),
    Column("Ratio", True),
    Column("lowest to highest", True),
    Column("Data path: ours", True),
    Column("Plain", True),
    Column("Ratio", True),
    Column("lowest to highest", True),
)
SCALED = (
    Column("Preset"),
    Column("Batch", True),
    Column("Ranks", True),
    Column("Threads each", True),
    Column("Steps", True),
    Column("Images/s", True),
    Column("One process alone", True),
    Column("Times as fast", True),
    Column("Efficiency", True),
)
SPEED_LEGEND = (
    "Step: from gathering and augmenting the images to the updated weights, median, and what lies between the tenth "
    "and the ninetieth percentile (the lowest and the highest of under ten). GFLOP: convolutions and matrix products "
    "of the forward and the backward pass. Ceiling: the faster of one large convolution and one large matrix product "
    "in the same precision, on the spot, by torch. Convolutions are counted as usual, also where cpu_kernels need "
    "fewer multiplications: a share may be above 100 %."
)
COST_LEGEND = (
    "Start: from a new process to the end of its first step. Peak memory: on a GPU what tensors held, on a CPU the "
    "whole process. Whole preset: start, all epochs and evaluations at the speeds above; computed, not run."
)
COMPARED_LEGEND = (
    "The plain loop: torchvision's transforms on one image at a time, a DataLoader with {workers} workers, fp32, "
    "torch's own memory format, torch.optim.SGD as it comes, loss.item() in every step{process}. Both sides train the "
    "same network with the same batch and number of threads, in turns, data path included; a ratio is taken within a "
    "round, and the median of the rounds is shown. Data path: images gathered and augmented, without a network, in "
    "batches of the preset's size."
)
OWN_PROCESS = ", in a process of its own with torch's own settings"
SCALED_LEGEND = (
    "Ranks: processes that share one batch (DistributedDataParallel), a GPU each; one rank is the same path without "
    "anyone to share with. One process alone: the path of a run without --gpus, directly before. Medians of the steps. "
    "Efficiency: times as fast, over the number of GPUs; on a CPU the ranks share the cores, and there is none."
)


def bench_report(records: Sequence[BenchRecord]) -> list[Block]:
    """The tables, a set for each machine and software the records come from, with a last line on what was changed."""
    blocks: list[Block] = []
    for where, group in _grouped(records).items():
        blocks += [Paragraph.of(where), speed_table(group), Paragraph.of(SPEED_LEGEND)]
        blocks += [cost_table(group), Paragraph.of(COST_LEGEND)]
        if compared := [record.comparison for record in group if record.comparison]:
            process = OWN_PROCESS if all(found.own_process for found in compared) else ""
            legend = COMPARED_LEGEND.format(workers=compared[0].workers, process=process)
            blocks += [comparison_table(group), Paragraph.of(legend)]
        if any(record.scaling for record in group):
            blocks += [scaling_table(group), Paragraph.of(SCALED_LEGEND)]
        blocks.append(Items(tuple(notes(group))))
    return blocks


def markdown_page(records: Sequence[BenchRecord]) -> list[Block]:
    """The report under a heading, with the commands that made it."""
    commands = dict.fromkeys(" ".join(record.provenance.command) for record in records)
    lines: list[Block] = [Paragraph.of(Code(command)) for command in commands if command]
    return [Heading("Measured speed", 2), *bench_report(records), Heading("Commands", 3), *lines]


def _grouped(records: Iterable[BenchRecord]) -> dict[str, list[BenchRecord]]:
    groups: dict[str, list[BenchRecord]] = {}
    for record in records:
        groups.setdefault(where(record), []).append(record)
    return groups


def where(record: BenchRecord) -> str:
    """Device, versions and how it computes, in a sentence."""
    made = record.provenance
    gpu = "".join(f", {name} {version}" for name, version in (("CUDA", made.cuda), ("driver", made.driver)) if version)
    versions = f"torch {made.torch}, torchvision {made.torchvision}{gpu}, Python {made.python}"
    compiled = "eager" if record.compile == "off" else f"compiled ({record.compile})"
    kernels = " with cpu_kernels" if record.choices.get("cpu_kernels") == "on" else ""
    how = f"{record.precision}, {record.memory_format}, {compiled}{kernels}"
    return f"{record.device_name}; {versions}; fmnist-tui {made.fmnist_tui}; {how}."


def speed_table(records: Iterable[BenchRecord]) -> Table:
    """How fast each preset trains and evaluates, and how that compares with what the device can do."""
    return Table(SPEED, tuple(_speed_cells(record) for record in records))


def _speed_cells(record: BenchRecord) -> tuple[str, ...]:
    step = record.step_seconds
    return (
        record.preset,
        _batch(record, record.batch_size),
        speed(record.images_per_second),
        speed(record.eval_images_per_second),
        _milliseconds(step.median),
        f"{_milliseconds(step.low)} to {_milliseconds(step.high)}",
        f"{step.steps:,}",
        f"{record.training_flops / 1e9:.2f}",
        f"{record.flops_per_second / 1e9:,.0f}",
        f"{max(record.convolution_flops, record.matrix_product_flops) / 1e9:,.0f}",
        f"{100 * record.ceiling_share:.0f} %",
    )


def cost_table(records: Iterable[BenchRecord]) -> Table:
    """What a run of each preset takes in time and memory."""
    rows = tuple(
        (
            record.preset,
            duration(record.startup_seconds),
            NOTHING if record.compile_seconds is None else duration(record.compile_seconds),
            NOTHING if record.peak_memory_bytes is None else f"{record.peak_memory_bytes / 1e9:.2f} GB",
            duration(record.epoch_seconds),
            duration(record.evaluation_seconds),
            f"{record.config.training.epochs:,}",
            duration(record.total_seconds),
        )
        for record in records
    )
    return Table(COST, rows)


def comparison_table(records: Iterable[BenchRecord]) -> Table:
    """Ours against the plain loop, for the records that compared."""
    rows = []
    for record in records:
        found = record.comparison
        if found is None:
            continue
        rows.append(
            (
                record.preset,
                _batch(record, found.batch_size),
                str(len(found.training)),
                *_sides(found.training, found.ratio),
                *_sides(found.data_path, found.data_path_ratio),
            )
        )
    return Table(COMPARED, tuple(rows))


def scaling_table(records: Iterable[BenchRecord]) -> Table:
    """Several ranks against one process, for the records that have it."""
    return Table(
        SCALED,
        tuple(
            (
                record.preset,
                _batch(record, record.scaling.batch_size),
                str(point.ranks),
                NOTHING if point.threads is None else str(point.threads),
                f"{point.step_seconds.steps:,}",
                speed(record.scaling.batch_size / point.step_seconds.median),
                speed(record.scaling.batch_size / point.alone.median),
                times(point.speedup),
                NOTHING if point.efficiency is None else f"{100 * point.efficiency:.0f} %",
            )
            for record in records
            if record.scaling is not None
            for point in record.scaling.points
        ),
    )


def _sides(rounds: Sequence[Round], ratio: Ratio) -> tuple[str, ...]:
    """Median of either side, the ratio and its range."""
    return (
        speed(statistics.median(one.ours for one in rounds)),
        speed(statistics.median(one.plain for one in rounds)),
        times(ratio.median),
        f"{times(ratio.low)} to {times(ratio.high)}",
    )


def notes(records: Iterable[BenchRecord]) -> list[str]:
    """What someone reading the tables must know of single rows, one sentence each."""
    said = []
    for record in records:
        wanted = _preset_batch(record)
        if record.batch_size != wanted:
            said.append(
                f"{record.preset}: measured with batches of {record.batch_size:,} instead of the preset's {wanted:,}; "
                "speed and memory are those of this size."
            )
        if record.micro_batch is not None:
            said.append(f"{record.preset}: batches split into {record.micro_batch:,} images at once.")
        if record.low_resolution is not None:
            low = record.low_resolution
            said.append(
                f"{record.preset}: its first {low.epochs} epochs train at {low.size}x{low.size} pixels, at "
                f"{speed(low.images_per_second)} images/s; the tables are for 28x28, the whole preset counts both."
            )
        said += _comparison_notes(record)
        if record.measured_with != record.config.data.source:
            said.append(
                f"{record.preset}: measured with the {record.measured_with}'s images; times are for the preset's own "
                f"{record.train_images:,}."
            )
    return said


def _comparison_notes(record: BenchRecord) -> list[str]:
    """What sets a comparison apart from what its table's legend says."""
    found, said = record.comparison, []
    if found is None:
        return []
    if record.config.optimizer.kind == "muon":
        said.append(f"{record.preset}: ours updates with Muon, the plain loop with SGD, which is less work.")
    if not found.own_process:
        said.append(
            f"{record.preset}: the plain loop shared our trainer's process, and so what is set there: measured before "
            "it had one of its own."
        )
    data_batch = found.data_batch_size or record.config.training.batch_size
    if data_batch != _preset_batch(record):
        said.append(f"{record.preset}: the data path in batches of {data_batch:,}.")
    return said


def _preset_batch(record: BenchRecord) -> int:
    shipped = presets.shipped_preset(record.preset)
    return (shipped or record.config).training.batch_size


def _batch(record: BenchRecord, size: int) -> str:
    """'256', or '64 of 256' where the preset's was too large."""
    wanted = _preset_batch(record)
    return f"{size:,}" if size == wanted else f"{size:,} of {wanted:,}"


def _milliseconds(seconds: float) -> str:
    value = 1000 * seconds
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.3g}"


def times(ratio: float) -> str:
    """A ratio to three digits: '2.15', '31.4', '214'."""
    return f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}" if ratio < 99.95 else f"{ratio:,.0f}"
