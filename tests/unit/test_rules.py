"""The house rules as tests: lint, format, types, which way imports point, and what a start must not import."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def checkout() -> None:
    if not all((ROOT / name).exists() for name in ("pyproject.toml", "fmnist_tui", "scripts", "benchmarks")):
        pytest.skip("the tools read the repository's pyproject.toml, and these tests run without a checkout")


def run_tool(name: str, *command: str) -> None:
    """Run a development tool from the repository's root; fails with what it says."""
    checkout()
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; it comes with the extra 'dev'")
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "120"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_ruff_finds_nothing() -> None:
    run_tool("ruff", sys.executable, "-m", "ruff", "check", ".")


def test_ruff_would_format_nothing() -> None:
    run_tool("ruff", sys.executable, "-m", "ruff", "format", "--check", ".")


def test_mypy_finds_nothing() -> None:
    run_tool("mypy", sys.executable, "-m", "mypy")


def test_imports_point_one_way() -> None:
    run_tool("importlinter", str(BIN / "lint-imports"))


NO_TORCH = [
    "fmnist_tui.cli",
    "fmnist_tui.config",
    "fmnist_tui.fields",
    "fmnist_tui.presets",
    "fmnist_tui.paths",
    "fmnist_tui.runs.store",
    "fmnist_tui.report",
    "fmnist_tui.analysis.predictions",
    "fmnist_tui.monitor",
    "fmnist_tui.data.source",
    "fmnist_tui.models.count",
    "fmnist_tui.training.schedule",
    "fmnist_tui.console.evaluate",
    "fmnist_tui.tui.app",
    "fmnist_tui.tui.screens.mistakes",
]


@pytest.mark.parametrize("module", NO_TORCH)
def test_what_opens_at_once_imports_no_torch_and_only_the_app_textual(module: str) -> None:
    if module == "fmnist_tui.tui.app" and importlib.util.find_spec(module) is None:
        pytest.skip("the app is not there yet")
    heavy = ["torch", "torchvision"] if module.startswith("fmnist_tui.tui") else ["torch", "torchvision", "textual"]
    code = f"import sys, {module}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [], f"{module} imports what it must not"


def test_the_command_line_answers_without_torch() -> None:
    code = """
import sys
from fmnist_tui.cli import main
sys.argv = ["fmnist-tui", *sys.argv[1:]]
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print("imported:", *({"torch", "torchvision", "textual"} & set(sys.modules)), file=sys.stderr)
"""
    for arguments in (["--help"], ["--version"], ["presets", "list"], ["runs", "list"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1].split() == ["imported:"], arguments
