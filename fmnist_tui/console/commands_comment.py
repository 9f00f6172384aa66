"""`fmnist-tui runs comment`: what the user writes down about a run. Registered by `cli`."""

from __future__ import annotations

from typing import Annotated

import typer

from fmnist_tui.console import options as o


def comment_command(
    run: o.RunArgument,
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="The comment, one line. Without it the present one is printed."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the comment.", show_default=False)] = False,
    runs_dir: o.RunsDirOption = None,
) -> int:
    """Write down something about a run, in the place of its earlier comment, or print what was.

    'runs list', 'runs show', the app and the HTML report show it. In the app # writes it, and the filter finds it.
    """
    from fmnist_tui import paths
    from fmnist_tui.console.output import UsageError, print_line, say
    from fmnist_tui.runs.comments import write_comment
    from fmnist_tui.runs.store import find_run

    if clear and text is not None:
        raise UsageError("--clear and TEXT: exclude each other; give one of them")
    found = find_run(paths.runs_dir(runs_dir), run)
    if text is None and not clear:
        if found.comment:
            print_line(found.comment)
        else:
            say(f"{found.id} has no comment.")
        return 0
    written = write_comment(found.directory, text or "")
    say(f"{found.id}: comment written." if written else f"{found.id} has no comment now.")
    return 0
