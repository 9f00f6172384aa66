"""Requests and signals as the training loop meets them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from fmnist_tui.runs import starting
from fmnist_tui.runs.requests import send_request
from fmnist_tui.training import control
from fmnist_tui.training.control import ControlReader, StopSignal
from tests.training.tiny import tiny_config


def test_control_reader_returns_each_request_once(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_tui.training.control.POLL_SECONDS", 0.0)
    run = starting.create_run(runs_dir, tiny_config())
    reader = ControlReader(run)
    assert reader.poll() == []
    send_request(run, "checkpoint")
    send_request(run, "edit", epochs=5)
    assert [request.request for request in reader.poll()] == ["checkpoint", "edit"]
    assert reader.poll() == []
    send_request(run, "stop")
    reader.forget()
    assert run.control.exists(), "a request not yet seen stays"
    assert [request.request for request in reader.poll()] == ["stop"]
    reader.forget()
    assert not run.control.exists()
    run.control.write_bytes(b'{"requests": [{"id": 1')
    assert reader.poll() == []


def test_the_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        stop = StopSignal()
        stop.install()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received == "SIGTERM"
        os.kill(os.getpid(), signal.SIGTERM)  # the same one, from a scheduler that tells every process and the parent
        monkeypatch.setattr(control, "SECOND_SIGNAL_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
