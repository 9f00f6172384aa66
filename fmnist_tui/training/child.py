"""What the processes that measure have in common: a RunConfig as JSON on stdin, JSON lines on stdout, an exit code.

Used by `training.calibrate` and `training.bench`, which are started by the app and by `fmnist-tui bench`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from fmnist_tui.config import ConfigError, RunConfig
from fmnist_tui.remedies import Remedy, Told
from fmnist_tui.runs.status import ExitCode
from fmnist_tui.training.parent import die_with_parent


def answer(measure: Callable[[RunConfig], Iterable[dict[str, Any]]]) -> int:
    """Print what `measure` yields for the configuration on stdin; returns an `ExitCode`.

    What goes wrong is a last line with `error`, the message. The process dies with the one that started it: a step may
    take minutes, after which alone it would notice that nobody reads any more.
    """
    die_with_parent()

    def tell(values: dict[str, Any]) -> None:
        print(json.dumps(values), flush=True)

    try:
        for known in measure(RunConfig.model_validate_json(sys.stdin.read())):
            tell(known)
    except ConfigError as error:
        tell({"error": str(error)})
        return ExitCode.USAGE
    except ValueError as error:  # DataError, and a configuration that is not one
        tell(_told(error) or {"error": str(error)})
        return ExitCode.DATA
    except RuntimeError as error:  # OutOfMemory, and a device that fails
        tell(_told(error) or {"error": str(error).splitlines()[0]})
        return ExitCode.FAILED
    return ExitCode.DONE


def _told(error: Exception) -> dict[str, Any]:
    """An error whose remedy whoever reads this puts into words; {} where it has none."""
    if isinstance(error, Told) and isinstance(error.remedy, Remedy):
        return {"error": error.wrong, "remedy": error.remedy.model_dump()}
    return {}
