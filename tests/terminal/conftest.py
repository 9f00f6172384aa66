"""A real terminal for tests: the program runs in tmux, keys are typed, the screen is read."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Terminal:
    """One program in one tmux session of a given size."""

    def __init__(self, command: list[str], size: tuple[int, int], environment: dict[str, str], errors: str) -> None:
        self.session = f"fmnist-test-{uuid.uuid4().hex[:8]}"
        width, height = size
        variables = [f"{key}={value}" for key, value in environment.items()]
        line = shlex.join(["env", *variables, *command]) + (f" 2>{shlex.quote(errors)}" if errors else "")
        self._tmux(
            "new-session", "-d", "-s", self.session, "-x", str(width), "-y", str(height), "sh", "-c", f"exec {line}"
        )
        self._tmux("set-option", "-t", self.session, "remain-on-exit", "on")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", *arguments], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"tmux {arguments[0]}: {done.stderr}"
        return done.stdout

    def press(self, *keys: str) -> None:
        """Type keys by their tmux names."""
        for key in keys:
            self._tmux("send-keys", "-t", self.session, key)

    def screen(self) -> str:
        """What the terminal shows."""
        return self._tmux("capture-pane", "-p", "-t", self.session)

    def resize(self, width: int, height: int) -> None:
        """Make the terminal another size."""
        self._tmux("resize-window", "-t", self.session, "-x", str(width), "-y", str(height))

    def wait_for(self, pattern: str, seconds: float = 30.0) -> str:
        """The screen, once it shows the pattern."""
        return self.wait_until(lambda screen: re.search(pattern, screen) is not None, pattern, seconds)

    def wait_until(self, condition: Callable[[str], bool], what: str, seconds: float = 30.0) -> str:
        """The screen, once it fulfils the condition."""
        deadline = time.monotonic() + seconds
        while not condition(screen := self.screen()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{screen}"
            time.sleep(0.05)
        return screen

    @property
    def ended(self) -> bool:
        """Whether the program has left."""
        return self._tmux("display-message", "-p", "-t", self.session, "#{pane_dead}").strip() == "1"

    def close(self) -> None:
        """End the session and whatever runs in it."""
        subprocess.run(["tmux", "kill-session", "-t", self.session], capture_output=True)


@pytest.fixture
def terminal(runs_dir: Path) -> Iterator[Callable[..., Terminal]]:
    """Opens the app in a terminal: `terminal(size=(120, 40), errors="file", **environment)`."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    opened: list[Terminal] = []

    def open_terminal(size: tuple[int, int] = (120, 40), errors: str = "", **environment: str) -> Terminal:
        settings = {key: value for key, value in os.environ.items() if key.startswith("FMNIST_TUI_")}
        settings |= {"LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "COLORTERM": "truecolor"} | environment
        command = [sys.executable, "-m", "fmnist_tui", "--runs-dir", str(runs_dir)]
        opened.append(Terminal(command, size, settings, errors))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()
