"""Another version of the program is installed under a running app (`pip install -U`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fmnist_tui.tui import session
from fmnist_tui.tui.app import CHANGED, FmnistApp, run_app
from tests.tui.synthetic import until

LATER = """
import ast, asyncio, importlib.util, sys
from pathlib import Path
from fmnist_tui.tui import session
import fmnist_tui.tui.app
session.IMPORTS_AFTER = 0.0
asyncio.run(session.import_the_rest())
heavy = [name for name in ("torch", "torchvision") if name in sys.modules]

def names_in(node):
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return [name.name for name in node.names] if isinstance(node, ast.Import) else []

def is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False

ours = [name for name in sys.modules if name.partition(".")[0] == "fmnist_tui"]
trees = [ast.parse(Path(sys.modules[name].__file__).read_text("utf-8")) for name in ours]
nodes = [node for tree in trees for node in ast.walk(tree)]
functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
later = {name for function in functions for node in ast.walk(function) for name in names_in(node)}
missing = {name for name in later if name.startswith("fmnist_tui.") and name not in sys.modules and is_module(name)}
print(sorted(name for name in missing if not name.startswith("fmnist_tui.models.")))
print(heavy)
"""
"""Which modules of ours are imported by functions after everything was imported. Networks are built with torch."""


def test_everything_of_ours_that_is_imported_when_needed_is_imported_before() -> None:
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["[]", "[]"], done.stdout + done.stderr


async def test_the_app_imports_the_rest_once_it_shows_its_runs(app: FmnistApp, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = []

    async def note() -> None:
        imported.append(len(app.screen_stack))

    monkeypatch.setattr(session, "import_the_rest", note)
    async with app.run_test() as pilot:
        await until(pilot, lambda: bool(imported))
        app.feed.look()
        await pilot.pause()
    assert imported == [1], "once, with the list of runs on screen"


@pytest.mark.parametrize(("changed", "code"), [(True, 1), (False, 1), (True, 0), (True, 143)])
def test_an_app_that_ended_by_an_error_says_that_the_program_was_changed(
    runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    changed: bool, code: int,
) -> None:  # fmt: skip
    module = tmp_path / "__init__.py"
    module.write_text('"""The version of before."""\n')
    monkeypatch.setattr(session.fmnist_tui, "__file__", str(module))

    def run(app: FmnistApp) -> None:
        if changed:
            module.unlink()  # as pip does
            module.write_text('"""Another version."""\n')
        app.exit(return_code=code)

    monkeypatch.setattr(FmnistApp, "run", run)
    assert run_app(runs_dir, None) == code
    assert (CHANGED in capsys.readouterr().err) == (changed and code == 1)


def test_a_program_that_is_just_being_installed_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "__init__.py"
    module.touch()
    monkeypatch.setattr(session.fmnist_tui, "__file__", str(module))
    program = session.Program()
    assert not program.is_another
    module.unlink()
    assert program.is_another
