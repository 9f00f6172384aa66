"""The Python API: its arrays are what the files hold, and the code in docs/python.md runs."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fmnist_tui import api
from fmnist_tui.data import source
from fmnist_tui.data.batches import normalize
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.metrics import EvalRecord, TrainRecord
from fmnist_tui.runs.status import State, Status
from tests.training.tiny import Trainer, tiny_config

DOCS = Path(__file__).parents[2] / "docs" / "python.md"


def finished(trainer: Trainer, epochs: int) -> RunDirectory:
    made = trainer.create(tiny_config(training={"epochs": epochs}))
    job = trainer.train(made)
    replace_bytes(made.status, job.reporter.status.model_copy(update={"state": State.FINISHED}).to_json().encode())
    return made


@pytest.fixture
def run(trainer: Trainer) -> RunDirectory:
    """A finished run on a few images."""
    return finished(trainer, epochs=2)


@pytest.fixture
def tested_run(trainer: Trainer) -> RunDirectory:
    """A finished run on a few training images, tested on the whole test set of its configuration."""
    sample = source.load_sample()
    trainer.images = replace(trainer.images, test_images=sample.test_images, test_labels=sample.test_labels)
    return finished(trainer, epochs=1)


def test_the_code_in_the_documentation_runs(tested_run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    if not DOCS.is_file():
        pytest.skip("the documentation is not here")
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), names)
    printed = capsys.readouterr().out
    result = api.load_run().result
    assert result is not None
    assert printed.startswith(f"{tested_run.id} finished 0.1\ntiny {result.test_accuracy}\n")
    assert f"{result.test_accuracy:.2f} % of 2,000 images" in printed and " taken for " in printed
    assert "torch.Size([8, 10])" in printed and f"{result.test_accuracy:.2f} % 1 run(s)" in printed


def test_metrics_are_the_records_as_arrays(run: RunDirectory) -> None:
    records = Trainer.steps(run)
    train = [record for record in records if isinstance(record, TrainRecord)]
    evaluated = [record for record in records if isinstance(record, EvalRecord)]
    found = api.metrics(api.load_run())
    assert found["train"]["loss"].tolist() == [record.loss for record in train]
    assert found["train"]["step"].tolist() == [record.step for record in train]
    assert found["eval"]["test_accuracy"].tolist() == [record.test_accuracy for record in evaluated]
    assert found["eval"]["epoch"].tolist() == [1, 2]
    kinds = {name: column.dtype.kind for name, column in found["train"].items()}
    assert kinds == {name: "i" if name in ("step", "epoch") else "M" if name == "time" else "f" for name in kinds}
    assert str(found["eval"]["time"][0]) == evaluated[0].time.removesuffix("Z")
    assert np.isnan(found["eval"]["tta_accuracy"]).all()
    assert {len(column) for column in found["eval"].values()} == {2}


def test_a_run_without_metrics_has_empty_columns_and_nan_stays_nan(trainer: Trainer) -> None:
    made = trainer.create(tiny_config())
    columns = api.metrics(api.load_run())
    assert columns["train"]["loss"].shape == (0,) and columns["eval"]["time"].dtype == np.dtype("datetime64[ms]")
    line = TrainRecord(step=1, epoch=1, loss=math.nan, loss_min=1.0, loss_max=math.inf, lr=0.1, images_per_second=1.0)
    made.metrics.write_text(line.to_json() + "\n")
    train = api.metrics(api.load_run())["train"]
    assert np.isnan(train["loss"]).all() and np.isposinf(train["loss_max"]).all()
    with pytest.raises(api.RunError, match="no predictions"):
        api.predictions(api.load_run())


def test_predictions_and_the_network_agree(tested_run: RunDirectory) -> None:
    found = api.load_run(tested_run.id[-4:])
    said, images = api.predictions(found), api.test_set(found).images[:50]
    model = api.model_from_checkpoint(found)
    assert not model.training
    with torch.inference_mode():
        probabilities = model(normalize(torch.from_numpy(images.copy()))).softmax(1).numpy()
    np.testing.assert_allclose(said.probabilities[:50], probabilities, atol=2e-3)


def test_what_is_asked_for_in_the_wrong_words_is_said(run: RunDirectory) -> None:
    found = api.load_run()
    with pytest.raises(ValueError, match="which = 'first': must be last or best"):
        api.predictions(found, "first")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="which = 'Best': must be one of last, previous, best; did you mean best"):
        api.model_from_checkpoint(found, "Best")  # type: ignore[arg-type]
    run.config.write_text("{")
    with pytest.raises(api.RunError, match=r"config\.json is damaged"):
        api.model_from_checkpoint(api.load_run())


def test_directories_may_be_named_as_text(run: RunDirectory, tmp_path: Path) -> None:
    assert [found.id for found in api.runs(str(tmp_path / "runs"))] == [run.id]
    assert api.runs(str(tmp_path / "nothing")) == [] and api.benchmark_table(tmp_path / "nothing").rows == []
    with pytest.raises(api.RunError, match="there are no runs"):
        api.load_run("last", tmp_path / "nothing")
    status = Status.model_validate_json(run.status.read_bytes())
    assert status.state is State.FINISHED


def test_only_the_network_needs_torch() -> None:
    code = "import sys, fmnist_tui.api as api; api.runs(); print(*({'torch', 'textual'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
