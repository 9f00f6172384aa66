"""`predict`: pictures of the test set get the run's own predictions, through the real process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.style import Style

from fmnist_tui.cli import main
from fmnist_tui.config import CLASSES
from fmnist_tui.console.predicting import RAMP, half_blocks
from fmnist_tui.data.source import Images
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training.predict import BATCH, probabilities
from fmnist_tui.training.restore import restore_model
from tests.training.tiny import Trainer, tiny_config


@pytest.fixture
def run(trainer: Trainer) -> RunDirectory:
    """A run of a few steps."""
    made = trainer.create(tiny_config(training={"epochs": 1}))
    trainer.train(made)
    return made


def test_the_test_sets_own_pictures_get_the_runs_own_predictions(
    run: RunDirectory, images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for at in range(12):
        Image.fromarray(images.test_images[at]).save(folder / f"{at:02d}.png")
    (folder / "broken.png").write_text("no picture")
    Image.fromarray(255 - np.asarray(Image.fromarray(images.test_images[3]).resize((140, 140)))).save("white.jpg")
    assert main(["predict", run.id[-4:], "gone.png", str(folder), "white.jpg", "--json", "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    assert "broken.png: is no picture" in captured.err and "gone.png: no such file" in captured.err
    said = [json.loads(line) for line in captured.out.splitlines()]
    stored = np.load(run.predictions)
    for at, answer in enumerate(said[:12]):
        assert answer["file"] == str(folder / f"{at:02d}.png") and answer["notes"] == []
        given = {guess["class"]: guess["probability"] for guess in answer["guesses"]}
        expected = dict(zip(CLASSES, stored["last_probabilities"][at].astype(float), strict=True))
        assert given == pytest.approx(expected, abs=2e-3)
        assert answer["class"] == answer["guesses"][0]["class"] and answer["epoch"] == 1
        assert answer["probability"] == max(given.values())
    assert said[12]["inverted"] and "inverted" in " ".join(said[12]["notes"])


def test_without_a_terminal_it_prints_text_only(
    run: RunDirectory, images: Images, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(images.test_images[0]).save("one.png")
    assert main(["predict", "last", "one.png", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "one.png" and len(lines) == 4
    assert all(line.partition("%")[2].strip() in CLASSES for line in lines[1:])


def test_what_is_refused(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.png").write_text("hello")
    for arguments, said in (
        (["text.png"], "is no picture"),
        (["nothing.png"], "no such file"),
        (["text.png", "--device", "gpu"], "did you mean cuda?"),
        (["text.png", "--invert", "maybe"], "'maybe'"),
        ([], "IMAGE"),
    ):
        assert main(["predict", "last", *arguments]) == 2
        assert said in capsys.readouterr().err
    run.checkpoint("best").unlink()
    assert main(["predict", "last", "text.png", "--checkpoint", "best"]) == 2
    assert "has no best checkpoint" in capsys.readouterr().err


def test_many_pictures_are_predicted_in_batches(run: RunDirectory, images: Images) -> None:
    model = restore_model(run).model
    many = np.resize(images.test_images, (BATCH + 3, 28, 28))
    said = probabilities(model, many, torch.device("cpu"))
    assert said.shape == (BATCH + 3, 10) and np.allclose(said.sum(1), 1, atol=1e-5)
    assert np.allclose(said[BATCH:], probabilities(model, many[BATCH:], torch.device("cpu")), atol=1e-5)
    assert probabilities(model, many[:0], torch.device("cpu")).shape == (0, 10)


def test_half_blocks_hold_every_pixel() -> None:
    pixels = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    text = half_blocks(pixels)
    assert text.plain == "▀▀▀▀\n▀▀▀▀"
    first, last = text.spans[0].style, text.spans[-1].style
    assert isinstance(first, Style) and first.color and first.bgcolor
    assert (first.color.name, first.bgcolor.name) == ("rgb(0,0,0)", "rgb(64,64,64)")
    assert isinstance(last, Style) and last.color and last.bgcolor
    assert (last.color.name, last.bgcolor.name) == ("rgb(176,176,176)", "rgb(240,240,240)")
    plain = half_blocks(np.asarray([[0, 255], [0, 255]], np.uint8), colours=False).plain
    assert plain == RAMP[0] + RAMP[-1]
