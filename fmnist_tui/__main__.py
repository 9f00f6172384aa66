"""`python -m fmnist_tui`: the same as the console script `fmnist-tui`."""

from fmnist_tui.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
