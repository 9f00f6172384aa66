"""`run preset|config --sweep KEY=V1,V2 --seeds N`: a run for each combination, with a group in common.

Called by `commands_run`. Every run waits in the device queue by itself, like any other, or has a Slurm job of its own:
here they are only made, started in order, and watched one after the other.
"""

from __future__ import annotations

import itertools
import math
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fmnist_tui import paths
from fmnist_tui.config import RunConfig
from fmnist_tui.console.configure import OPTION_OF, configure, parse_settings
from fmnist_tui.console.launch import Start, announce, check_place, get_data
from fmnist_tui.console.output import UsageError, console, print_notes, say
from fmnist_tui.console.summary import print_summary
from fmnist_tui.console.watch import Attendant, Interrupts, exit_code, opened_view
from fmnist_tui.data.source import DataError
from fmnist_tui.fields import flatten, parse_value, with_changes
from fmnist_tui.report.sweeps import group_text
from fmnist_tui.runs import process, queue, starting, stopping, store
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import ExitCode, State
from fmnist_tui.wording import shown

MOST_RUNS = 50
"""Each run that waits is a process of about 40 MB."""
ENTER_SECONDS = 20.0
"""How long a started worker may take to enter the queue before the next one is started regardless."""
_OUTSIDE_BRACKETS = re.compile(r",(?![^\[]*\])")


def sweep_configs(
    base: RunConfig,
    sweeps: Sequence[str],
    seeds: int | None,
    settings: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    scale: bool = False,
) -> tuple[list[RunConfig], list[str]]:
    """The configuration of each combination of values, the seeds of one side by side, and what to tell the user.

    Each is what `configure` makes of `base`, `settings`, `options` and `scale` with the swept values as options of its
    own. It has the group, and the swept values (not the seed) in its name. Raises UsageError or ConfigError, naming
    the option.
    """
    options = options or {}
    given = {key: OPTION_OF[key] for key, value in options.items() if value is not None}
    values = _values(sweeps, given | dict.fromkeys(parse_settings(settings), "--set"))
    _check_number(values, seeds)
    group: str | None = None
    configs: list[RunConfig] = []
    names_of: dict[str, list[str]] = {}
    made: dict[str, dict[str, Any]] = {}
    for combination in itertools.product(*values.values()):
        swept = dict(zip(values, combination, strict=True))
        config, notes = configure(base, settings, {**options, **swept}, scale)
        same = made.setdefault(repr(flatten(config)), swept)
        if same is not swept:
            raise UsageError(_same_run(same, swept))
        group = config.group or group or f"{config.name[:40]}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        said = " ".join(f"{key.rpartition('.')[2]}={_short(value)}" for key, value in swept.items() if key != "seed")
        name = f"{config.name} {said}".strip()[:64].strip()
        for note in notes:
            names_of.setdefault(note, []).append(name)
        for offset in range(seeds or 1):
            own = {"name": name, "group": group, "seed": config.seed + offset}
            configs.append(with_changes(config, own))
    return configs, [_note_of(note, names, len(made)) for note, names in names_of.items()]


def _check_number(values: Mapping[str, Sequence[Any]], seeds: int | None) -> None:
    """Raises UsageError for seeds that are none, or named twice, and for more runs than MOST_RUNS."""
    if seeds is not None and seeds < 1:
        raise UsageError(f"--seeds {seeds}: must be 1 or more")
    if "seed" in values and seeds is not None:
        raise UsageError(f"--seeds {seeds}: but --sweep names seeds of its own; give one of them")
    count = (seeds or 1) * math.prod(len(found) for found in values.values())
    if count > MOST_RUNS:
        raise UsageError(
            f"--sweep: {count:,} runs; {MOST_RUNS} is the most at once. Fewer values or seeds, or several sweeps "
            "with the same --group"
        )


def _note_of(note: str, names: Sequence[str], combinations: int) -> str:
    """A note once: as it is where all combinations have it, else with the names of the runs it is of."""
    return note if len(names) == combinations else f"{', '.join(dict.fromkeys(names))}: {note}"


def _values(sweeps: Sequence[str], given: Mapping[str, str]) -> dict[str, list[Any]]:
    """Each swept field's values; `given` are the fields that other options name, with these."""
    found: dict[str, list[Any]] = {}
    for sweep in sweeps:
        key, equals, text = sweep.partition("=")
        key = key.strip()
        if not equals or not key or not text.strip():
            raise UsageError(f"--sweep {sweep!r}: must be KEY=V1,V2,..., for example --sweep optimizer.lr=0.05,0.1")
        if key in ("name", "group"):
            raise UsageError(f"--sweep {key}: the runs of a sweep have one group, and names by what differs")
        if key in found or key in given:
            raise UsageError(f"--sweep {key}: {given.get(key, '--sweep')} names this field too; give it once")
        if key.startswith("slurm."):
            raise UsageError(f"--sweep {key}: all runs ask Slurm for the same; give it once, with --set {key}=VALUE")
        found[key] = [parse_value(part, key) for part in _OUTSIDE_BRACKETS.split(text)]
        if len({repr(value) for value in found[key]}) < len(found[key]):
            raise UsageError(f"--sweep {sweep}: names a value twice; for several runs of each add --seeds N")
    return found


def _same_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """That two combinations make one run: 1 and 1.0 are the same learning rate."""
    differ = {key: f"{shown(one[key])} and {shown(other[key])}" for key in one if repr(one[key]) != repr(other[key])}
    said = "; ".join(f"--sweep {key}: {values}" for key, values in differ.items())
    return f"{said} make the same run; give one of them, and for several runs of each add --seeds N"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")


def check_start(start: Start) -> None:
    """Raises UsageError where a sweep can't be started so."""
    if start.now:
        raise UsageError("--now: the runs of a sweep would all train at once; leave it out, they take turns")
    if start.nodes > 1 and start.slurm is None:
        raise UsageError(f"--nnodes {start.nodes}: a sweep trains on one machine; start its runs one by one")


def start_sweep(configs: Sequence[RunConfig], notes: Sequence[str], start: Start) -> int:
    """Make the runs and start their workers in order; watch them unless detached. Returns the exit code.

    0 where all have finished, else the first that is not: 130 for a stop, 4 for a failure.
    """
    check_start(start)
    check_place(start)
    _check_data(configs, start.data_dir)
    group = configs[0].group
    with Interrupts() as interrupts:
        made = [
            starting.create_run(start.runs_dir, config, start.device, start.data_dir, **start.how) for config in configs
        ]
        print_notes([*notes, f"{len(made)} runs of the group {group}"])
        workers, untold = _submit(made, start.json) if start.slurm else _start(made, start.json)
        if untold is not None:
            raise untold
        if start.detach:
            in_turn = "as Slurm lets them" if start.slurm else "in turn"
            see = paths.command_line("runs", "list", "--group", group or "", of=start.runs_dir)
            say(f"They go on in the background, {in_turn}. See them: {see}")
            return ExitCode.DONE
        codes = _watch(made, workers, start, interrupts)
    if not start.json:
        console().print(group_text(start.runs_dir, group or ""), soft_wrap=True, end="")
    return next((code for code in codes if code != ExitCode.DONE), ExitCode.DONE)


def _check_data(configs: Sequence[RunConfig], data_dir: Path | None) -> None:
    """Have the images of every run of the sweep, before any is made. Raises DataError that names the run."""
    for data, config in {config.data: config for config in reversed(configs)}.items():
        try:
            get_data(data, data_dir)
        except DataError as error:
            problem = f"The run '{config.name}', data.source = {data.source}: {error.problem}"
            raise DataError(problem, error.tried, f"{error.remedy} No run was started.") from None


Begun = tuple[Sequence[subprocess.Popen[bytes] | None], OSError | None]
"""The workers, None where Slurm starts them; and why stdout could not take an id, where it could not."""


def _submit(made: Sequence[RunDirectory], as_json: bool) -> Begun:
    """Submit a job for each run. Where Slurm refuses one, those before it go on and nothing of the others stays."""
    from fmnist_tui.runs.submit import submit_new

    untold = None
    for index, directory in enumerate(made):
        try:
            submit_new(directory)
        except RunError as error:
            for other in made[index + 1 :]:
                shutil.rmtree(other.path)
            gone = f"; the {index} runs before it were submitted, and go on" if index else ""
            raise RunError(f"{error}{gone}") from None
        untold = announce(directory, as_json) or untold
    return [None] * len(made), untold


def _start(made: Sequence[RunDirectory], as_json: bool) -> Begun:
    """Start a worker for each run when the one before stands in the queue: it comes behind that."""
    workers, untold = [], None
    for directory in made:
        worker = process.start_worker(directory)
        untold = announce(directory, as_json) or untold
        until = time.monotonic() + ENTER_SECONDS
        while worker.poll() is None and time.monotonic() < until and not _stands_in_queue(directory.id):
            time.sleep(0.1)
        workers.append(worker)
    return workers, untold


def _stands_in_queue(run_id: str) -> bool:
    try:
        return any(entry.run_id == run_id for device in queue.snapshot() for entry in (*device.on, *device.waiting))
    except RunError:  # the worker will start without the queue, and say so
        return True


def _watch(
    made: Sequence[RunDirectory],
    workers: Sequence[subprocess.Popen[bytes] | None],
    start: Start,
    interrupts: Interrupts,
) -> list[int]:
    """Attend to each run until it has ended. Ctrl-C asks all of them to stop."""
    codes = []
    for index, (directory, worker) in enumerate(zip(made, workers, strict=True)):
        with opened_view(start.json) as view:
            run = Attendant(directory, worker, interrupts).watch(view)
        if run.state is not State.FINISHED:
            print_summary(run, start.json)
        codes.append(exit_code(run))
        if interrupts.interrupts + interrupts.terminations:
            for other in made[index + 1 :]:
                if (loaded := store.load_run(other)).state.alive:
                    stopping.ask(loaded)
    return codes
