"""What `--set slurm.KEY=VALUE` asks Slurm for: how a job is submitted, and no hyperparameter of the run.

Read from the command line by `console.configure`, kept in launch.json, handed to submitit by `submit`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fmnist_tui.config import ConfigError, FieldError
from fmnist_tui.fields import parse_value
from fmnist_tui.wording import nearest, plain_words

PREFIX = "slurm."
_TIME = re.compile(r"(?:(?P<days>\d+)-(?P<rest>\d+(?::\d\d){0,2})|(?P<clock>\d+(?::\d\d){1,2})|(?P<minutes>\d+))")
_OTHER_NAMES = {
    "timeout": "time",
    "timeout_min": "time",
    "cpus": "cpus_per_task",
    "memory": "mem",
    "mem_gb": "mem",
    "nodes": "--nodes",
    "gpus": "--gpus",
    "gpus_per_node": "--gpus",
    "name": "--name",
    "job_name": "--name",
    "signal": "signal_seconds",
    "signal_delay_s": "signal_seconds",
    "max_num_timeout": "requeues",
}
"""What people write who know sbatch or submitit."""


def _minutes(value: Any) -> Any:
    """Slurm's own forms of a time as whole minutes: 90, '90', '1:30:00', '2-12', '2-12:00', '1-00:00:00'.

    As in sbatch, 'M:S' are minutes and seconds, and 'D-H' days and hours. Begun minutes count.
    """
    if not isinstance(value, str):
        return value
    found = _TIME.fullmatch(value.strip())
    if found is None:
        raise ValueError("must be minutes, or as sbatch takes it: 12:00:00, 2-12, 1-00:00:00")
    if found["minutes"]:
        return int(found["minutes"])
    parts = [int(part) for part in (found["rest"] or found["clock"]).split(":")]
    if found["days"]:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    else:
        hours, minutes, seconds = [0, *parts][-3:]
    return (int(found["days"] or 0) * 24 + hours) * 60 + minutes + (seconds > 0)


def _lines(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\n\r]*$")]


class SlurmSettings(BaseModel):
    """The job's requests; None leaves one to the cluster. GPUs and nodes have options of their own."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # of a newer version's launch.json

    partition: Text | None = Field(None, description="Where the job goes; else the cluster's default.")
    account: Text | None = Field(None, description="Who is charged.")
    qos: Text | None = Field(None, description="Quality of service.")
    time: Annotated[int, BeforeValidator(_minutes)] = Field(
        60,
        ge=1,
        le=525_600,
        description="Time limit in minutes, or as sbatch takes it (12:00:00). A run that needs longer is requeued.",
    )
    cpus_per_task: int | None = Field(
        None, ge=1, le=4096, description="Cores of each node; else 2 for each GPU or process."
    )
    mem: Annotated[str, Field(pattern=r"^\d+[KMGT]?B?$")] | None = Field(
        None, description="Memory of each node, for example 64G; 0 is all of it."
    )
    constraint: Text | None = Field(None, description="Features the nodes must have.")
    reservation: Text | None = Field(None, description="A reservation to use.")
    nodelist: Text | None = Field(None, description="These nodes only.")
    exclude: Text | None = Field(None, description="Not these nodes.")
    gres: Text | None = Field(
        None, description="Ask for the GPUs so, for example gpu:a100:4, in place of their number."
    )
    exclusive: bool = Field(False, description="Share the nodes with nobody.")
    setup: Annotated[tuple[Text, ...], BeforeValidator(_lines)] = Field(
        (), description="Lines of shell before the run begins, for example 'module load cuda'."
    )
    signal_seconds: int = Field(
        90, ge=10, le=3600, description="How long before the time limit the run writes its checkpoint and is requeued."
    )
    requeues: int = Field(100, ge=0, le=10_000, description="How often the job is requeued at its time limit.")


def split_settings(settings: list[str]) -> tuple[list[str], list[str]]:
    """`--set` options of the configuration, and those that begin with 'slurm.'."""
    own = [setting for setting in settings if not setting.strip().startswith(PREFIX)]
    return own, [setting for setting in settings if setting.strip().startswith(PREFIX)]


def slurm_settings(options: list[str], before: SlurmSettings | None = None) -> SlurmSettings:
    """The settings that 'slurm.KEY=VALUE' options name, on top of those a run was submitted with before.

    Raises ConfigError, naming field, value and remedy.
    """
    errors: list[FieldError] = []
    values: dict[str, Any] = before.model_dump(exclude_unset=True) if before else {}
    for option in options:
        name, equals, text = option.strip().partition("=")
        key = name.strip().removeprefix(PREFIX)
        if not equals:
            errors.append(FieldError(name, None, "must be KEY=VALUE, for example --set slurm.partition=gpu"))
        elif key not in SlurmSettings.model_fields:
            errors.append(FieldError(PREFIX + key, None, _no_such(key)))
        else:
            values[key] = _value(key, text)
    if errors:
        raise ConfigError(errors)
    try:
        return SlurmSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError([_field_error(item, values) for item in error.errors()]) from None


def _value(key: str, text: str) -> Any:
    """Text as it was typed, but for numbers, switches and lists. 'none' takes a setting back."""
    if text.strip().lower() == "none":
        return SlurmSettings.model_fields[key].default
    if key == "setup" and text.lstrip().startswith("["):
        return parse_value(text)
    annotation = SlurmSettings.model_fields[key].annotation
    if key != "time" and (annotation in (int, bool) or int in get_args(annotation)):
        return parse_value(text)
    return text.strip()


def _no_such(key: str) -> str:
    near = _OTHER_NAMES.get(key) or nearest(key, list(SlurmSettings.model_fields))
    if near:
        return f"no such setting; did you mean {near if near.startswith('--') else PREFIX + near}?"
    names = ", ".join(SlurmSettings.model_fields)
    return f"no such setting; there are {names}. For what else sbatch takes, set its variables (SBATCH_...)"


def _field_error(item: Mapping[str, Any], values: Mapping[str, Any]) -> FieldError:
    key = str(item["loc"][0])
    message = plain_words(item)
    if item["type"] == "string_pattern_mismatch":
        message = "must be a size, for example 64G" if key == "mem" else "must be on one line"
    return FieldError(PREFIX + key, values.get(key), message)
