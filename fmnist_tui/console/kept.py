"""`run resume` and `run repeat` keep a run's configuration: options of a new run are refused in words of their own.

Used by `commands_run` as the class of these commands. The parser would only say that there is no such option, and
name the one that is spelled most like it.
"""

from __future__ import annotations

from typing import Any

import typer

from fmnist_tui.console.output import CLICK_ERROR, UsageError

_KEPT = {
    "--seed": "seed",
    "--name": "name",
    "--data": "data",
    "--split": "split",
    "--group": "group",
    "--epochs": "number of epochs",
    "--scale-schedule": "schedule",
    "--sweep": "configuration",
    "--seeds": "seed",
}
"""The options that only a new run has, and what a run keeps instead. (`resume` itself takes --epochs.)"""


class KeepsConfiguration(typer.core.TyperCommand):
    """A command on a run that there is already."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the parser does. Raises UsageError for an option that only a new run has."""
        run = args[0] if args and not args[0].startswith("-") else "RUN"
        try:
            return super().parse_args(ctx, args)
        except CLICK_ERROR as error:
            option = getattr(error, "option_name", "")
            if type(error).__name__ != "NoSuchOption" or option not in _KEPT:
                raise
        new = f"{option} is for a new run: fmnist-tui run preset NAME {option} ..."
        if self.name == "repeat":
            raise UsageError(f"{option}: a repeated run keeps its {_KEPT[option]}; {new}")
        again = f"'fmnist-tui run repeat {run}' trains it from the start, as it was"
        raise UsageError(f"{option}: a resumed run keeps its {_KEPT[option]}; {again}; {new}")
