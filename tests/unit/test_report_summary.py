"""A run's row at its end, and the report's words for durations, speeds and differences."""

from __future__ import annotations

import pytest

from fmnist_tui.report import summary_row, words
from tests.results import result_of
from tests.unit.report_runs import preset


def test_the_summary_of_a_run() -> None:
    config = preset("wrn")
    lines = summary_row(result_of(config, "x"), config).splitlines()
    assert max(map(len, lines[:3])) <= 80
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "WideResNet",
        "36,478,906",
        "94.81",
        "1 h 12 m",
        "200",
    ]
    text = "\n".join(lines[3:])
    assert "Best 94.93 % in epoch 187; 9,870 images/s on NVIDIA H200, bf16" in text
    assert "full, custom (30,000 / 40,000)" in text
    assert "93.28 %: this run's best is +1.65 from it, its last epoch +1.53." in text


def test_the_summary_of_a_changed_sample_run() -> None:
    config = preset("quick", training__epochs=2)
    text = summary_row(result_of(config, "x", device_name="CPU, 2 threads", images_per_second=16.42), config)
    assert "16.4 images/s on CPU, 2 threads" in text and "sample, standard (6,000 / 2,000)" in text
    assert "Changed: training.epochs 8 -> 2." in text and "eference" not in text
    assert max(map(len, text.splitlines()[:3])) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (52.34, "52.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 0 s"),
        (725, "12 m 5 s"),
        (3599.4, "59 m 59 s"),
        (3599.6, "1 h 0 m"),
        (4330, "1 h 12 m"),
        (86_399, "1 d 0 h"),
        (5 * 86_400 + 3 * 3600, "5 d 3 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(8.37, "8.4"), (99.94, "99.9"), (99.96, "100"), (9870.4, "9,870"), (123456, "123,456")]
)
def test_speeds(value: float, text: str) -> None:
    assert words.speed(value) == text


def test_differences_have_a_sign() -> None:
    assert [words.signed(value) for value in (0.126, -0.126, 0.004, -0.004)] == ["+0.13", "-0.13", "0.00", "0.00"]
