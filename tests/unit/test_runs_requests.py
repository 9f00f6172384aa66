"""Requests to a worker: written, read, refused; by several at once, from damaged files, on a full disk."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import seconds_since
from fmnist_tui.runs.requests import read_control, send_request
from tests.full_disk import disk_full

# --- requests ----------------------------------------------------------------------------------------------------

ASK = """
import sys
from pathlib import Path
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.requests import send_request
run = RunDirectory(Path(sys.argv[1]))
print("ready", flush=True)
input()
for i in range(30):
    send_request(run, "edit", epochs=int(sys.argv[2]) + i)
"""


def test_two_that_ask_at_once_lose_no_request(
    empty_run: RunDirectory, children: Callable[..., subprocess.Popen[str]]
) -> None:
    askers = [children(ASK, str(empty_run.path), start) for start in ("100", "200")]
    for asker in askers:
        assert asker.stdin is not None
        asker.stdin.write("\n")
        asker.stdin.flush()
    for _ in range(200):
        read_control(empty_run)  # a reader in between meets no half-written file
    assert [asker.wait(60) for asker in askers] == [0, 0]
    requests = read_control(empty_run).requests
    asked = [request.epochs for request in requests if request.epochs]
    assert sorted(asked) == [*range(100, 130), *range(200, 230)]
    assert [epochs for epochs in asked if epochs < 200] == list(range(100, 130)), "in the order they were sent"
    assert len({request.id for request in requests}) == 60
    assert {path.name for path in empty_run.path.iterdir()} == {"control.json", empty_run.control_lock.name}


def test_a_request_is_written_and_returned(empty_run: RunDirectory) -> None:
    assert read_control(empty_run).requests == []
    stop = send_request(empty_run, "stop")
    edit = send_request(empty_run, "edit", epochs=12, stop_at_accuracy=94.5)
    assert read_control(empty_run).requests == [stop, edit]
    assert (edit.epochs, edit.stop_at_accuracy, stop.epochs) == (12, 94.5, None)
    assert seconds_since(stop.time) < 60


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"requests": [{"id": 1}]}', b"\xff"])
def test_a_damaged_control_file_holds_no_requests(content: bytes, empty_run: RunDirectory) -> None:
    empty_run.control.write_bytes(content)
    assert read_control(empty_run).requests == []
    made = send_request(empty_run, "checkpoint")
    assert read_control(empty_run).requests == [made]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
a_request = st.fixed_dictionaries(
    {"id": st.text(max_size=4) | json_values, "request": st.sampled_from(["stop", "edit", "shutdown"]) | json_values},
    optional={"epochs": json_values, "stop_at_accuracy": json_values, "time": json_values, "command": json_values},
)
contents = st.binary(max_size=60) | (
    st.lists(a_request, max_size=3).map(lambda made: json.dumps({"requests": made}).encode())
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents)
def test_no_control_file_does_more_than_ask(content: bytes, empty_run: RunDirectory) -> None:
    """Whatever is in it: nothing, or requests of the four kinds within their bounds; and one can still ask."""
    empty_run.control.write_bytes(content)
    for found in read_control(empty_run).requests:
        assert found.request in ("stop", "stop_after_epoch", "checkpoint", "edit")
        assert found.epochs is None or 1 <= found.epochs <= 100_000
        assert found.stop_at_accuracy is None or 0 <= found.stop_at_accuracy <= 100
    made = send_request(empty_run, "stop")
    assert read_control(empty_run).requests[-1] == made
    assert {path.name for path in empty_run.path.iterdir()} <= {"control.json", "control.lock"}


@pytest.mark.parametrize(
    ("request_", "values", "message"),
    [
        ("edit", {"epochs": 0}, "epochs = 0: must be at least 1"),
        ("edit", {"epochs": 100_001}, "epochs = 100001: must be at most 100000"),
        ("edit", {"epochs": 1.5}, "epochs = 1.5: must be a whole number"),
        ("edit", {"epochs": "many"}, "epochs = 'many': must be a whole number"),
        ("edit", {"stop_at_accuracy": 101}, "stop_at_accuracy = 101: must be at most 100"),
        ("edit", {"stop_at_accuracy": float("nan")}, "stop_at_accuracy = nan"),
        ("edit", {"epoch": 5}, "epoch: cannot be edited; did you mean epochs?"),
        ("edit", {"zzz": 5}, "zzz: cannot be edited; what can is epochs and stop_at_accuracy"),
        ("edit", {"id": "mine"}, "id: cannot be edited"),
        ("explode", {}, "request = 'explode': must be one of stop, stop_after_epoch, checkpoint, edit"),
    ],
)
def test_bad_requests_are_refused_and_not_written(
    request_: Any, values: dict[str, Any], message: str, empty_run: RunDirectory
) -> None:
    with pytest.raises(ValueError) as caught:
        send_request(empty_run, request_, **values)
    assert message in str(caught.value)
    assert not empty_run.control.exists()


def test_a_request_on_a_full_disk_is_refused_and_the_earlier_ones_stand(
    empty_run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_request(empty_run, "edit", epochs=12)
    disk_full(monkeypatch)
    with pytest.raises(ValueError, match=r"cannot be asked: No space left on device: .*make room there and ask again"):
        send_request(empty_run, "checkpoint")
    assert [request.request for request in read_control(empty_run).requests] == ["edit"]
