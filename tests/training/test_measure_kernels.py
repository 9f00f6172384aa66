"""`scripts/measure_kernels.py`: what the kernels of `training.cpu_kernels` bring, and what it refuses."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from fmnist_tui.models import kernels
from fmnist_tui.models.kernels import build

if not (Path(__file__).parents[2] / "scripts" / "measure_kernels.py").is_file():
    pytest.skip("the scripts are not part of the installed package", allow_module_level=True)
from fmnist_tui.training import precision
from scripts import measure_kernels


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["measure_kernels.py", *arguments])
    return measure_kernels.main()


def test_steps_and_evaluations_take_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        build.library(torch.bfloat16)
    except build.Unavailable as error:
        pytest.skip(f"no kernels here: {error}")
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert measure_kernels.EVAL_IMAGES == 500
    monkeypatch.setattr(measure_kernels, "EVAL_IMAGES", 20)  # of 500 the eight evaluations take a minute
    turns = list[torch.dtype | None]()

    def noted(dtype: torch.dtype | None) -> None:
        turns.append(dtype)
        use(dtype)

    use = kernels.use
    monkeypatch.setattr(kernels, "use", noted)
    assert call(monkeypatch, "turbo", "--batch", "8", "--pairs", "2", "--threads", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "a step of 8 images of 28x28",
        "a step of 8 images of 20x20",
        "evaluating 20 images",
    ]
    figures = r"[0-9.]+ s without, [0-9.]+ s with; ratio [0-9.]+ \([0-9.]+ to [0-9.]+\), 2 pairs$"
    assert all(re.search(figures, line) for line in lines[1:])
    assert turns[1:] == [None, torch.bfloat16] * 12, "two pairs to warm up and two that count, three times"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "preset = 'nope': no preset of this name"),
        (["quick", "--pairs", "1"], "--pairs 1: quartiles need 2 or more"),
        (["quick", "--batch", "0"], "training.batch_size = 0: must be at least 1"),
        (["quick", "--threads", "0"], "training.threads = 0: must be auto, or at least 1"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(monkeypatch, *arguments)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_without_kernels_it_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kernels, "problem", lambda dtype: "no compiler")
    assert call(monkeypatch, "quick", "--threads", "1") == 2
    assert capsys.readouterr().err == "no kernels here: no compiler\n"
