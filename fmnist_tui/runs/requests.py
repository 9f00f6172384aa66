"""control.json: what a run's worker can be asked for, and how it is asked.

Written by the command line and the app; a worker reads it between its steps and while it waits for its device
(`training.control`).
"""

from __future__ import annotations

import errno
import secrets
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.records import Record, Timestamp, utc_now
from fmnist_tui.wording import nearest, plain_words, shown

RequestKind = Literal["stop", "stop_after_epoch", "checkpoint", "edit", "start_now"]
"""What a worker can be asked for; `start_now` concerns one that waits for its device."""


class ControlRequest(Record):
    """One request to a worker."""

    id: str
    request: RequestKind
    time: Timestamp = Field(default_factory=utc_now)
    epochs: int | None = Field(None, ge=1, le=100_000)
    """edit: train for this many epochs in all."""
    stop_at_accuracy: float | None = Field(None, ge=0.0, le=100.0)
    """edit: finish at this test accuracy; 0 takes the limit back."""


class Control(Record):
    """control.json: the requests since the worker started, oldest first."""

    requests: list[ControlRequest] = Field(default_factory=list)


def read_control(run: RunDirectory) -> Control:
    """The requests to a run's worker; none where the file is missing or not ours."""
    try:
        return Control.model_validate_json(run.control.read_bytes())
    except (OSError, ValidationError):
        return Control()


def send_request(run: RunDirectory, request: RequestKind, **values: Any) -> ControlRequest:
    """Ask a run's worker for something; it answers with an event in the metrics. Raises ValueError for bad
    values, and where the request can't be written (another user's run, a full disk).

    Two that ask at once do not lose each other's request.
    """
    for key in values:
        if key not in _EDITABLE:
            hint = nearest(key, _EDITABLE)
            raise ValueError(f"{key}: cannot be edited; " + (f"did you mean {hint}?" if hint else _CAN_BE_EDITED))
    try:
        made = ControlRequest(id=secrets.token_hex(6), request=request, **values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise ValueError(f"{field} = {shown(first['input'])}: {plain_words(first)}") from None
    try:
        with FileLock(run.control_lock, timeout=10):
            control = read_control(run)
            control.requests.append(made)
            replace_bytes(run.control, control.to_json().encode())
    except Timeout:
        raise RunError(f"{run.id}: cannot be asked: another process holds its lock: {run.control_lock}") from None
    except OSError as error:
        raise CannotWrite(run, error) from None
    return made


class CannotWrite(RunError):
    """A request that can't be written: a full or read-only disk, another user's run. The earlier ones stand."""

    def __init__(self, run: RunDirectory, error: OSError) -> None:
        self.why = error.strerror or str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "; make room there and ask again" if full else ""
        super().__init__(f"{run.id}: cannot be asked: {self.why}: {run.control}{remedy}")


_EDITABLE = ("epochs", "stop_at_accuracy")
_CAN_BE_EDITED = "what can is " + " and ".join(_EDITABLE)
