"""Where the program begins: the console script `fmnist-tui`, and `python -m fmnist_tui`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; returns its exit code. Ctrl-C says a word also while the commands are imported."""
    try:
        from fmnist_tui.cli import main as run_command_line

        return run_command_line()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
