"""What a power cut or a worker that was killed leaves in a run's directory, made at random. For `accidents`."""

from __future__ import annotations

import random

from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.training import checkpoint

PAGE = 4096


def readable(run: RunDirectory, which: str) -> bool:
    """Whether the run has this checkpoint, whole."""
    try:
        checkpoint.read(run.checkpoint(which))
    except checkpoint.CheckpointError:
        return False
    return True


def tear_lines(run: RunDirectory) -> None:
    """Half a line at the end of each file of lines."""
    for path, half in ((run.metrics, b'{"kind":"train","ti'), (run.confusions, b'{"epoch":1,"st')):
        if path.exists():
            path.write_bytes(path.read_bytes() + half)


def leave_halves(run: RunDirectory) -> None:
    """What was being written: half of two checkpoints and of the metric lines cut back."""
    for name in ("checkpoints/.last.pt.77.tmp", "checkpoints/.best.pt.77.tmp", ".metrics.jsonl.77.ab12.tmp"):
        (run.path / name).write_bytes(b"half")


def damage_last(run: RunDirectory, chance: random.Random) -> str:
    """last.pt alone: the same file may have other names, which keep it. How; '' where nothing else could be taken."""
    last, previous = run.checkpoint("last"), run.checkpoint("previous")
    if not last.exists() or not readable(run, "previous") or previous.samefile(last):
        return ""
    how, content = chance.choice(["cut", "zeroed", "holed", "missing"]), last.read_bytes()
    at = chance.randrange(len(content) - PAGE)
    last.unlink()
    match how:
        case "cut":
            last.write_bytes(content[:at])
        case "zeroed":
            last.write_bytes(bytes(len(content)))
        case "holed":
            last.write_bytes(content[:at] + bytes(PAGE) + content[at + PAGE :])
    return how


def damage_status(run: RunDirectory, chance: random.Random) -> None:
    """No status.json, or an empty one."""
    if chance.random() < 0.5:
        run.status.unlink()
    else:
        run.status.write_bytes(b"")
