"""`doctor` with the real torch, in its own process."""

from __future__ import annotations

import json
from importlib import metadata

from tests.printed import json_lines
from tests.process import cli_helpers as h


def test_doctor_says_what_torch_sees_and_what_auto_comes_to() -> None:
    done = h.run("doctor", "--json")
    assert done.returncode == 0, done.stderr
    (report,) = json_lines(done.stdout)
    assert report["versions"]["torch"] == metadata.version("torch")
    sees = report["devices"]["torch"]
    usable = [device["device"] for device in sees["cuda_devices"]] + (["mps"] if sees["mps"] else []) + ["cpu"]
    assert sees["auto"]["device"] == usable[0]
    assert sees["auto"]["precision"] in ("fp32", "bf16", "fp16")
    assert not any("torch" in problem for problem in report["problems"]), json.dumps(report["problems"])
