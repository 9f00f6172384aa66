"""The calibration's child process: read, refused, cancelled, timed out, and never left behind."""

from __future__ import annotations

import json
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from fmnist_tui.config import RunConfig
from fmnist_tui.presets import load_preset
from fmnist_tui.tui.calibration import Calibration, CalibrationCancelled, CalibrationError, Measurement, updated
from tests.tui.synthetic import wait_for

RESULT = {
    "images_per_second": 9870.0,
    "eval_images_per_second": 41000.0,
    "peak_memory_bytes": 7_730_941_132,
    "startup_seconds": 22.0,
    "device_name": "NVIDIA H200",
    "precision": "bf16",
}


def child(tmp_path: Path, body: str) -> tuple[str, str]:
    """A command whose program has `config` (parsed), `say(**values)` and argv."""
    head = """
    import json, os, subprocess, sys, time
    def say(**values): print(json.dumps(values), flush=True)
    config = json.loads(sys.stdin.read())
    """
    path = tmp_path / "child.py"
    path.write_text(textwrap.dedent(head) + textwrap.dedent(body))
    return sys.executable, str(path)


def test_the_child_gets_the_configuration_and_the_options_and_its_result_comes_back(tmp_path: Path) -> None:
    body = f"""
    open({str(tmp_path / "seen")!r}, "w").write(json.dumps([config, sys.argv[1:]]))
    say(phase="warming up")
    print("not JSON"); print("[1]"); print()
    say(phase="training", images_per_second=5000.0)
    say(**{RESULT!r})
    """
    heard: list[Measurement] = []
    config = load_preset("wrn")
    calibration = Calibration(config, "cuda:0", tmp_path, command=child(tmp_path, body), seconds=2.5)
    result = calibration.run(heard.append)
    seen_config, options = json.loads((tmp_path / "seen").read_text())
    assert RunConfig.model_validate_json(json.dumps(seen_config)) == config
    assert options == ["--device", "cuda:0", "--seconds", "2.5", "--data-dir", str(tmp_path)]
    assert heard[0].phase == "warming up"
    assert heard[0].images_per_second is None
    assert any(known.images_per_second == 5000.0 for known in heard)
    speed = result.speed("cuda:0")
    assert (speed.images_per_second, speed.eval_images_per_second) == (9870.0, 41000.0)
    assert (speed.peak_memory_bytes, speed.startup_seconds) == (7_730_941_132, 22.0)
    assert (speed.device_name, speed.precision) == ("NVIDIA H200", "bf16")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("say(error='Out of memory: 80 GB asked for'); sys.exit(4)", "Out of memory: 80 GB asked for"),
        ("say(error='CUDA error: unspecified launch failure'); sys.exit(4)", "launch failure; choose another device"),
        ("say(error='No data. `fmnist-tui data fetch` gets it.'); sys.exit(3)", "`fmnist-tui data fetch` gets it.$"),
        ("sys.exit('no such module: torch')", r"exit code 1\): no such module: torch; `fmnist-tui doctor`"),
        ("say(images_per_second=100.0); os.kill(os.getpid(), 9)", "killed, perhaps because memory ran out; a smaller"),
        ("say(images_per_second=float('nan'))", "without a result"),
        ("", "without a result"),
    ],
)
def test_a_child_that_gives_no_speed_is_an_error_with_its_reason(tmp_path: Path, body: str, reason: str) -> None:
    calibration = Calibration(load_preset("quick"), "cpu", command=child(tmp_path, body))
    with pytest.raises(CalibrationError, match=reason):
        calibration.run(lambda _: None)


def test_a_program_that_cannot_be_started() -> None:
    with pytest.raises(CalibrationError, match="cannot be started"):
        Calibration(load_preset("quick"), "cpu", command=["/no/such/program"]).run(lambda _: None)


HANGING = """
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
sys.stderr.write("x" * 1_000_000)  # more than a pipe holds
say(phase=f"{os.getpid()} {grandchild.pid}")
time.sleep(600)
"""


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def test_cancelled_while_it_hangs_the_child_and_its_children_are_killed(tmp_path: Path) -> None:
    pids: list[int] = []
    said = threading.Event()

    def report(known: Measurement) -> None:
        pids.extend(map(int, known.phase.split()))
        said.set()

    calibration = Calibration(load_preset("quick"), "cpu", command=child(tmp_path, HANGING))
    ended: list[BaseException] = []

    def run() -> None:
        try:
            calibration.run(report)
        except CalibrationCancelled as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert said.wait(20)
    assert psutil.pid_exists(pids[0])
    calibration.cancel()
    thread.join(10)
    assert ended
    assert wait_for(lambda: gone(pids))
    calibration.cancel()  # once more does no harm


def test_a_child_that_falls_silent_is_killed(tmp_path: Path) -> None:
    pids: list[int] = []
    calibration = Calibration(load_preset("quick"), "cpu", command=child(tmp_path, HANGING), silence=2.0)
    with pytest.raises(CalibrationError, match=r"nothing was heard of the worker process for 2 s.*batch_size"):
        calibration.run(lambda known: pids.extend(map(int, known.phase.split())))
    assert wait_for(lambda: gone(pids))


def test_a_child_that_falls_silent_after_it_told_a_speed_has_measured_that(tmp_path: Path) -> None:
    body = "say(images_per_second=12.5)\ntime.sleep(600)"
    calibration = Calibration(load_preset("wrn"), "cpu", command=child(tmp_path, body), silence=2.0)
    result = calibration.run(lambda _: None)
    assert (result.images_per_second, result.eval_images_per_second) == (12.5, None)


def test_a_child_that_speaks_now_and_then_may_take_its_time(tmp_path: Path) -> None:
    body = """
    for step in range(6):
        time.sleep(1)
        say(phase=f"step {step}")
    say(images_per_second=12.5)
    """
    calibration = Calibration(load_preset("wrn"), "cpu", command=child(tmp_path, body), silence=5.0)
    assert calibration.run(lambda _: None).images_per_second == 12.5


def test_cancelled_before_it_started_starts_nothing(tmp_path: Path) -> None:
    calibration = Calibration(
        load_preset("quick"), "cpu", command=child(tmp_path, f"open({str(tmp_path / 'x')!r}, 'w')")
    )
    calibration.cancel()
    with pytest.raises(CalibrationCancelled):
        calibration.run(lambda _: None)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("line", [b"", b"x", b"3", b'{"images_per_second": "fast"}', b'{"images_per_second": -1}'])
def test_lines_that_say_nothing(line: bytes) -> None:
    assert updated(Measurement(), line).images_per_second is None
