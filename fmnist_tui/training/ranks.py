"""What makes a process one of several that train a run together, and how it ends. No torch.

A *rank* is started by torch's elastic agent (in the worker that `launcher` makes a launcher, or by torchrun) as
`python -m fmnist_tui.training RUN_DIR`, like a worker alone; the agent's environment variables tell it apart.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pydantic import ValidationError

from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.status import LastWord, Status
from fmnist_tui.training.control import StopSignal
from fmnist_tui.training.parent import die_with_parent
from fmnist_tui.training.reporter import Reporter

LAUNCHER = "FMNIST_TUI_LAUNCHER"
"""Set by our launcher for its ranks: its pid. Without it torchrun has started the rank."""
STORE = "FMNIST_TUI_STORE"
"""Path of the file by which the ranks of one machine find each other; without it they use the agent's address."""
DEVICES = "FMNIST_TUI_DEVICES"
"""The devices of this machine's ranks by local rank, with commas: 'cuda:0,cuda:2'."""
LOST_TOUCH = "lost touch with another rank"
"""Begins the message of a rank that failed because another one did."""


@dataclass(frozen=True)
class Rank:
    """This process among those that train the run."""

    rank: int
    """Over all machines; rank 0 alone writes the run's files."""
    size: int
    """Ranks in all."""
    local_rank: int
    restarts: int
    """How often the agent began anew with the ranks."""
    launched: bool
    """Whether our launcher started it, which holds the run's lock and has the last word."""
    store: str | None
    devices: tuple[str, ...]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Rank | None:
        """This process as the elastic agent started it; None for a worker alone."""
        if "TORCHELASTIC_RUN_ID" not in environment or "RANK" not in environment:
            return None
        devices = environment.get(DEVICES, "")
        return cls(
            rank=int(environment["RANK"]),
            size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            restarts=int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")),
            launched=LAUNCHER in environment,
            store=environment.get(STORE),
            devices=tuple(devices.split(",")) if devices else (),
        )


def die_with_launcher() -> None:
    """A rank never outlives our launcher, nor torchrun where that started it."""
    die_with_parent(int(os.environ[LAUNCHER]) if LAUNCHER in os.environ else None)


def rank_reporter(run: RunDirectory, status: Status, rank: Rank) -> Reporter:
    """Rank 0's reporter keeps the launcher's pid, which the run is known by; the others' write nothing."""
    if rank.rank > 0:
        return SilentReporter(run, status, own_process=False)
    return Reporter(run, status, own_process=not rank.launched)


class SilentReporter(Reporter):
    """What the other ranks say goes nowhere: rank 0 says it for all."""

    def start(self) -> None:
        """No heartbeat: rank 0 has it."""

    def write(self, record: object) -> None:
        """Nothing."""

    def event(self, event: str, message: str, **data: object) -> None:
        """Nothing; warnings of rank 0's hold for all."""

    def sync(self) -> None:
        """Nothing."""

    def hand_over(self) -> None:
        """Nothing."""

    def take_back(self) -> None:
        """Nothing."""

    def keep_until(self, step: int, evaluated_epoch: int, unwritten: Iterable[str] = ()) -> None:
        """Nothing: rank 0 does it."""

    def _write_status(self, durable: bool = False) -> bool:
        self._changed = False
        return True


PASSED_ON = "SIGURG"
"""The signal by which a launcher that can't write a request tells its ranks to stop; one that does nothing to a rank
that does not listen yet, so that it may be sent again and again."""


class RankSignal(StopSignal):
    """A signal to a rank never cuts its work short: the others would wait for its part. All stop after a step."""

    def listen_to_launcher(self) -> None:
        """Take PASSED_ON for what its launcher was asked for."""
        signal.signal(signal.Signals[PASSED_ON], self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.SIGTERM.name

    @contextmanager
    def may_cut(self) -> Iterator[None]:
        """Nothing may."""
        yield


def record_failure(message: str) -> None:
    """Leave the elastic agent the cause of this rank's failure, in the file it reads."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    words = ("gloo", "DistBackendError", "DistNetworkError", "DistStoreError")
    if any(word in message for word in words):
        message = f"{LOST_TOUCH}: {message}"
    get_error_handler().record_exception(RuntimeError(message))


def last_word(run: RunDirectory) -> LastWord | None:
    """How the ranks ended, where one of them said so; None where they died without a word."""
    try:
        return LastWord.model_validate_json(run.last_word.read_bytes())
    except (OSError, ValidationError):
        return None


def say_last_word(run: RunDirectory, word: LastWord) -> None:
    """Write down how the ranks end, for the launcher. The first word counts: the others are its consequences."""
    if last_word(run) is None:
        with contextlib.suppress(OSError):  # a full disk: the launcher tells by the exit code
            replace_bytes(run.last_word, word.to_json().encode())
