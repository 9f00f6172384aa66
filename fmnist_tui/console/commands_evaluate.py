"""`fmnist-tui evaluate`: what a checkpoint scores on its test images, and what several do together.

Registered by `cli`. Nothing here imports torch; checkpoints are evaluated in a process of their own.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fmnist_tui.console import options as o


def evaluate_command(
    runs: o.RunsArgument,
    tta: Annotated[
        Literal["none", "flip"],
        typer.Option("--tta", help="Also average each image's outputs with its mirror image's, as an extra column."),
    ] = "none",
    checkpoint: Annotated[
        Literal["last", "best"],
        typer.Option("--checkpoint", help="The newest weights, or those of the best test accuracy (which flatters)."),
    ] = "last",
    ensemble: Annotated[
        bool,
        typer.Option("--ensemble", help="Also average the runs' probabilities.", show_default=False),
    ] = False,
    saved: Annotated[
        bool,
        typer.Option("--saved", help="Use the saved predictions; no network is loaded.", show_default=False),
    ] = False,
    device: o.DeviceOption = "auto",
    runs_dir: o.RunsDirOption = None,
    data_dir: o.DataDirOption = None,
    json: o.JsonOption = False,
) -> int:
    """Evaluate checkpoints on their test images: accuracy, loss, by class, calibration.

    Writes nothing into a run. It does not wait in the device's queue.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.configure import check_device
    from fmnist_tui.console.evaluate import check, evaluate

    if not saved:
        check_device(device)
    found = check(paths.runs_dir(runs_dir), runs, ensemble, saved, tta)
    return evaluate(found, paths.data_dir_override(data_dir), checkpoint, tta, device, ensemble, saved, json)
