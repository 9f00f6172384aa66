"""The built wheel, unpacked outside the checkout, finds its presets and its sample."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip install .` builds it."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("the tests run without the repository")
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (built,) = place.glob("*.whl")
    return built


def test_it_holds_the_presets_the_sample_and_the_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    presets = {f"fmnist_tui/shipped_presets/{path.name}" for path in (ROOT / "presets").glob("*.toml")}
    sample = {f"fmnist_tui/data/sample/{path.name}" for path in (ROOT / "fmnist_tui" / "data" / "sample").iterdir()}
    assert len(presets) >= 6 and presets <= names
    assert len(sample) >= 8 and sample <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "docs/")) for name in names)


def test_outside_the_checkout_it_lists_presets_and_reads_its_sample(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(place)
    environment = os.environ | {"PYTHONPATH": str(place)}
    code = (
        "import fmnist_tui, sys\n"
        "from fmnist_tui.data.source import load_sample\n"
        "from fmnist_tui.presets import find_presets, load_preset\n"
        "print(fmnist_tui.__file__, len(load_sample().train_labels), *find_presets())\n"
        "assert load_preset('wrn').training.epochs == 200\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    file, images, *presets = done.stdout.split()
    assert file.startswith(str(place)) and images == "6000"
    assert {"quick", "wrn", "densenet", "dpn", "shake-shake-96", "shake-shake-64"} <= set(presets)
