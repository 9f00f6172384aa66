"""A whole Slurm on this machine, for tests: one controller and two nodes, from Debian's slurm-wlm and munge.

They live in a network namespace of their own that has nothing but the loopback interface, under the host name
'localhost', with keys, configuration and state in a temporary directory. Nothing of the system's Slurm is touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol", "unshare", "nsenter", "ip")
SECONDS = 30.0

CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=6817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={at}/munge.socket,cred_expire=5
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool-%n
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd-%n.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
ReturnToService=2
NodeName=one NodeHostname=localhost NodeAddr=127.0.0.1 Port=6818 CPUs=2
NodeName=two NodeHostname=localhost NodeAddr=127.0.0.1 Port=6819 CPUs=2
PartitionName=main Nodes=one,two Default=YES MaxTime=120 PriorityTier=1
PartitionName=graced Nodes=one,two MaxTime=120 PriorityTier=1 GraceTime=20
PartitionName=high Nodes=one,two MaxTime=120 PriorityTier=10 PreemptMode=OFF
"""


class CannotRun(Exception):
    """There is no Slurm to test with; the text says why."""


class Cluster:
    """A running cluster; `run` and `start` run programs where it is."""

    def __init__(self, at: Path, holder: int) -> None:
        self.at = at
        self._inside = ["nsenter", "--net", "--uts", "--target", str(holder)]

    @property
    def environment(self) -> dict[str, str]:
        """With Slurm's programs pointed at this cluster."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        return environment | {"SLURM_CONF": str(self.at / "slurm.conf"), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a program inside."""
        return subprocess.Popen(
            [*self._inside, *command], env=self.environment, stdin=subprocess.DEVNULL, text=True, **options
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end."""
        return subprocess.run(
            [*self._inside, *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
        )

    def fmnist(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run fmnist-tui inside."""
        return self.run(sys.executable, "-m", "fmnist_tui", *arguments)

    def slurm(self, *command: str) -> str:
        """What one of Slurm's programs prints."""
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout.strip()


@contextmanager
def cluster(at: Path) -> Iterator[Cluster]:
    """A cluster for the time of the with-block. Raises CannotRun."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise CannotRun(f"{', '.join(missing)} missing; apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        raise CannotRun("slurmd and namespaces need root")
    _write_files(at)
    # The second address is for getaddrinfo, which knows no "localhost" where there is no address but 127.0.0.1.
    up = "ip link set lo up && ip address add 10.77.9.1/32 dev lo"
    hold = f"hostname localhost && {up} && echo up && exec sleep 600"
    holder = subprocess.Popen(["unshare", "--net", "--uts", "sh", "-c", hold], stdout=subprocess.PIPE, text=True)
    started: list[subprocess.Popen[Any]] = [holder]
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != "up\n":
            raise CannotRun("this system lets nobody make network namespaces")
        made = Cluster(at, holder.pid)
        for name, command in _daemons(at):
            with (at / f"{name}.out").open("wb") as output:
                started.append(made.start(*command, stdout=output, stderr=output, start_new_session=True))
            if name == "munged":
                _wait(lambda: (at / "munge.socket").exists(), started, at)
        idle = ("sinfo", "--noheader", "--format=%D %t", "--partition=main")
        _wait(lambda: made.run(*idle).stdout.strip() == "2 idle", started, at)
        try:
            yield made
        finally:  # else the jobs of a test that failed would outlive the cluster
            made.run("scancel", "--user=root")
            _wait(lambda: not made.run("squeue", "--noheader").stdout.strip(), started, at)
    finally:
        for process in reversed(started):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)


def _write_files(at: Path) -> None:
    (at / "slurm.conf").write_text(CONFIGURATION.format(at=at))
    version = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
    (at / "cgroup.conf").write_text(f"CgroupPlugin=cgroup/v{version}\nCgroupAutomount=no\nIgnoreSystemd=yes\n")
    key = at / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    for name in ("state", "spool-one", "spool-two"):
        (at / name).mkdir()


def _daemons(at: Path) -> Iterator[tuple[str, list[str]]]:
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    # --force: the temporary directory may belong to a group that can write, which munged calls insecure
    yield "munged", ["munged", "--foreground", "--force", *(f"--{key}={at / name}" for key, name in files.items())]
    yield "slurmctld", ["slurmctld", "-D", "-i"]
    for node in ("one", "two"):
        yield f"slurmd-{node}", ["slurmd", "-D", "-N", node]


def _wait(condition: Callable[[], bool], started: list[subprocess.Popen[Any]], at: Path) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > until or any(process.poll() is not None for process in started):
            tails = [f"{log.name}: {' | '.join(log.read_text().splitlines()[-2:])}" for log in at.glob("*.out")]
            raise CannotRun("Slurm does not come up here: " + "; ".join(tails))
        time.sleep(0.1)
