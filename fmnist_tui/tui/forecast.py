"""The outlook of a configuration in words: memory, speed, duration, what there is to beat.

The New run screen's panel shows them; the numbers come from `analysis.outlook` and from measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from fmnist_tui.analysis.outlook import (
    NO_MATTER_FOR_SPEED,
    Duration,
    Earlier,
    Speed,
    duration,
    images_at_once,
    memory_estimate,
    speed_key,
)
from fmnist_tui.config import IMAGE_SIZE, AugmentConfig, Reference, RunConfig
from fmnist_tui.fields import flatten
from fmnist_tui.tui import format as words
from fmnist_tui.tui.calibration import Measurement
from fmnist_tui.tui.draft import shown

OTHERS_SHOWN = 2
"""Fields named of those in which measured settings are others."""


class Known(NamedTuple):
    """What calibrations say of the speed of a configuration on a device."""

    running: str = ""
    """What the calibration at work is doing, '' where none is."""
    running_of: str = ""
    """How its settings differ from the configuration's (`other_settings`), '' where they don't."""
    measured: Measurement | None = None
    """The result for this configuration, else the newest there is."""
    failed: str = ""
    """Why that calibration gave none."""
    of: str = ""
    """How the settings of the result or failure differ, '' where they don't."""
    beside: str = ""
    """The run that was at work on the device when it began, '' where none was."""


class Fact(NamedTuple):
    """A name, what is known, and what explains it (drawn faintly)."""

    name: str
    value: str
    about: str = ""


@dataclass(frozen=True)
class Forecast:
    """What is known of the speed on the chosen device."""

    device: str = "auto"
    gpus: int = 1
    """On how many at once; the rest is what is known of one."""
    memory_total: int | None = None
    """Bytes of the chosen GPU, where it is known."""
    known: Known = field(default_factory=Known)
    """What calibrations say."""
    earlier: Earlier | None = None


def other_settings(of: RunConfig, of_device: str, config: RunConfig, device: str) -> str:
    """What makes the speed of `of` another than that of `config`: 'training.batch_size 64'; '' where nothing does."""
    if speed_key(of, of_device) == speed_key(config, device):
        return ""
    if of.preset != config.preset:
        return f"preset {of.preset or of.name}"
    now = flatten(config)
    said = [
        f"{key} {shown(value)}"
        for key, value in flatten(of).items()
        if key not in NO_MATTER_FOR_SPEED and (key not in now or now[key] != value)
    ]
    if of_device != device:
        said.append(f"device {of_device}")
    rest = len(said) - OTHERS_SHOWN
    return ", ".join(said[:OTHERS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def news_in_words(known: Known) -> str:
    """How it stands with the measuring, in a word or two for a title; '' where there was none."""
    if known.running:
        return "measuring"
    if known.failed:
        return "measuring failed"
    return "measured" if known.measured and not known.of else ""


def augmentation_in_words(config: AugmentConfig) -> str:
    """What is done to a training image, as a title."""
    parts = []
    if config.crop_padding:
        parts.append(f"crop {config.crop_padding}")
    if config.flip:
        parts.append("flip" if config.flip_mode == "random" else f"{config.flip_mode} flip")
    if config.cutout_size:
        share = "" if config.cutout_probability == 1 else f" for {config.cutout_probability:.3g} of the images"
        parts.append(f"Cutout {config.cutout_size}{' inside' if config.cutout_inside else ''}{share}")
    if config.cutmix_probability and config.cutmix_share:
        until = "" if config.cutmix_share == 1 else f" for the first {config.cutmix_share:.0%}"
        parts.append(f"CutMix in {config.cutmix_probability:.3g} of the batches{until}")
    if config.low_resolution_share and config.low_resolution < IMAGE_SIZE:
        parts.append(
            f"{config.low_resolution}x{config.low_resolution} px for the first {config.low_resolution_share:.0%}"
        )
    return ", ".join(parts) or "none"


def giga(flops: float) -> str:
    """Operations in a readable unit: '24.1 GFLOP'."""
    for factor, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")):
        if flops >= factor:
            return f"{flops / factor:.3g} {unit}"
    return f"{flops / 1e3:.3g} kFLOP"


def memory(count: int) -> str:
    """Bytes with their unit: '7.2 GiB', '94 MiB'."""
    return f"{words.gib(count)} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def duration_in_words(time: Duration, now: datetime) -> tuple[str, str]:
    """The sum and when it would end if it started now; its parts."""
    parts = [f"{words.duration(time.training)} training"]
    parts.append("evaluation unknown" if time.evaluation is None else f"{words.duration(time.evaluation)} evaluation")
    if time.startup >= 1:
        parts.append(f"{words.duration(time.startup)} to start")
    end = (now + timedelta(seconds=time.total)).astimezone()
    day = "" if end.date() == now.astimezone().date() else f"{end:%a} {end.day} {end:%b} "
    return f"about {words.duration(time.total)}, until {day}{end:%H:%M} if started now", f" ({', '.join(parts)})"


def reference_in_words(reference: Reference) -> tuple[str, str]:
    """The row of the reference table a preset reproduces."""
    of = f" (best of {reference.epochs:,} epochs, {reference.time} on a GTX 1080 Ti)"
    return f"{reference.accuracy:.2f} % of {reference.model_name}, 2018", of


def speed_in_words(speed: Speed) -> str:
    """'9,800 img/s, peak 7.2 GiB, cuda:0 NVIDIA H200, bf16'."""
    parts = [f"{words.speed(speed.images_per_second)} img/s"]
    if speed.peak_memory_bytes is not None:
        parts.append(f"peak memory {memory(speed.peak_memory_bytes)}")
    parts += [part for part in (speed.device_name or speed.device, speed.precision) if part]
    return ", ".join(parts)


def memory_in_words(config: RunConfig) -> tuple[str, str]:
    """The estimate for the precision that was chosen, both where that is left to the trainer; and what it counts."""
    precision = config.training.precision
    full, half = (memory(memory_estimate(config, size)) for size in (4, 2))
    amount = {"fp32": f"{full}", "auto": f"{full} in fp32, {half} in bf16"}.get(precision, half)
    if config.training.micro_batch == "auto":
        amount += ", less where the batch has to be split"
    images = words.count(images_at_once(config), "image")
    counted = f"weights, gradients, momentum, activations of {images}, data"
    return f"about {amount}", f" (estimate: {counted}; no workspaces)"


def _of(settings: str, said: str) -> str:
    """What a calibration says, and that it is of other settings than those shown where it is."""
    return f"other settings ({settings}): {said}" if settings else said


def _calibration_facts(config: RunConfig, forecast: Forecast, now: datetime) -> list[Fact]:
    """What is measured now or was, or why that failed, or how to do it."""
    known, facts = forecast.known, []
    measured_these = known.measured is not None and not known.of
    if known.running:
        facts.append(Fact("Measuring", _of(known.running_of, known.running), " (F6 ends it)"))
    elif known.failed and not known.of:
        facts.append(Fact("Speed", f"could not be measured: {known.failed}", " (F6 tries again)"))
    elif not measured_these:
        facts.append(Fact("Speed", "not measured", "; F6 measures it"))
    if known.failed and known.of:
        facts.append(Fact("Failed", _of(known.of, f"could not be measured: {known.failed}")))
    if known.measured and known.measured.images_per_second:
        speed = known.measured.speed(forecast.device)
        slowed = f", beside {known.beside}, which slowed it" if known.beside else ""
        when = f" (at {known.measured.measured:%H:%M:%S}{slowed})"
        facts.append(Fact("Measured", _of(known.of, speed_in_words(speed)), when))
        if measured_these:
            facts.append(Fact("Duration", *duration_in_words(duration(config, speed), now)))
    return facts


def speed_facts(config: RunConfig, forecast: Forecast) -> list[Fact]:
    """What calibrations say, and how fast it was last time."""
    now = datetime.now().astimezone()
    facts: list[Fact] = []
    if forecast.gpus > 1:
        facts.append(Fact("GPUs", f"{forecast.gpus} share each batch", "; memory, speed and duration here are of one"))
    facts += _calibration_facts(config, forecast, now)
    if forecast.earlier:
        speed, same = forecast.earlier.speed, forecast.earlier.same
        of = forecast.earlier.run.config
        how = f", with {other_settings(of, forecast.device, config, forecast.device)}" if of and not same else ""
        facts.append(Fact("Last time", speed_in_words(speed), f"{how} ({forecast.earlier.run.id})"))
        if same and not any(fact.name == "Duration" for fact in facts):
            facts.append(Fact("Duration", *duration_in_words(duration(config, speed), now)))
    return facts
