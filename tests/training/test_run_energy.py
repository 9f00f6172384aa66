"""A run's energy over stops and resumes, with a meter that stands in for the GPU's."""

from __future__ import annotations

import pytest

from fmnist_tui.runs.requests import ControlRequest
from fmnist_tui.runs.result import Result
from fmnist_tui.training import energy
from fmnist_tui.training.desk import Desk
from fmnist_tui.training.job import Job, Stopped
from tests.training.tiny import Trainer, tiny_config


class Meter:
    """Every reading is 10 J more."""

    def __init__(self, uuids: list[str]) -> None:
        self.read = 0.0

    def joules(self) -> float | None:
        self.read += 10.0
        return self.read


class NoMeter(Meter):
    """A start on a device without a counter."""

    def joules(self) -> float | None:
        return None


@pytest.fixture
def stop_after_first_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start ends after its first epoch."""
    asked: list[bool] = []
    original = Desk.after_step

    def after_step(desk: Desk) -> None:
        if not asked:
            asked.append(True)
            desk.requests.answer(ControlRequest(id="1", request="stop_after_epoch"))
        original(desk)

    monkeypatch.setattr(Desk, "after_step", after_step)


def result_of(trainer: Trainer, first: type[Meter], second: type[Meter], monkeypatch: pytest.MonkeyPatch) -> Result:
    run = trainer.create(tiny_config(training={"epochs": 2}))
    monkeypatch.setattr(energy, "EnergyMeter", first)
    with pytest.raises(Stopped):
        trainer.train(run)
    monkeypatch.setattr(energy, "EnergyMeter", second)
    trainer.train(run)
    return Result.model_validate_json(run.result.read_bytes())


def test_the_starts_are_added(trainer: Trainer, stop_after_first_epoch: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # One checkpoint in the first start (10 J), one and the end in the second (10 J and 20 J).
    assert result_of(trainer, Meter, Meter, monkeypatch).energy_joules == 30.0


@pytest.mark.parametrize(("first", "second"), [(NoMeter, Meter), (Meter, NoMeter)])
def test_a_part_is_not_told_as_the_whole(
    trainer: Trainer,
    stop_after_first_epoch: None,
    monkeypatch: pytest.MonkeyPatch,
    first: type[Meter],
    second: type[Meter],
) -> None:
    assert result_of(trainer, first, second, monkeypatch).energy_joules is None


def test_a_cpu_has_no_counter(trainer: Trainer) -> None:
    run = trainer.create(tiny_config(training={"epochs": 1}))
    job: Job = trainer.train(run)
    assert energy.gpu_uuids(job.execution.device) == []
    assert Result.model_validate_json(run.result.read_bytes()).energy_joules is None
