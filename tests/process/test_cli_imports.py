"""What the commands import and how long they take: no torch, no Textual, under half a second."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from fmnist_tui.presets import load_preset
from fmnist_tui.runs import starting, store
from tests.printed import json_lines
from tests.process import cli_helpers as h

HEAVY = """
import sys
from fmnist_tui.cli import main
code = main(sys.argv[1:])
heavy = {"torch", "torchvision", "textual"} & {name.partition(".")[0] for name in sys.modules}
sys.exit(f"imported {sorted(heavy)}" if heavy else code)
"""
LEAN = HEAVY.replace('"torch", ', '"numpy", "psutil", "torch", ')
LIMIT_SECONDS = 0.5
"""Of a processor, which on a machine that does nothing else is the time one waits."""
LIBRARIES, TIMES_LIBRARIES = "import typer, rich.table, pydantic.main", 3.0
"""On a slow processor as many times what it takes to import what every command needs."""


@pytest.fixture(autouse=True)
def a_run(runs_dir: Path) -> None:
    """A run to look at."""
    directory = starting.create_run(runs_dir, load_preset("quick"), device="cpu")
    directory.worker_log.write_text("hello\n")
    directory.metrics.write_text('{"kind": "event", "event": "start"}\n')
    store.mark_failed(directory, "it was a test", 4)


def imports(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in an interpreter that then looks at what it has imported."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=h.SECONDS, env=h.environment())


@pytest.mark.parametrize(
    "line",
    [
        "presets list",
        "presets show wrn",
        "presets path",
        "runs list",
        "runs list --json",
        "runs show last",
        "runs show last --json",
        "runs logs last",
        "runs stop last",
        "report",
        "report --format html",
        "runs export last --to csv",
        "data status",
    ],
)
def test_no_torch_and_no_textual(line: str) -> None:
    done = imports(HEAVY, *line.split())
    assert done.returncode == 0, done.stderr


def test_bench_leaves_torch_to_the_process_that_measures() -> None:
    """A whole measurement of a tiny network with the comparison: one JSON object on stdout, no torch in the command."""
    options = ("--data", "sample", "--seconds", "8", "--compare", "--json")
    done = imports(HEAVY, "bench", "quick", *options, *h.TINY)
    assert done.returncode == 0, done.stderr
    (record,) = json_lines(done.stdout)
    assert record["preset"] == "quick" and record["images_per_second"] > 0 and record["ceiling_share"] > 0
    assert len(record["comparison"]["training"]) == 3 and record["comparison"]["ratio"]["median"] > 0
    assert record["provenance"]["command"][1:3] == ["bench", "quick"]
    assert done.stderr == "measuring quick (1 of 1)\n"


@pytest.mark.parametrize("line", ["--help", "--version", "run preset --help", "runs --help"])
def test_help_needs_not_even_numpy(line: str) -> None:
    done = imports(LEAN, *line.split())
    assert done.returncode == 0, done.stderr
    assert "fmnist-tui" in done.stdout


@pytest.mark.parametrize("line", ["--help", "presets list", "runs list"])
def test_under_half_a_second(line: str) -> None:
    taken = []
    for _ in range(20):  # the quickest counts: the others tell how busy the machine is
        libraries = processor_seconds(lambda: subprocess.run([sys.executable, "-c", LIBRARIES], check=True))
        taken.append(processor_seconds(lambda: h.run(*line.split())))
        if taken[-1] < max(LIMIT_SECONDS, TIMES_LIBRARIES * libraries):
            return
    pytest.fail(f"fmnist-tui {line} took {min(taken):.2f} s at best")


def processor_seconds(start: Callable[[], subprocess.CompletedProcess[Any]]) -> float:
    """Of a child process that ends well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert start().returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_ctrl_c_while_the_commands_are_imported_is_no_traceback() -> None:
    """The console script begins in a module that imports nothing: it can answer before the rest is there."""
    script = """
import sys
from fmnist_tui.__main__ import main
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
sys.exit(main())
"""
    done = imports(script)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
    (entry,) = metadata.entry_points(group="console_scripts", name="fmnist-tui")
    assert entry.value == "fmnist_tui.__main__:main"
