"""The HTML report: whole, well-formed, nothing from outside, no name that runs; and a browser opens it."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_tui.analysis.axis import Linear, Log
from fmnist_tui.analysis.predictions import load_test_set
from fmnist_tui.analysis.series import Series
from fmnist_tui.cli import main
from fmnist_tui.config import CLASSES, DataConfig
from fmnist_tui.fields import with_changes
from fmnist_tui.presets import load_preset
from fmnist_tui.report import render
from fmnist_tui.report.curves import COLUMNS, Level, Line, chart
from fmnist_tui.report.run_page import png
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord
from fmnist_tui.runs.records import Record
from fmnist_tui.runs.result import Result
from fmnist_tui.runs.status import State
from fmnist_tui.tui.screens.run_config import result_parts
from tests.predictions_maker import save_twice
from tests.unit.cli_runs import finished_run, make_run
from tests.unit.stored_runs import write_status

TEST = load_test_set(DataConfig(source="sample", split="standard"))
VOID = {"meta", "img", "br"}
EVIL = '"><script>document.title="ran"</script><img src=x onerror=alert(1)>&amp;'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Page(HTMLParser):
    """The page's elements, its text, and whether every element is closed where it should be."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.words += data


def with_metrics(run: RunDirectory, epochs: int = 3, steps: int = 100, nan_at: int | None = None) -> None:
    """Metrics of a run whose loss falls, with a spike of one step and perhaps a loss that is not finite."""
    records: list[Record] = []
    for epoch in range(1, epochs + 1):
        for at in range(1, steps + 1):
            step = (epoch - 1) * steps + at
            loss = 50.0 if step == 150 else math.nan if step == nan_at else 2.0 / step
            low_high = {"loss_min": 0.9 * loss, "loss_max": 1.1 * loss}
            records.append(TrainRecord(step=step, epoch=epoch, loss=loss, lr=0.1, images_per_second=900.0, **low_high))
        values = {"test_loss": 0.5, "test_accuracy": 80.0 + epoch, "train_loss": 0.4, "train_accuracy": 85.0}
        records.append(EvalRecord(epoch=epoch, step=epoch * steps, seconds=1.0, **values))
    run.metrics.write_text("".join(record.to_json() + "\n" for record in records))


def with_predictions(run: RunDirectory) -> np.ndarray:
    """Predictions of which every tenth is wrong, image 500 most confidently; returns the predicted classes."""
    classes = TEST.labels.copy()
    classes[::10] = (classes[::10] + 6) % 10
    sure = np.where(np.arange(len(classes)) == 500, 0.97, 0.6)
    probabilities = np.repeat((1 - sure)[:, None] / 9, 10, axis=1)
    probabilities[np.arange(len(classes)), classes] = sure
    save_twice(run.predictions, classes, probabilities.astype(np.float16), 3)
    return classes


@pytest.fixture
def run(runs_dir: Path) -> RunDirectory:
    """A finished run with everything there is to show."""
    made = finished_run(runs_dir)
    with_metrics(made)
    with_predictions(made)
    return made


def test_everything_of_a_run_is_on_the_page(run: RunDirectory, runs_dir: Path) -> None:
    write_status(run, steps_per_epoch=100)
    source = render(runs_dir, "html")
    page = Page(source)
    sections = [attributes for tag, attributes in page.tags if tag == "section"]
    assert [section["id"] for section in sections] == [f"run-{run.id}"]
    assert ("a", {"href": f"#run-{run.id}"}) in page.tags
    for part in ("WideResNet", "93.2775", "Loss (log scale)", "Accuracy in %", "Learning rate", "Configuration"):
        assert part in page.words, part
    assert "Confusion matrix after epoch 3" in page.words and "Made with" in page.words and "2.14.1" in page.words
    titles = [attributes.get("title") for _, attributes in page.tags]
    shirt = int((TEST.labels == 6).sum())
    taken = int(((TEST.labels == 6) & (with_predictions(run) == 2)).sum())
    assert f"Shirt taken for Pullover: {taken} of {shirt} ({100 * taken / shirt:.1f} %)" in titles
    assert "200 of 2,000 test images are wrong; the 24 it is surest of" in page.words


def test_an_evaluation_in_mid_epoch_lies_where_it_was_made(run: RunDirectory, runs_dir: Path) -> None:
    with_metrics(run, steps=47)
    late = {"test_loss": 0.4, "test_accuracy": 88.25, "train_loss": 0.4, "train_accuracy": 85.0}
    with run.metrics.open("a") as file:
        file.write(EvalRecord(epoch=4, step=164, seconds=1.0, **late).to_json() + "\n")
    page = render(runs_dir, "html")
    assert "epoch 3.489: test 88.25 %" in page and "epoch 3: test 83.00 %" in page and "epoch 4: test" not in page


def test_several_devices_are_counted(run: RunDirectory, runs_dir: Path) -> None:
    written = Result.model_validate_json(run.result.read_bytes())
    several = written.model_copy(update={"devices": 2})
    run.result.write_text(several.to_json())
    named = f"2 x {written.device_name}"
    assert f"device{named} ({written.precision})" in Page(render(runs_dir, "html")).words
    assert any(f"{named} ({written.device})" in words for words, _ in result_parts(several))
    assert several.last_status(None, None).device_name == named, "as the worker has it in status.json"


def test_the_mistakes_are_the_images_themselves_most_confident_first(run: RunDirectory, runs_dir: Path) -> None:
    pictures = [attributes for tag, attributes in Page(render(runs_dir, "html")).tags if tag == "img"]
    assert len(pictures) == 24
    first = pictures[0]
    kind, _, content = str(first["src"]).partition(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert (pixels == TEST.images[500]).all()
    truth = int(TEST.labels[500])
    assert first["alt"] == f"{CLASSES[truth]} taken for {CLASSES[(truth + 6) % 10]}, test 500"


def test_nothing_comes_from_outside_and_no_name_runs(runs_dir: Path) -> None:
    config = with_changes(load_preset("quick"), {"name": EVIL[:64], "training.epochs": 3})
    run = make_run(runs_dir, config, state=State.FAILED, error=f"{EVIL} \x1b[31m\u202e", epoch=2, epochs=3)
    with_metrics(run)
    with_predictions(run)
    source = render(runs_dir, "html")
    page = Page(source)
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"} == set()
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for _, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset", "xlink:href"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/png;base64,", "#run-")), (name, value[:80])
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub('base64,[^"]*', "", source))
    assert EVIL[:64] in page.words and "\x1b" not in source
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_named_runs_alone(run: RunDirectory, runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = finished_run(runs_dir)
    assert main(["report", "--format", "html", "--run", run.id, "--run", run.id]) == 0
    page = capsys.readouterr().out
    assert run.id in page and other.id not in page
    assert main(["report", "--format", "csv", "--run", other.id]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["report", "--format", "html", "--run", "nope"]) == 2
    assert "'nope'" in capsys.readouterr().err


def test_what_cannot_be_had_says_why(runs_dir: Path, tmp_path: Path) -> None:
    full = with_changes(load_preset("wrn"), {"name": "big"})
    without_data = make_run(runs_dir, full, state=State.STOPPED)
    without_data.launch.write_text(f'{{"data_dir": "{tmp_path / "nowhere"}"}}')
    with_predictions(without_data)
    damaged = make_run(runs_dir, state=State.STOPPED)
    damaged.predictions.write_bytes(b"x")
    broken = make_run(runs_dir, state=State.STOPPED)
    broken.config.write_text("{")
    page = Page(render(runs_dir, "html"))
    assert "No pictures of mistakes: The Fashion-MNIST data set was not found" in page.words
    assert "predictions.npz: is damaged" in page.words and "config.json is damaged" in page.words
    assert page.words.count("No metrics yet.") == 3


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def test_metrics_that_cannot_be_read_cost_their_run_its_curves_and_no_other_run(
    run: RunDirectory, runs_dir: Path
) -> None:
    other = finished_run(runs_dir)
    other.metrics.mkdir()
    page = render(runs_dir, "html")
    assert f"{other.id}: metrics.jsonl cannot be read: Is a directory" in page
    assert page.count('<section class="run"') == 2 and page.count("cannot be read") == 1


def test_a_long_curve_is_decimated_and_keeps_its_spike() -> None:
    series = Series()
    series.extend(np.arange(20_000) / 100, np.where(np.arange(20_000) == 7777, 9.0, 1.0))
    drawn = chart("Loss", [Line("train", "train", series, str)], Log())
    (path,) = re.findall(r'<path class="train" d="([^"]*)"', drawn)
    places = points(path)
    assert len(places) <= 2 * COLUMNS
    assert sum(y < 60 for _, y in places) == 1, "the spike, and nothing else, is up there"
    assert drawn.count("<circle") <= 130 and "train 9.0" in drawn


def test_what_is_not_finite_is_marked_and_not_bridged() -> None:
    series = Series()
    series.extend([1, 2, 3, 4], [1.0, math.nan, 1.0, 2.0])
    drawn = chart("Loss", [Line("train", "train", series, str)], Log(), [Level("a & b", 1.5)])
    (path,) = re.findall(r'<path class="train" d="([^"]*)"', drawn)
    assert path.count("M") == 2 and path.count("L") == 1
    assert "epoch 2: train is NaN" in drawn and "a &amp; b" in drawn
    Page(drawn)


def test_a_chart_of_nothing_a_point_or_only_nan() -> None:
    nothing, point, nan = Series(), Series(), Series()
    point.append(1, 50.0)
    nan.append(1, math.nan)
    assert chart("x", [Line("train", "train", nothing, str)], Linear()) == ""
    for series in (point, nan):
        drawn = chart("x", [Line("train", "train", series, str)], Linear((0, 100)))
        Page(drawn)
        assert "nan" not in drawn.replace("NaN", "") and "inf" not in drawn


def test_a_png_holds_the_pixels() -> None:
    pixels = np.arange(784, dtype=np.uint8).reshape(28, 28)
    content = base64.b64decode(png(pixels).partition(",")[2])
    assert (np.asarray(Image.open(io.BytesIO(content))) == pixels).all() and len(content) < 1500


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; the page is checked by a parser only")
def test_a_browser_opens_it_and_draws(run: RunDirectory, runs_dir: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    config = with_changes(load_preset("quick"), {"name": EVIL[:64]})
    with_metrics(make_run(runs_dir, config, state=State.STOPPED), nan_at=60)
    page = tmp_path / "report.html"
    page.write_text(render(runs_dir, "html"))
    shot = tmp_path / "shot.png"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--hide-scrollbars",
        "--window-size=1000,5000",
    ]
    done = subprocess.run(
        [*command, f"--screenshot={shot}", page.as_uri()], capture_output=True, text=True, timeout=180
    )
    assert shot.is_file(), done.stderr[-2000:]
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    assert ((abs(red - 31) < 8) & (abs(green - 111) < 8) & (abs(blue - 184) < 8)).sum() > 500, "the training curve"
    assert ((abs(red - 194) < 8) & (abs(green - 65) < 8) & (abs(blue - 12) < 8)).sum() > 200, "the test curve"
    assert ((red < 20) & (green < 20) & (blue < 20)).sum() > 30_000, "the black ground of 24 pictures of 84x84"
