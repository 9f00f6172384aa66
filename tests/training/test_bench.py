"""What bench measures with: operations counted against hand counts, the plain loop, the turns, the time it takes."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
import torch

from fmnist_tui.config import WideResNetConfig
from fmnist_tui.data.source import Images
from fmnist_tui.data.split import split
from fmnist_tui.models import count
from fmnist_tui.presets import load_preset
from fmnist_tui.report.bench import BenchRecord
from fmnist_tui.training.bench import __main__ as bench
from fmnist_tui.training.bench import versus
from fmnist_tui.training.bench.ceiling import measure_ceiling
from fmnist_tui.training.bench.flops import flops_per_image
from fmnist_tui.training.bench.plain import Cutout, PlainLoop, plain_transforms
from fmnist_tui.training.precision import choose
from fmnist_tui.training.rig import Rig, typical
from tests.training.tiny import full_size_config

CPU = torch.device("cpu")
DPN = {"kind": "dual_path_net", "blocks": [1], "filters": [4], "growth_rate": [1]}


def rig(images: Images, **sections: Any) -> Rig:
    config = full_size_config(training={"batch_size": 32, "deterministic": False}, **sections)
    return Rig(config, choose(config.training, CPU), images)


def test_operations_of_a_small_network_counted_by_hand() -> None:
    """WRN-10-1: stem 1->16; blocks 16->16 at 28x28, 16->32 at 14x14 and 32->64 at 7x7, with 1x1 shortcuts; linear."""
    pixels = 28 * 28
    stem = pixels * 9 * 1 * 16
    first = pixels * 9 * 16 * 16 * 2
    second = pixels // 4 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    third = pixels // 16 * (9 * 32 * 64 + 9 * 64 * 64 + 32 * 64)
    forward = 2 * (stem + first + second + third + 64 * 10)
    counted = flops_per_image(WideResNetConfig(depth=10, widen_factor=1))
    assert counted.forward == forward
    assert counted.training == 3 * forward - 2 * stem, "nobody wants the gradient of the images"


@pytest.mark.parametrize("preset", ["wrn", "densenet", "dpn", "shake-shake-64", "turbo"])
def test_operations_of_the_presets_are_those_of_the_walk_over_their_layers(preset: str) -> None:
    config = load_preset(preset).model
    counted = flops_per_image(config)
    assert 3 * counted.forward == count.training_flops_per_image(config)
    assert 2.5 * counted.forward < counted.training < 3 * counted.forward


def test_median_and_spread() -> None:
    assert typical([5.0, 1.0, 3.0]) == (3.0, 1.0, 5.0)
    assert typical([float(number) for number in range(20)]) == (9.5, 2.0, 17.0), "the outer tenths are left out"


@pytest.mark.parametrize(
    ("seconds_per_image", "seconds", "batch"), [(0.01, 60.0, 256), (0.05, 60.0, 128), (0.1, 10.0, 16), (10.0, 1.0, 4)]
)
def test_the_batch_that_fits_into_the_time(seconds_per_image: float, seconds: float, batch: int) -> None:
    """Five steps: 256 images at 10 ms are 13 s; at 50 ms 256 would be 64 s, 128 are 32."""
    assert bench.fitting_batch(256, seconds_per_image, seconds) == batch


@pytest.mark.parametrize(("asked", "batch"), [(64, 64), (48, 48), (1000, 150), (None, 4)])
def test_a_batch_size_that_was_asked_for_is_kept(images: Images, asked: int | None, batch: int) -> None:
    """No time is left, so the smallest batch is taken where the size may be chosen. There are 150 images."""
    config = full_size_config(model=DPN, training={"batch_size": 64, "epochs": 2})
    job = bench.Job(config, "cpu", None, "sample", 0.0, 0, [], asked)
    measured = bench._rig(job, choose(config.training, CPU), images)
    bench._first_steps(measured, job)
    assert measured.batch_size == batch


def test_the_rig_trains_and_goes_round(images: Images) -> None:
    """150 images are 4 whole batches of 32; the fifth step takes the first again."""
    measured = rig(images)
    before = {key: value.clone() for key, value in measured.model.state_dict().items()}
    assert len(measured.time_steps(5)) == 5 and measured.steps_done == 5
    assert all(
        not torch.equal(before[key], value) for key, value in measured.model.state_dict().items() if "conv" in key
    )
    assert measured.evaluate(50) > 0 and measured.prepare_batches(3) > 0


def test_the_rig_trains_at_the_resolution_of_the_epoch(images: Images) -> None:
    measured = rig(images, augment={"low_resolution": 20, "low_resolution_share": 0.5})
    assert measured.size == 20
    measured.begin(3)
    assert measured.size == 28
    measured.run_steps(1)


@pytest.fixture
def plain(images: Images) -> PlainLoop:
    config = full_size_config(augment={"cutout_size": 8}, training={"batch_size": 32, "deterministic": False})
    return PlainLoop(config, split(images, "standard"), CPU, 32, epoch=1)


def test_the_plain_loop_is_the_same_network_and_learns(images: Images, plain: PlainLoop) -> None:
    """Same parameters by name and shape, same function; at a proper rate its loss falls below that of chance."""
    ours = rig(images).model
    ours.load_state_dict(plain.model.state_dict(), strict=True)
    pixels = torch.randn(4, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(pixels), plain.model.eval()(pixels))  # in another memory format
    assert not plain.optimizer.defaults["fused"] and type(plain.optimizer) is torch.optim.SGD
    plain.model.train()
    for group in plain.optimizer.param_groups:
        group["lr"] = 0.05
    seconds, losses = plain.train(30)
    assert len(losses) == 30 and seconds > 0
    assert sum(losses[-5:]) / 5 < 0.75 * losses[0] < 2.5


def test_the_plain_loop_prepares_images_as_the_configuration_says(images: Images, plain: PlainLoop) -> None:
    """Black at most, Cutout's square 0 and the image moved: torchvision's own transforms, one image at a time."""
    torch.manual_seed(0)
    shown = [plain.dataset[0][0] for _ in range(8)]
    assert all(image.shape == (1, 28, 28) and image.dtype == torch.float32 for image in shown)
    assert any(not torch.equal(a, b) for a, b in itertools.pairwise(shown))
    names = [
        type(step).__name__
        for step in plain_transforms(full_size_config(augment={"cutout_size": 8}).augment).transforms
    ]
    assert names == ["RandomCrop", "RandomHorizontalFlip", "ToTensor", "Normalize", "Cutout"]
    bare = full_size_config(augment={"crop_padding": 0, "flip": False}).augment
    assert [type(step).__name__ for step in plain_transforms(bare).transforms] == ["ToTensor", "Normalize"]


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.5, 1, 24), (1.0, 25, 25)])
def test_the_plain_loop_mixes_as_many_batches_as_the_configuration_says(
    images: Images, probability: float, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torchvision's CutMix, whose targets are probabilities."""
    config = full_size_config(augment={"cutmix_probability": probability}, training={"batch_size": 4})
    loop = PlainLoop(config, split(images, "standard"), CPU, 4, epoch=1)
    mixed, original = list[torch.Size](), loop.cutmix.forward

    def noted(*batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        result: tuple[torch.Tensor, torch.Tensor] = original(*batch)
        mixed.append(result[1].shape)
        return result

    monkeypatch.setattr(loop.cutmix, "forward", noted)
    torch.manual_seed(0)
    assert all(loss > 0 for loss in loop.train(24)[1])
    assert least <= len(mixed) <= most and set(mixed) <= {torch.Size((4, 10))}


def test_cutout_hides_a_square_that_may_hang_over_the_border() -> None:
    cutout = Cutout(full_size_config(augment={"cutout_size": 8, "cutout_probability": 1.0}).augment)
    torch.manual_seed(1)
    hidden = [int((cutout(torch.ones(1, 28, 28)) == 0).sum()) for _ in range(200)]
    assert max(hidden) == 64 and 16 <= min(hidden) < 64
    never = Cutout(full_size_config(augment={"cutout_size": 8, "cutout_probability": 0.0}).augment)
    assert bool((never(torch.ones(1, 28, 28)) == 1).all())


def test_the_sides_take_turns_and_count_their_own_steps() -> None:
    """Ours takes 10 ms for a step of 32 images, the plain loop 40: a ratio of 4 in each of three rounds."""
    calls: list[str] = []
    trained_with, loaded_with = list[int](), list[int]()

    class Ours:
        device, batch_size, train_set = CPU, 32, range(150)
        config = full_size_config(training={"batch_size": 128})

        def run_steps(self, steps: int) -> float:
            calls.append("ours")
            return 0.01 * steps

        def prepare_batches(self, batches: int) -> float:
            calls.append("ours data")
            return 0.001 * batches

    class Plain:
        batch_size = 32

        def train(self, steps: int) -> float:
            calls.append("plain")
            trained_with.append(self.batch_size)
            return 0.04 * steps

        def load(self, batches: int) -> float:
            calls.append("plain data")
            loaded_with.append(self.batch_size)
            return 0.05 * batches

    turns = versus.compare(Ours(), Plain(), 8.0, 3)  # type: ignore[arg-type]
    phases = []
    while True:
        try:
            phases.append(next(turns)["phase"])
        except StopIteration as finished:
            found = finished.value
            break
    assert phases[0] == "round 1 of 3" and len(phases) == 6
    assert calls[2:11] == ["ours", "ours", "plain"] * 3, "a step to warm up, then the two sides"
    assert calls[-6:] == ["ours data", "plain data"] * 3
    assert (found.ours_steps, found.plain_steps) == (99, 24), "a second each: 100 and 25, one not counted"
    assert set(trained_with) == {32} and set(loaded_with) == {128}, "the data path at the preset's own batch size"
    assert (found.batch_size, found.data_batch_size, found.own_process) == (32, 128, True)
    assert [round(one.ratio, 6) for one in found.training] == [4.0] * 3
    assert (round(found.ratio.median, 6), round(found.data_path_ratio.median, 6)) == (4.0, 50.0)


def test_the_ceiling_is_above_what_a_small_network_reaches(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.MATRIX_SIDE", {"cpu": 512})
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.CONV_IMAGES", {"cpu": 1})
    measured = rig(images)
    ceiling = measure_ceiling(measured.execution, 0.0)
    achieved = flops_per_image(measured.config.model).training * 32 / measured.time_steps(1)[0]
    assert 1e8 < achieved < max(ceiling)


def test_a_whole_measurement_with_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that is three seconds old already, which leaves little time: few steps, and still every figure."""
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.MATRIX_SIDE", {"cpu": 256})
    monkeypatch.setattr("fmnist_tui.training.bench.ceiling.CONV_IMAGES", {"cpu": 1})
    config = full_size_config(
        model=DPN, data={"source": "full", "split": "custom"}, training={"batch_size": 64, "epochs": 2}
    )
    job = bench.Job(config, "cpu", None, "sample", 6.0, 3, ["fmnist-tui", "bench"], began=time.time() - 3)
    *phases, last = bench.measure(job)
    assert [line["phase"] for line in phases][:3] == ["loading torch", "loading data", "first steps"]
    record = BenchRecord.model_validate(last["record"])
    assert record.comparison is not None and len(record.comparison.training) == 3
    assert (record.measured_with, record.train_images, record.test_images) == ("sample", 30_000, 40_000)
    assert record.batch_size <= 64 and record.step_seconds.steps >= bench.MIN_STEPS
    assert record.startup_seconds > 3 and record.peak_memory_bytes and record.compile_seconds is None
    assert record.images_per_second == pytest.approx(record.batch_size / record.step_seconds.median)
    assert 0 < record.ceiling_share < 1
    assert record.provenance.command == ["fmnist-tui", "bench"]


def test_a_preset_of_two_resolutions_measures_both(images: Images) -> None:
    config = full_size_config(
        augment={"low_resolution": 12, "low_resolution_share": 0.5}, training={"batch_size": 16, "epochs": 4}
    )
    measured = Rig(config, choose(config.training, CPU), images)
    measured.begin(4)
    low = bench._low_resolution(measured, 0.0)
    assert (low.size, low.epochs, measured.size) == (12, 2, 28)
    assert low.images_per_second > 0
