"""What only the complete files can show: both splits image by image, and the sample against its source."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist_tui.data import files, source
from fmnist_tui.data.split import split, split_sizes

pytestmark = pytest.mark.full_data


@pytest.fixture(scope="module")
def directory(full_data_dir: Path) -> Path:
    """The directory of the files."""
    return full_data_dir


@pytest.fixture(scope="module")
def full(directory: Path) -> source.Images:
    return source.load_full(directory)


@pytest.fixture(scope="module")
def raw(directory: Path) -> list[bytes]:
    """The four files' pixels and labels, read without the code under test."""
    contents = []
    for name, header in (
        ("train-images-idx3", 16),
        ("train-labels-idx1", 8),
        ("t10k-images-idx3", 16),
        ("t10k-labels-idx1", 8),
    ):
        path = files.locate(directory, f"{name}-ubyte")
        assert path is not None
        data = path.read_bytes()
        contents.append((gzip.decompress(data) if path.suffix == ".gz" else data)[header:])
    return contents


def test_the_sums_are_those_of_the_files(full: source.Images, directory: Path) -> None:
    assert full.source == "full" and full.directory == directory
    assert [record.state for record in source.verify(directory)] == ["present"] * 4
    path = files.locate(directory, "t10k-labels-idx1-ubyte")
    assert path is not None
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == full.sha256["t10k-labels-idx1-ubyte"]


def test_both_splits_image_by_image(full: source.Images, raw: list[bytes]) -> None:
    train_images, train_labels, test_images, test_labels = raw
    image = 28 * 28
    custom, standard = split(full, "custom"), split(full, "standard")
    assert (len(custom.train_labels), len(custom.test_labels)) == split_sizes("full", "custom") == (30_000, 40_000)
    assert (len(standard.train_labels), len(standard.test_labels)) == split_sizes("full", "standard")
    assert custom.train_images.tobytes() == train_images[: 30_000 * image]
    assert custom.train_labels.tobytes() == train_labels[:30_000]
    assert custom.test_images.tobytes() == test_images + train_images[30_000 * image :]
    assert custom.test_labels.tobytes() == test_labels + train_labels[30_000:]
    assert standard.train_images.tobytes() == train_images and standard.train_labels.tobytes() == train_labels
    assert standard.test_images.tobytes() == test_images and standard.test_labels.tobytes() == test_labels
    assert np.bincount(standard.train_labels).tolist() == [6000] * 10
    assert abs(full.train_images.mean() / 255 - 0.2860) < 1e-4
    assert abs(full.train_images.std() / 255 - 0.3530) < 1e-4


def test_the_sample_is_where_its_indices_say(full: source.Images) -> None:
    sample = source.load_sample()
    train, test = (np.load(source.SAMPLE_DIR / f"{part}-indices.npy") for part in ("train", "test"))
    assert np.array_equal(full.train_images[train], sample.train_images)
    assert np.array_equal(full.train_labels[train], sample.train_labels)
    assert np.array_equal(full.test_images[test], sample.test_images)
    assert np.array_equal(full.test_labels[test], sample.test_labels)


def test_the_script_makes_the_shipped_sample_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = Path(__file__).parents[2] / "scripts" / "make_sample.py"
    spec = importlib.util.spec_from_file_location("make_sample", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["make_sample.py", "--data-dir", str(directory), "--output", str(tmp_path)])
    module.main()
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == sorted(path.name for path in source.SAMPLE_DIR.iterdir() if path.suffix in (".gz", ".npy", ".json"))
    for name in made:
        new, shipped = (tmp_path / name).read_bytes(), (source.SAMPLE_DIR / name).read_bytes()
        if name.endswith(".gz"):  # another zlib may pack the same content otherwise
            assert new[:10] == shipped[:10] and new[4:8] == bytes(4), "time or name in the gzip header"
            new, shipped = gzip.decompress(new), gzip.decompress(shipped)
        assert new == shipped, name
