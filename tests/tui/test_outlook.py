"""What would happen: steps, memory, durations and earlier runs, against numbers worked out by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from fmnist_tui.analysis.outlook import (
    NO_MATTER_FOR_SPEED,
    Duration,
    Speed,
    duration,
    earlier_run,
    memory_estimate,
    plan,
    speed_key,
)
from fmnist_tui.config import RunConfig
from fmnist_tui.fields import fields_of, with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.runs.status import State
from fmnist_tui.runs.store import list_runs
from fmnist_tui.tui.forecast import (
    Forecast,
    augmentation_in_words,
    duration_in_words,
    giga,
    memory,
    memory_in_words,
    speed_facts,
)
from tests.tui.synthetic import RunMaker, write_result


def changed(preset: str = "wrn", **changes: Any) -> RunConfig:
    return with_changes(load_preset(preset), {key.replace("__", "."): value for key, value in changes.items()})


def test_the_work_of_the_reference_preset() -> None:
    work = plan(load_preset("wrn"))
    assert (work.train_images, work.test_images) == (30_000, 40_000)
    assert (work.steps_per_epoch, work.steps) == (118, 23_600)
    assert (work.epochs, work.evaluations, work.images) == (200, 200, 6_000_000)
    assert not work.cut_short


def test_max_steps_and_eval_every() -> None:
    work = plan(changed(training__max_steps=120, training__eval_every=3))
    assert (work.steps, work.epochs, work.evaluations, work.cut_short) == (120, 2, 1, True)
    assert work.images == 30_000 + 2 * 256
    work = plan(changed(training__epochs=10, schedule__milestones=[5], training__eval_every=3))
    assert work.evaluations == 4, "after 3, 6, 9 and the last"
    assert plan(changed(training__max_steps=10**9)).cut_short is False


def test_memory_counts_state_activations_and_data() -> None:
    from fmnist_tui.models.count import activation_bytes_per_image, parameter_count

    config = load_preset("wrn")
    per_image = activation_bytes_per_image(config.model, 4)
    expected = 12 * parameter_count(config.model) + 256 * per_image + 70_000 * 784
    assert memory_estimate(config, 4) == expected
    split = with_changes(config, {"training.micro_batch": 64})
    assert memory_estimate(config, 4) - memory_estimate(split, 4) == 192 * per_image


def test_memory_in_words_says_what_it_is() -> None:
    amount, about = memory_in_words(load_preset("wrn"))
    assert "in fp32" in amount
    assert "in bf16" in amount
    assert "estimate" in about
    assert "256 images" in about
    assert "fp32" not in memory_in_words(changed(training__precision="fp32"))[0]
    assert "split" in memory_in_words(changed(training__micro_batch="auto"))[0]


SPEED = Speed(10_000.0, 40_000.0, 30.0, 2**33, "cuda:0", "NVIDIA H200", "bf16")


def test_duration_is_training_evaluation_and_start() -> None:
    assert duration(load_preset("wrn"), SPEED) == Duration(30.0, 600.0, 200.0)
    assert duration(load_preset("wrn"), SPEED).total == 830.0
    unknown = Speed(10_000.0, None, 0.0, None, "cpu", "", "fp32")
    assert duration(load_preset("wrn"), unknown) == Duration(0.0, 600.0, None)


def test_duration_in_words_names_the_end_and_its_day() -> None:
    now = datetime(2026, 11, 23, 14, 30).astimezone()
    text, parts = duration_in_words(Duration(30.0, 600.0, 200.0), now)
    assert text == f"about 13m 50s, until {now + timedelta(seconds=830):%H:%M} if started now"
    assert parts == " (10m 00s training, 3m 20s evaluation, 30s to start)"
    text, parts = duration_in_words(Duration(0.0, 20 * 3600.0, None), now)
    assert "until Tue 24 Nov 10:30" in text
    assert "evaluation unknown" in parts


def test_every_field_either_matters_for_the_speed_or_is_known_not_to() -> None:
    keys = {spec.key for spec in fields_of("wide_resnet")}
    assert keys >= NO_MATTER_FOR_SPEED
    config = load_preset("wrn")
    assert speed_key(config, "auto") == speed_key(changed(training__epochs=7, seed=1, optimizer__lr=0.5), "auto")
    assert speed_key(config, "auto") != speed_key(config, "cpu")
    for key, value in {
        "training.batch_size": 128,
        "training.precision": "fp32",
        "augment.cutout_size": 8,
        "model.depth": 40,
        "training.tta": "flip",
    }.items():
        assert speed_key(config, "auto") != speed_key(with_changes(config, {key: value}), "auto"), key


def finished(maker: RunMaker, preset: str, run_id: str, **result: Any) -> None:
    run = maker.make(preset, State.FINISHED, run_id=run_id)
    values = {
        "images_per_second": 9800.0,
        "train_seconds": 600.0,
        "eval_seconds": 200.0,
        "total_seconds": 830.0,
        "test_images": 40_000,
        "epochs": 200,
    }
    write_result(run, **(values | result))


def test_the_newest_finished_run_of_the_network_on_the_device(maker: RunMaker) -> None:
    finished(maker, "wrn", "20261121-120000-wrn-aaaa", device="cuda:0", images_per_second=9000.0)
    finished(maker, "wrn", "20261122-120000-wrn-bbbb", device="cuda:0")
    finished(maker, "densenet", "20261123-110000-densenet-cccc", device="cuda:0")
    maker.make("wrn", State.RUNNING, run_id="20261123-120000-wrn-dddd", epoch=3)
    runs = list_runs(maker.runs_dir)
    found = earlier_run(load_preset("wrn"), "auto", runs, True)
    assert found is not None
    assert (found.run.id, found.same) == ("20261122-120000-wrn-bbbb", True)
    assert found.speed.images_per_second == 9800.0
    assert found.speed.eval_images_per_second == pytest.approx(200 * 40_000 / 200.0)
    assert found.speed.startup_seconds == pytest.approx(30.0)
    assert earlier_run(load_preset("wrn"), "cuda:0", runs, True) is not None
    assert earlier_run(load_preset("wrn"), "cpu", runs, True) is None
    assert earlier_run(load_preset("dpn"), "auto", runs, True) is None
    assert earlier_run(load_preset("wrn"), "auto", runs, False) is None, "no GPU is here: they came from elsewhere"
    finished(maker, "wrn", "20261120-120000-wrn-eeee", device="cpu", images_per_second=8.0)
    found = earlier_run(load_preset("wrn"), "auto", list_runs(maker.runs_dir), False)
    assert found is not None and found.run.id == "20261120-120000-wrn-eeee"


def test_a_run_with_the_same_settings_goes_before_a_newer_one_with_others(maker: RunMaker) -> None:
    finished(maker, "wrn", "20261121-120000-wrn-aaaa")
    other = changed(training__batch_size=64)
    run = maker.make("wrn", State.FINISHED, run_id="20261122-120000-wrn-bbbb", changes={"training": other.training})
    write_result(run, images_per_second=5000.0)
    runs = list_runs(maker.runs_dir)
    found = earlier_run(load_preset("wrn"), "auto", runs, True)
    assert found is not None
    assert (found.run.id, found.same) == ("20261121-120000-wrn-aaaa", True)
    found = earlier_run(changed(training__batch_size=32), "auto", runs, True)
    assert found is not None
    assert not found.same
    facts = speed_facts(changed(training__batch_size=32), Forecast(earlier=found))
    assert [fact.name for fact in facts] == ["Speed", "Last time"], "another batch size foretells no duration"
    assert facts[1].about.startswith(", with training.batch_size 64 ("), facts[1].about


def test_last_time_foretells_the_duration_until_something_is_measured(maker: RunMaker) -> None:
    finished(maker, "wrn", "20261121-120000-wrn-aaaa")
    found = earlier_run(load_preset("wrn"), "auto", list_runs(maker.runs_dir), True)
    facts = {fact.name: fact for fact in speed_facts(load_preset("wrn"), Forecast(earlier=found))}
    assert facts["Speed"].value == "not measured"
    assert facts["Last time"].value.startswith("9,800 img/s")
    assert facts["Duration"].value.startswith("about 14m 02s"), "612 s training, 200 s evaluation, 30 s to start"


def test_numbers_in_words() -> None:
    assert giga(24.1e9) == "24.1 GFLOP"
    assert giga(203e6) == "203 MFLOP"
    assert memory(7_730_941_132) == "7.2 GiB"
    assert memory(99_000_000) == "94 MiB"
    assert augmentation_in_words(load_preset("shake-shake-64").augment) == "crop 4, flip, Cutout 16"
    mixed = with_changes(load_preset("wrn"), {"augment.cutmix_probability": 0.5})
    assert augmentation_in_words(mixed.augment) == "crop 4, flip, CutMix in 0.5 of the batches"
    for share, words in ((0.75, "crop 4, flip, CutMix in 0.5 of the batches for the first 75%"), (0.0, "crop 4, flip")):
        assert augmentation_in_words(mixed.augment.model_copy(update={"cutmix_share": share})) == words
    nothing = {"augment.crop_padding": 0, "augment.flip": False}
    assert augmentation_in_words(with_changes(load_preset("wrn"), nothing).augment) == "none"
