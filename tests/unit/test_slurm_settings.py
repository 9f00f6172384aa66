"""What `--set slurm.KEY=VALUE` takes, and what the documents say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fmnist_tui.config import ConfigError
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.slurm import SlurmSettings, slurm_settings


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("30:00", 30),
        ("30:01", 31),
        ("12:00:00", 720),
        ("01:00:00", 60),
        ("2-12", 3600),
        ("1-00:30:00", 1470),
    ],
)
def test_times_as_sbatch_takes_them(text: str, minutes: int) -> None:
    assert slurm_settings([f"slurm.time={text}"]).time == minutes


def test_values_stay_as_they_were_typed() -> None:
    """An account may be a number, a list of nodes looks like TOML, and a constraint has signs of its own."""
    options = ["account=0123", "nodelist=node[1-4],node7", "constraint=a100|h100", "mem=64G", "exclusive=true"]
    options += ['setup=["module load cuda", "ulimit -n 4096"]', "cpus_per_task=16"]
    found = slurm_settings([f"slurm.{option}" for option in options])
    assert (found.account, found.nodelist, found.constraint) == ("0123", "node[1-4],node7", "a100|h100")
    assert (found.mem, found.exclusive, found.cpus_per_task) == ("64G", True, 16)
    assert found.setup == ("module load cuda", "ulimit -n 4096")
    assert slurm_settings(["slurm.setup=module load cuda"]).setup == ("module load cuda",)


def test_settings_of_the_last_start_are_kept_changed_and_taken_back() -> None:
    before = slurm_settings(["slurm.partition=gpu", "slurm.time=2:00:00", "slurm.qos=high"])
    read = LaunchRequest.model_validate_json(LaunchRequest(slurm=before).to_json()).slurm
    again = slurm_settings(["slurm.qos=none", "slurm.time=30"], read)
    assert (again.partition, again.qos, again.time) == ("gpu", None, 30)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("slurm.partion=gpu", "slurm.partion: no such setting; did you mean slurm.partition?"),
        ("slurm.timeout_min=5", "slurm.timeout_min: no such setting; did you mean slurm.time?"),
        ("slurm.gpus_per_node=5", "slurm.gpus_per_node: no such setting; did you mean --gpus?"),
        ("slurm.zzzzz=5", "set its variables (SBATCH_...)"),
        ("slurm.partition", "slurm.partition: must be KEY=VALUE"),
        ("slurm.time=soon", "slurm.time = 'soon': must be minutes, or as sbatch takes it"),
        ("slurm.time=0", "slurm.time = '0': must be at least 1"),
        ("slurm.mem=lots", "slurm.mem = 'lots': must be a size, for example 64G"),
        ("slurm.cpus_per_task=many", "slurm.cpus_per_task = 'many': must be a whole number"),
        ("slurm.partition=", "slurm.partition = '': must not be empty"),
        ("slurm.exclusive=maybe", "slurm.exclusive = 'maybe': must be true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(option: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        slurm_settings([option])
    assert message in str(raised.value)


def test_the_docs_name_every_setting() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "distributed.md").read_text()
    section = page.partition("## Slurm")[2].partition("## Sweeps")[0]
    assert [key for key in SlurmSettings.model_fields if f"`{key}`" not in section] == []
