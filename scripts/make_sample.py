"""Make the sample shipped in fmnist_tui/data/sample from the full Fashion-MNIST files.

Run by hand from the repository root: `python scripts/make_sample.py [--data-dir DIR] [--output DIR]`. It
rewrites the sample's data files bit for bit (with another zlib the .gz wrappers may differ, the contents never
do). The choice: of each class 300 of the first 30,000 official training images and 300 of the last, and
200 of the official test images, in file order, so that both halves of the sample are balanced like its whole.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fmnist_tui.config import CLASSES
from fmnist_tui.data.source import SAMPLE_CONTENTS, SAMPLE_DIR, load_full

SEED = 40_000
TRAIN_PER_CLASS_AND_HALF = 300
TEST_PER_CLASS = 200


def choose(labels: NDArray[np.uint8], per_class: int, keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Indices, ascending, of the `per_class` images of every class that have the smallest random keys."""
    chosen = []
    for label in range(len(CLASSES)):
        members = np.flatnonzero(labels == label)
        chosen.append(members[np.argsort(keys[members], kind="stable")[:per_class]])
    return np.sort(np.concatenate(chosen))


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An array of unsigned bytes as an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def compress(content: bytes) -> bytes:
    """gzip without time and file name, so that equal contents give equal files."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as stream:
        stream.write(content)
    return buffer.getvalue()


def main() -> None:
    """Read the full data set, write the sample."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="directory of the full data set (default: searched for)")
    parser.add_argument("--output", type=Path, default=SAMPLE_DIR, help="where to write (default: %(default)s)")
    options = parser.parse_args()
    full = load_full(options.data_dir)
    # Raw PCG64 output, because NumPy promises it for ever, and not that of Generator.choice.
    random = np.random.PCG64(SEED)
    train_keys, test_keys = (random.random_raw(len(labels)) for labels in (full.train_labels, full.test_labels))
    half = len(full.train_labels) // 2
    train = np.concatenate(
        [
            choose(full.train_labels[:half], TRAIN_PER_CLASS_AND_HALF, train_keys[:half]),
            choose(full.train_labels[half:], TRAIN_PER_CLASS_AND_HALF, train_keys[half:]) + half,
        ]
    )
    test = choose(full.test_labels, TEST_PER_CLASS, test_keys)
    options.output.mkdir(parents=True, exist_ok=True)
    contents = {}
    for name, array in (
        ("train-images-idx3-ubyte", full.train_images[train]),
        ("train-labels-idx1-ubyte", full.train_labels[train]),
        ("t10k-images-idx3-ubyte", full.test_images[test]),
        ("t10k-labels-idx1-ubyte", full.test_labels[test]),
    ):
        content = idx_bytes(array)
        (options.output / f"{name}.gz").write_bytes(compress(content))
        contents[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for name, indices in (("train-indices.npy", train), ("test-indices.npy", test)):
        np.save(options.output / name, indices.astype(np.uint16))
    (options.output / SAMPLE_CONTENTS).write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    print(f"{len(train):,} training and {len(test):,} test images written to {options.output}")


if __name__ == "__main__":
    main()
