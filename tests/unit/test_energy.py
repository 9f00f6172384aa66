"""The energy meter on a stand-in for the driver, and how the report and `runs show` say what it counted."""

from __future__ import annotations

from pathlib import Path

import pynvml
import pytest

from fmnist_tui.monitor.energy import EnergyMeter
from fmnist_tui.report import collect, render, words
from tests.unit.fake_driver import FakeDriver
from tests.unit.report_runs import finish, preset


class Counting(FakeDriver):
    """GPUs whose counters stand where the test puts them, in millijoules."""

    def __init__(self, *counters: int) -> None:
        super().__init__(len(counters))
        self.counters = list(counters)

    def _nvmlDeviceGetTotalEnergyConsumption(self, gpu: int) -> int:
        return self.counters[gpu]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(5_000_000, 9_000_000).install(monkeypatch)


def test_the_difference_of_one_gpus_counter(driver: Counting) -> None:
    meter = EnergyMeter(["GPU-1a1b"])
    assert meter.joules() == 0.0
    driver.counters = [6_000_000, 9_012_345]
    assert meter.joules() == pytest.approx(12.345)
    meter.close()
    assert driver.connected == 0 and meter.joules() is None


def test_several_gpus_are_added(driver: Counting) -> None:
    meter = EnergyMeter(["GPU-0a0b", "GPU-1a1b"])
    driver.counters = [5_001_000, 9_002_000]
    assert meter.joules() == pytest.approx(3.0)


def test_no_counter_no_number(driver: Counting) -> None:
    assert EnergyMeter([]).joules() is None
    assert EnergyMeter(["GPU-1a1b", "MIG-1"]).joules() is None
    driver.errors["nvmlDeviceGetTotalEnergyConsumption", 1] = pynvml.NVML_ERROR_NOT_SUPPORTED
    assert EnergyMeter(["GPU-1a1b"]).joules() is None
    assert EnergyMeter(["GPU-0a0b", "GPU-1a1b"]).joules() is None
    driver.errors["nvmlInit", None] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert EnergyMeter(["GPU-0a0b"]).joules() is None


@pytest.mark.parametrize("code", ["NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_UNINITIALIZED"])
def test_a_counter_that_goes_away_or_falls_back(driver: Counting, code: str) -> None:
    meter = EnergyMeter(["GPU-0a0b"])
    driver.counters[0] = 10  # the driver was loaded anew
    assert meter.joules() is None
    driver.errors["nvmlDeviceGetTotalEnergyConsumption", 0] = getattr(pynvml, code)
    assert meter.joules() is None


@pytest.mark.parametrize(
    ("joules", "text"),
    [(0.0, "0.00 Wh"), (1260, "0.35 Wh"), (44_640, "12.4 Wh"), (1_116_000, "310 Wh"), (3_598_000, "999 Wh"),
     (4_464_000, "1.24 kWh"), (4.4e8, "122 kWh")],
)  # fmt: skip
def test_energy_in_words(joules: float, text: str) -> None:
    assert words.energy(joules) == text


def test_the_table_has_a_column_where_something_was_counted(runs_dir: Path) -> None:
    finish(runs_dir, preset("wrn"))
    assert "| Energy" not in render(runs_dir)
    finish(runs_dir, preset("wrn", seed=1), energy_joules=3_600_000.0)
    finish(runs_dir, preset("wrn", seed=2), energy_joules=7_200_000.0)
    finish(runs_dir, preset("densenet"))
    rows = {row.first.label: row for row in collect(runs_dir).rows}
    assert rows["wrn"].energy_joules is not None and rows["densenet"].energy_joules is None
    table = render(runs_dir).split("## The results to beat")[0]
    assert "1.50 kWh (2 of 3)" in table, "the mean of the two runs that were counted"
    assert '"energy_joules": 5400000.0' in render(runs_dir, "json")
