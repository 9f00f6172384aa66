"""Finding, checking and reading the IDX files; the shipped sample stands in for the full set where it can."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist_tui import paths
from fmnist_tui.config import DataConfig
from fmnist_tui.data import files, source
from fmnist_tui.data.source import DataError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = (spec.name for spec in files.FULL_FILES)


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """The two default places moved below tmp_path, and the user's own settings hidden."""
    monkeypatch.delenv("FMNIST_TUI_DATA_DIR", raising=False)
    monkeypatch.setenv("FMNIST_TUI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(paths, "DEBIAN_DATA_DIR", tmp_path / "debian")
    return {"cache": tmp_path / "cache" / "fashion-mnist", "debian": tmp_path / "debian"}


@pytest.fixture
def small_set(monkeypatch: pytest.MonkeyPatch) -> tuple[files.FileSpec, ...]:
    """The sample's files declared to be the full set, so that a whole set is 3 MB."""
    contents = json.loads((source.SAMPLE_DIR / source.SAMPLE_CONTENTS).read_text())
    specs = tuple(files.FileSpec(spec.name, **contents[spec.name]) for spec in files.FULL_FILES)
    monkeypatch.setattr(files, "FULL_FILES", specs)
    return specs


def put_set(directory: Path, packed: bool = True) -> Path:
    directory.mkdir(parents=True)
    for path in source.SAMPLE_DIR.glob("*-ubyte.gz"):
        if packed:
            shutil.copy(path, directory)
        else:
            (directory / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return directory


def test_a_named_directory_is_the_only_one_searched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, places: dict[str, Path], small_set: tuple[files.FileSpec, ...]
) -> None:
    put_set(places["debian"])
    assert source.search_dirs() == [places["cache"], places["debian"]]
    assert source.find() == places["debian"]
    assert source.search_dirs(tmp_path / "mine") == [tmp_path / "mine"]
    with pytest.raises(DataError, match="no such directory") as caught:
        source.load_full(tmp_path / "mine")
    assert str(tmp_path / "mine") in str(caught.value)
    assert str(places["debian"]) not in str(caught.value)
    monkeypatch.setenv("FMNIST_TUI_DATA_DIR", str(tmp_path / "theirs"))
    with pytest.raises(DataError, match="theirs"):
        source.find()
    assert source.search_dirs(tmp_path / "mine") == [tmp_path / "mine"]  # the option wins over the environment


def test_the_cache_comes_before_the_system_directory(
    places: dict[str, Path], small_set: tuple[files.FileSpec, ...]
) -> None:
    put_set(places["debian"])
    put_set(places["cache"], packed=False)
    assert source.find() == places["cache"]
    (places["cache"] / TEST_LABELS).unlink()
    assert source.find() == places["debian"]  # a part of a set is not a set


def test_nothing_found_says_what_was_tried_and_how_to_get_it(
    places: dict[str, Path], small_set: tuple[files.FileSpec, ...]
) -> None:
    put_set(places["debian"])
    (places["debian"] / f"{TEST_LABELS}.gz").unlink()
    with pytest.raises(DataError) as caught:
        source.load_full()
    text = str(caught.value)
    assert f"{places['cache']}: no such directory" in text
    assert f"{places['debian']}: lacks {TEST_LABELS}" in text
    for way in ("apt-get install dataset-fashion-mnist", "--data-dir", "--data sample"):
        assert way in text
    places["cache"].parent.mkdir()
    places["cache"].write_text("")
    with pytest.raises(DataError, match="not a directory"):
        source.load_full()


@pytest.mark.parametrize("layout", ["", "FashionMNIST/raw", "raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_every_layout_and_form_reads_the_same(
    tmp_path: Path, small_set: tuple[files.FileSpec, ...], layout: str, packed: bool
) -> None:
    put_set(tmp_path / "data" / layout, packed)
    images = source.load_full(tmp_path / "data")
    sample = source.load_sample()
    assert images.source == "full" and images.directory == tmp_path / "data"
    assert images.sha256 == sample.sha256 == {spec.name: spec.sha256 for spec in small_set}
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(images, part), getattr(sample, part))


def damage(path: Path, how: str) -> None:
    packed = path.read_bytes()
    content = gzip.decompress(packed)
    if how == "truncated gz":
        path.write_bytes(packed[: len(packed) // 2])
    elif how == "corrupt gz":
        middle = len(packed) // 2
        path.write_bytes(packed[:middle] + bytes(64) + packed[middle + 64 :])
    elif how == "wrong checksum":
        path.write_bytes(packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:])
    elif how == "not gz":
        path.write_bytes(b"<html>please log in</html>")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "one bit":
        path.write_bytes(gzip.compress(content[:-1] + bytes([content[-1] ^ 1]), 1))
    elif how == "too short":
        path.write_bytes(gzip.compress(content[:-28], 1))
    elif how == "too long":
        path.write_bytes(gzip.compress(content + b"\0", 1))
    elif how == "a directory":
        path.unlink()
        path.mkdir()
    else:
        raise AssertionError(how)


@pytest.mark.parametrize("name", [TEST_IMAGES, TEST_LABELS])
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("truncated gz", "cannot be read"),
        ("corrupt gz", "cannot be read|SHA-256|more than"),
        ("wrong checksum", "cannot be read: CRC"),
        ("not gz", "cannot be read: Not a gzipped"),
        ("empty", "has 0 bytes of content"),
        ("one bit", "SHA-256"),
        ("too short", "bytes of content, not"),
        ("too long", "has more than its"),
    ],
)
def test_a_damaged_file_is_named_and_refused(
    tmp_path: Path, small_set: tuple[files.FileSpec, ...], name: str, how: str, told: str
) -> None:
    path = put_set(tmp_path / "data") / f"{name}.gz"
    damage(path, how)
    for read in (source.load_full, source.verify):
        with pytest.raises(DataError, match=told) as caught:
            read(tmp_path / "data")
        assert str(path) in str(caught.value)
        assert f"{TRAIN_IMAGES}.gz" not in str(caught.value)
        assert "apt-get install dataset-fashion-mnist" in str(caught.value)
        assert "data fetch --data-dir" in str(caught.value)
    states = {record.name: record for record in source.status(tmp_path / "data")}
    assert states[name].state == "damaged" and states[name].problem and states[name].path == path
    assert states[TRAIN_IMAGES].state == "present"


def test_a_damaged_plain_file_is_refused_too(tmp_path: Path, small_set: tuple[files.FileSpec, ...]) -> None:
    path = put_set(tmp_path / "data", packed=False) / TEST_IMAGES
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="has 1,000 bytes of content, not 1,568,016"):
        source.load_full(tmp_path / "data")


def test_a_damaged_set_is_not_passed_over_for_another_place(
    places: dict[str, Path], small_set: tuple[files.FileSpec, ...]
) -> None:
    put_set(places["debian"])
    damage(put_set(places["cache"]) / f"{TEST_LABELS}.gz", "one bit")
    with pytest.raises(DataError, match=str(places["cache"])):
        source.load_full()


def test_a_directory_in_a_files_place_is_missing(tmp_path: Path, small_set: tuple[files.FileSpec, ...]) -> None:
    damage(put_set(tmp_path / "data") / f"{TEST_LABELS}.gz", "a directory")
    with pytest.raises(DataError, match=f"lacks {TEST_LABELS}"):
        source.load_full(tmp_path / "data")


def test_status_tells_every_place_and_file(places: dict[str, Path], small_set: tuple[files.FileSpec, ...]) -> None:
    put_set(places["debian"])
    records = source.status()
    assert [record.directory for record in records] == [places["cache"]] * 4 + [places["debian"]] * 4
    assert {record.state for record in records[:4]} == {"missing"}
    assert [(r.name, r.bytes, r.sha256, r.state) for r in records[4:]] == [(*s, "present") for s in small_set]
    assert source.verify() == records[4:]


def test_the_sample_is_balanced_and_whole() -> None:
    sample = source.load_sample()
    assert sample.source == "sample" and sample.directory == source.SAMPLE_DIR
    assert sample.train_images.shape == (6000, 28, 28) and sample.test_images.shape == (2000, 28, 28)
    assert sample.train_images.dtype == sample.train_labels.dtype == np.uint8
    assert np.bincount(sample.test_labels).tolist() == [200] * 10
    for half in (sample.train_labels[:3000], sample.train_labels[3000:]):
        assert np.bincount(half).tolist() == [300] * 10
    everything = np.concatenate([sample.train_images, sample.test_images]).reshape(8000, -1)
    assert (everything.max(1) > 0).all() and abs(everything.mean() / 255 - 0.286) < 0.01
    assert not sample.train_images.flags.writeable
    train, test = (np.load(source.SAMPLE_DIR / f"{part}-indices.npy") for part in ("train", "test"))
    assert (np.diff(train.astype(int)) > 0).all() and (np.diff(test.astype(int)) > 0).all()
    assert train[2999] < 30_000 <= train[3000] and train[-1] < 60_000 and test[-1] < 10_000
    assert "Copyright (c) 2017 Zalando SE" in (source.SAMPLE_DIR / "LICENSE").read_text()


def test_a_damaged_sample_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(source.SAMPLE_DIR, tmp_path / "sample")
    monkeypatch.setattr(source, "SAMPLE_DIR", tmp_path / "sample")
    damage(tmp_path / "sample" / f"{TEST_LABELS}.gz", "one bit")
    with pytest.raises(DataError, match="reinstall"):
        source.load_sample()
    (tmp_path / "sample" / source.SAMPLE_CONTENTS).write_text("{")
    with pytest.raises(DataError, match="reinstall"):
        source.load_sample()


def test_load_takes_the_sample_only_when_asked(tmp_path: Path, small_set: tuple[files.FileSpec, ...]) -> None:
    assert source.load(DataConfig(source="sample")).source == "sample"
    with pytest.raises(DataError):
        source.load(DataConfig(source="full"), tmp_path / "nowhere")
    put_set(tmp_path / "data")
    assert source.load(DataConfig(source="full"), tmp_path / "data").source == "full"


def test_reading_the_data_imports_no_torch() -> None:
    code = (
        "import sys; from fmnist_tui.data import source, split;"
        "split.split(source.load_sample(), 'custom');"
        "assert not {'torch', 'torchvision', 'textual'} & set(sys.modules), 'torch came in'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
