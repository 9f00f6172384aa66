"""A few sequences of `accidents`; `scripts/accidents.py` goes through more of them."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.process.accidents import Accidents, References

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="no limit of a file's size that can be set here"),
]


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> References:
    return References(tmp_path_factory.mktemp("references"))


@pytest.mark.parametrize("seed", [1, 4, 12, 13])
def test_whatever_happens_it_ends_as_if_nothing_had(runs_dir: Path, references: References, seed: int) -> None:
    accidents = Accidents(runs_dir, seed, references)
    try:
        accidents.to_the_end(lives=3)
    except BaseException:
        print("\n".join(accidents.told))
        raise
    finally:
        accidents.worker.kill()
