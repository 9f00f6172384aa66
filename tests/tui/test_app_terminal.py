"""The app in terminals of all sorts, what it imports, and what signals do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from textual.theme import Theme

from fmnist_tui import paths
from fmnist_tui.runs.status import State
from fmnist_tui.tui import terminal
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.terminal import DARK, LIGHT, kept_choice
from tests.tui.synthetic import RunMaker, drawn, until, until_drawn, wait_for


async def test_the_terminal_without_unicode(runs_dir: Path, maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    maker.gallery()
    app = FmnistApp(runs_dir, None)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "* running", "=-----")
        for keys in (("down",), ("s",), ("escape", "question_mark"), ("escape", "3"), ("4",), ("1", "ctrl+p")):
            await pilot.press(*keys)
            await pilot.pause()
            for line in drawn(app):
                assert line.isascii(), (keys, line)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_one_of_the_app_s_own_themes_named_by_the_variable(runs_dir: Path, theme: Theme) -> None:
    """In a fresh interpreter: Textual reads the variable when it is imported."""
    code = f"""
import asyncio
from pathlib import Path
from fmnist_tui.tui.app import FmnistApp
async def main():
    app = FmnistApp(Path({str(runs_dir)!r}), None)
    async with app.run_test():
        print(app.theme, app.theme_variables["background"])
asyncio.run(main())
"""
    environment = os.environ | {"TEXTUAL_THEME": theme.name}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.split() == [theme.name, theme.background], done.stderr


async def test_the_theme_stays_for_the_next_time(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FmnistApp(runs_dir, None).run_test(size=(80, 24)) as pilot:
        assert pilot.app.theme == "fmnist-dark"
        await pilot.press("f2")
        await until(pilot, lambda: kept_choice("theme") == "fmnist-light")
    async with FmnistApp(runs_dir, None).run_test(size=(80, 24)) as pilot:
        assert pilot.app.theme == "fmnist-light"
        pilot.app.theme = "nord"
        await until(pilot, lambda: kept_choice("theme") == "nord")
    assert FmnistApp(runs_dir, None).theme == "nord"
    monkeypatch.setenv("TEXTUAL_THEME", "gruvbox")
    assert FmnistApp(runs_dir, None).theme == "gruvbox"
    monkeypatch.setenv("TEXTUAL_THEME", "fmnist-light")
    monkeypatch.setenv("TEXTUAL_THEME", "no-such-theme")
    assert FmnistApp(runs_dir, None).theme == "nord", "the one chosen last"
    monkeypatch.delenv("TEXTUAL_THEME")
    (paths.state_dir() / "theme").write_bytes(b"\xff no theme")
    assert FmnistApp(runs_dir, None).theme == "fmnist-dark"


async def test_control_characters_in_a_message_are_not_drawn(app: FmnistApp) -> None:
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        app.notify("/tmp/a\x1b[31mb\x07\x9b2J: no such directory", title="x\x1b[0m", markup=False)
        await until_drawn(pilot, "/tmp/a[31mb2J: no such directory", "x[0m")
        assert all(line.isprintable() for line in drawn(app))


async def test_without_colours(app: FmnistApp, maker: RunMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    maker.gallery()
    plain = FmnistApp(app.runs_dir, None)
    async with plain.run_test(size=(80, 24)) as pilot:
        await until_drawn(pilot, "● running", "✗ failed")
        for strip in plain.screen._compositor.render_strips():
            for segment in strip:
                for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    if color is not None:
                        red, green, blue = color.get_truecolor()
                        assert red == green == blue


def test_opening_imports_nothing_heavy(runs_dir: Path, maker: RunMaker) -> None:
    """The home screen comes without torch, NumPy and the chart library."""
    maker.make("quick")
    code = f"""
import asyncio, sys
from pathlib import Path
from fmnist_tui.tui import session
from fmnist_tui.tui.app import FmnistApp
session.IMPORTS_AFTER = 600.0
async def main():
    app = FmnistApp(Path({str(runs_dir)!r}), None)
    async with app.run_test(size=(80, 24)) as pilot:
        while not app.runs:
            await pilot.pause(0.01)
asyncio.run(main())
heavy = ("torch", "numpy", "fmnist_tui.data", "fmnist_tui.report")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_app_and_no_run(number: signal.Signals, runs_dir: Path, maker: RunMaker, sleeper: int) -> None:
    maker.make("wrn", State.RUNNING, epoch=3)
    code = f"from pathlib import Path; from fmnist_tui.tui.app import run_app; run_app(Path({str(runs_dir)!r}), None)"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # a terminal without a size is drawn anew all the time
    os.set_blocking(ours, False)
    app = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen = bytearray()

    def read() -> bool:
        with contextlib.suppress(OSError):  # nothing to read at the moment
            seen.extend(os.read(ours, 1 << 16))
        return b"running" in seen or app.poll() is not None

    try:
        assert wait_for(read)
        assert app.poll() is None, seen[-2000:]
        if number is signal.SIGHUP:  # the terminal is gone: nobody reads what the app writes
            os.close(ours)
        app.send_signal(number)
        assert wait_for(lambda: (number is signal.SIGHUP or read()) and app.poll() is not None)
        assert app.returncode in (0, 128 + number)
        os.kill(sleeper, 0)
    finally:
        app.kill()
        app.wait()


def test_an_error_of_the_app_is_an_exit_code(runs_dir: Path) -> None:
    code = f"""
from pathlib import Path
from fmnist_tui.tui.app import FmnistApp, run_app
def fail(app):
    raise KeyError("surprise")
FmnistApp.get_default_screen = fail
raise SystemExit(run_app(Path({str(runs_dir)!r}), None))
"""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with (runs_dir.parent / "shown").open("wb+") as shown:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, stdin=theirs, stdout=shown, stderr=shown, start_new_session=True, timeout=60)
        shown.seek(0)
        assert b"surprise" in shown.read()
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_an_app_that_waits_for_a_dead_writer(number: signal.Signals) -> None:
    """Textual's queue of what is to be written fills where its thread died first: nothing runs on the loop any more."""
    code = """
import asyncio, queue
from fmnist_tui.tui import session
async def main():
    session.leave_on_signals(None)
    full = queue.Queue(1)
    full.put("")
    print("waiting", flush=True)
    full.put("")
asyncio.run(main())
"""
    app = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout is not None and app.stdout.readline() == "waiting\n"
        app.send_signal(number)
        assert app.wait(timeout=30) == 128 + number
    finally:
        app.kill()
        app.wait()


def test_what_is_no_terminal_is_given_no_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        terminal.give_size()


@pytest.mark.parametrize("size", [(0, 0), (30, 100)])
def test_a_terminal_without_a_size_gets_one_and_is_not_drawn_all_the_time(
    size: tuple[int, int], runs_dir: Path, maker: RunMaker
) -> None:
    maker.make("wrn")
    code = f"from pathlib import Path; from fmnist_tui.tui.app import run_app; run_app(Path({str(runs_dir)!r}), None)"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, size)
    os.set_blocking(ours, False)
    app = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )

    seen = bytearray()

    def read() -> int:
        before = len(seen)
        with contextlib.suppress(OSError):  # nothing to read at the moment
            seen.extend(os.read(ours, 1 << 20))
        return len(seen) - before

    def quiet() -> bool:
        while read():
            pass
        time.sleep(1.0)
        return read() < 2000

    try:
        assert wait_for(lambda: read() >= 0 and b"wrn" in seen)
        assert termios.tcgetwinsize(theirs) == (size if all(size) else (24, 80))
        # Once it is drawn a second passes with hardly a byte; without a size it was some 50 screens.
        assert wait_for(quiet)
    finally:
        app.kill()
        app.wait()
        os.close(theirs)
        os.close(ours)


def test_loop_is_closed_cleanly(runs_dir: Path) -> None:
    """Two apps one after the other in a process: nothing of the first is left behind."""

    async def once() -> Any:
        app = FmnistApp(runs_dir, None)
        async with app.run_test(size=(40, 10)) as pilot:
            await pilot.press("4")
        return app

    for _ in range(2):
        app = asyncio.run(once())
        assert not app.feed.is_alive()
        assert not app._system_feed.is_alive()
