"""`fmnist-tui runs queue` and `runs move`: which runs have a device or wait for one, and in which order.

Registered by `cli`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_tui.console import options as o


def queue_command(json: o.JsonOption = False) -> int:
    """List each device's run at work and those that wait for it, of all runs directories.

    A waiting run starts by itself, with no app open.
    """
    from fmnist_tui.console.output import console, print_json, say
    from fmnist_tui.console.queue_table import queue_objects, queue_table
    from fmnist_tui.runs.queue import snapshot

    devices = snapshot()
    if json:
        for record in queue_objects(devices):
            print_json(record)
    elif devices:
        console().print(queue_table(devices))
    else:
        say("No run is at work or waits for a device.")
    return 0


def move_command(
    run: o.RunArgument,
    to_front: Annotated[
        bool, typer.Option("--to-front", help="Make it the next on its device.", show_default=False)
    ] = False,
    place: Annotated[
        int | None,
        typer.Option(
            "--place", metavar="N", parser=o.whole_number, help="Give it place N; 1 is the next.", show_default=False
        ),
    ] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Start it at once, beside what is on its device.", show_default=False),
    ] = False,
    runs_dir: o.RunsDirOption = None,
) -> int:
    """Change a queued run's place, or start it at once."""
    from fmnist_tui import paths
    from fmnist_tui.console.output import UsageError, say
    from fmnist_tui.console.queue_table import find_queued
    from fmnist_tui.runs import queue

    if [to_front, place is not None, now].count(True) != 1:
        raise UsageError("runs move: where to? give one of --to-front, --place N and --now")
    found = find_queued(paths.runs_dir(runs_dir), run)
    if now:
        queue.start_now(found)
        watch = paths.command_line("runs", "watch", found.id, of=found.path.parent)
        say(f"{found.id} was told to start now. Watch it with: {watch}")
        return 0
    has = queue.move(found.id, 1 if place is None else place)
    say(f"{found.id} is now {'the next' if has == 1 else f'in place {has}'} in the queue.")
    return 0
