"""`predict`: what a run's network says of a user's own pictures. Registered by `cli`.

The pictures are read and prepared here; the network works in a process of its own (`training.predict`).
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fmnist_tui.console import options as o

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.text import Text

    from fmnist_tui.data.pictures import Picture
    from fmnist_tui.runs.store import Run

GUESSES = 3
"""How many classes are told of each picture."""
RAMP = " .:-=+*#%@"
"""Dark to bright, where there are no colours."""


Invert = Literal["auto", "yes", "no"]
ImagesArgument = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Pictures, or directories of them.", show_default=False)
]
CheckpointOption = Annotated[Literal["last", "best"], typer.Option("--checkpoint", help="The weights that classify.")]
InvertOption = Annotated[
    Invert, typer.Option("--invert", help="Whether to negate the pictures; auto does where the corners are bright.")
]


def predict_command(
    run: o.RunArgument,
    images: ImagesArgument,
    checkpoint: CheckpointOption = "last",
    device: o.DeviceOption = "auto",
    invert: InvertOption = "auto",
    runs_dir: o.RunsDirOption = None,
    json: o.JsonOption = False,
) -> int:
    """Classify your own pictures with a run's network.

    Any size and format; prepared as the data set was: grey, bright on black, trimmed, centred, 28x28.

    On a terminal each is shown as the network saw it.

    Exit code 2 where a file is no picture, or is not there; the others are classified all the same.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.configure import check_device
    from fmnist_tui.runs.store import find_run

    check_device(device)
    found = find_run(paths.runs_dir(runs_dir), run)
    _check_checkpoint(found, checkpoint)
    return _classify(found, checkpoint, device, images, invert, json)


def _check_checkpoint(run: Run, checkpoint: str) -> None:
    """Raises RunError where the run has no such checkpoint."""
    from fmnist_tui.runs import disk
    from fmnist_tui.runs.errors import RunError

    if run.config is None or not run.directory.checkpoint(checkpoint).is_file():
        why = run.problem or disk.why_no_checkpoint(run.directory)
        raise RunError(f"{run.id}: has no {checkpoint} checkpoint to classify with; {why}")


def _classify(run: Run, checkpoint: str, device: str, images: Sequence[Path], invert: Invert, json: bool) -> int:
    """Read the pictures, have the network classify them, print what it says; the exit code."""
    from fmnist_tui.console.output import console, print_error
    from fmnist_tui.console.torch_process import TorchFailed
    from fmnist_tui.runs.status import ExitCode

    pictures, wrong = _read(images, invert)
    code = ExitCode.USAGE if wrong else ExitCode.DONE
    if not pictures:
        return code
    try:
        answer = _ask(run, checkpoint, device, pictures)
    except TorchFailed as error:
        print_error(str(error))
        return ExitCode.FAILED
    if json:
        _print_objects(run, checkpoint, pictures, answer)
    else:
        _print_pictures(console(), pictures, answer["probabilities"])
    return code


def _read(images: Sequence[Path], invert: Invert) -> tuple[list[Picture], int]:
    """The pictures of these files and directories, and how many of them are none; each of those is told."""
    from fmnist_tui.console.output import print_error
    from fmnist_tui.data.pictures import PictureError, find_pictures, read_picture

    pictures: list[Picture] = []
    wrong = 0

    def tell(error: PictureError) -> None:
        nonlocal wrong
        print_error(str(error))
        wrong += 1

    for named in images:
        try:
            found = find_pictures(named)
        except PictureError as error:
            tell(error)
            continue
        for path in found:
            try:
                pictures.append(read_picture(path, invert))
            except PictureError as error:
                tell(error)
    return pictures, wrong


def _ask(run: Run, checkpoint: str, device: str, pictures: Sequence[Picture]) -> dict[str, Any]:
    import numpy as np

    from fmnist_tui.console.torch_process import run_module

    buffer = io.BytesIO()
    np.save(buffer, np.stack([picture.pixels for picture in pictures]))
    arguments = (str(run.directory.path), "--checkpoint", checkpoint, "--device", device)
    answer: dict[str, Any] = json.loads(
        run_module("fmnist_tui.training.predict", *arguments, stdin=buffer.getvalue()).splitlines()[-1]
    )
    return answer


def _name(path: Path) -> str:
    """A path as text that can be printed: bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(path).decode(errors="replace")


def _guesses(probabilities: Sequence[float]) -> list[tuple[str, float]]:
    """Every class with its probability, the most likely first; equals in the order of the classes."""
    from fmnist_tui.config import CLASSES

    order = sorted(range(len(CLASSES)), key=lambda k: -probabilities[k])
    return [(CLASSES[k], probabilities[k]) for k in order]


def _print_objects(run: Run, checkpoint: str, pictures: Sequence[Picture], answer: dict[str, Any]) -> None:
    from fmnist_tui.console.output import print_json

    for picture, probabilities in zip(pictures, answer["probabilities"], strict=True):
        guesses = _guesses(probabilities)
        print_json(
            {
                "kind": "prediction",
                "file": _name(picture.path),
                "run": run.id,
                "checkpoint": checkpoint,
                "epoch": answer["epoch"],
                "class": guesses[0][0],
                "probability": guesses[0][1],
                "guesses": [{"class": name, "probability": probability} for name, probability in guesses],
                "inverted": picture.inverted,
                "notes": list(picture.notes),
            }
        )


def _print_pictures(stdout: Console, pictures: Sequence[Picture], answers: Sequence[Sequence[float]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from fmnist_tui.report.words import one_line

    for picture, probabilities in zip(pictures, answers, strict=True):
        text = Text(one_line(_name(picture.path)), style="bold")
        for place, (name, probability) in enumerate(_guesses(probabilities)[:GUESSES]):
            text.append(f"\n{100 * probability:6.2f} %  {name}", style="not bold" if place else "")
        for note in picture.notes:
            text.append(f"\n{note}", style="not bold dim")
        if not stdout.is_terminal:
            stdout.print(text, soft_wrap=True)
            continue
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_row(half_blocks(picture.pixels, colours=stdout.color_system is not None), text)
        stdout.print(grid)
        stdout.print()


def half_blocks(pixels: NDArray[np.uint8], colours: bool = True) -> Text:
    """(H, W) uint8 grey pixels with an even H as H / 2 lines of half blocks; without colours as characters of RAMP."""
    from rich.style import Style
    from rich.text import Text

    text = Text(no_wrap=True)
    for row in range(0, len(pixels), 2):
        if row:
            text.append("\n")
        for upper, lower in zip(pixels[row].tolist(), pixels[row + 1].tolist(), strict=True):
            if colours:
                style = Style.parse(f"rgb({upper},{upper},{upper}) on rgb({lower},{lower},{lower})")
                text.append("▀", style)
            else:
                text.append(RAMP[(upper + lower) * (len(RAMP) - 1) // 510])
    return text
