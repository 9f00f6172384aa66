"""The built wheel finds its presets and its sample outside the checkout; the sdist has what its tests need."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip install .` builds it."""
    return built("wheel", tmp_path_factory.mktemp("wheel"))


def built(target: str, place: Path) -> Path:
    """The file that is built of the checkout, in `place`."""
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("the tests run without the repository")
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (file,) = place.iterdir()
    return file


def test_it_holds_the_presets_the_sample_and_the_licences(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    presets = {f"fmnist_tui/shipped_presets/{path.name}" for path in (ROOT / "presets").glob("*.toml")}
    sample = {f"fmnist_tui/data/sample/{path.name}" for path in (ROOT / "fmnist_tui" / "data" / "sample").iterdir()}
    assert len(presets) >= 6 and presets <= names
    assert len(sample) >= 8 and sample <= names
    kernels = {f"fmnist_tui/models/kernels/{path.name}" for path in (ROOT / "fmnist_tui/models/kernels").glob("*.[ch]")}
    assert len(kernels) >= 10 and kernels <= names
    assert "fmnist_tui/py.typed" in names, "else mypy takes nothing from fmnist_tui.api in another project"
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


def test_the_source_distribution_holds_all_that_its_tests_use(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path)) as archive:
        names = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    for kept in ("tests/conftest.py", "scripts/soak.py", "benchmarks/campaign.py", "README.md", "fmnist_tui/py.typed"):
        assert Path(kept) in names, kept
    results = {path.relative_to(ROOT) for path in (ROOT / "benchmarks" / "archive").rglob("result.json")}
    assert results and results <= names
