"""The ids of runs: readable, and no path out of the runs directory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_tui.runs.layout import RUN_ID, new_run_id

# --- names and creation ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(), st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)))
def test_an_id_is_an_id_whatever_the_name(name: str, now: datetime) -> None:
    run_id = new_run_id(name, now.replace(tzinfo=UTC))
    assert RUN_ID.fullmatch(run_id)
    assert Path(run_id).name == run_id
    assert run_id.startswith(f"{now:%Y%m%d-%H%M%S}-")


def test_ids_are_readable_and_differ() -> None:
    now = datetime(2026, 11, 23, 14, 25, 1, tzinfo=UTC)
    assert new_run_id("wrn", now)[:-4] == "20261123-142501-wrn-"
    assert new_run_id("My  Run/../x", now)[:-4] == "20261123-142501-my-run-x-"
    assert new_run_id("訓練", now)[:-4] == "20261123-142501-run-"
    assert new_run_id("x" * 99, now)[:-4] == f"20261123-142501-{'x' * 40}-"
    assert len({new_run_id("wrn", now) for _ in range(200)}) > 190  # of 800,000: two alike are rare, not impossible


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "20261123-142501-wrn-k3f9/..", "20261123-142501-wrn-k3f9\n",
                                  "20261123-142501--k3f", "٢0261123-142501-wrn-k3f9"])  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    assert not RUN_ID.fullmatch(text)
