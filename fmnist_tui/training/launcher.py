"""The worker of a run on several GPUs: it starts the ranks through torch's elastic agent, and has the last word.

Called by `__main__` once it is the run's turn on every device. This process keeps the run's lock and its place in
the queue and is the one that status.json names; the ranks are its children and die with it. Between `hand_over` and
`take_back` rank 0 writes the run's files.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.requests import send_request
from fmnist_tui.runs.status import ExitCode, LastWord, State
from fmnist_tui.training.control import ControlReader, StopSignal
from fmnist_tui.training.ranks import DEVICES, LAUNCHER, LOST_TOUCH, PASSED_ON, STORE, last_word
from fmnist_tui.training.reporter import Reporter
from fmnist_tui.training.threads import SHARE

LOOK_SECONDS = 0.1
RENDEZVOUS_SECONDS = 86_400
"""How long a launcher waits for the other machines: they may have to wait for their own devices."""
ENDING_SECONDS = 3
"""What the agent leaves the other ranks where one has failed: they wait for it in vain and have nothing to save.

torch's own 30 where it can't be told (2.11).
"""


class LeftRendezvous(Exception):
    """The run was stopped while it waited for the other machines."""


def run_ranks(
    run: RunDirectory,
    launch: LaunchRequest,
    devices: Sequence[str],
    reporter: Reporter,
    stop_signal: StopSignal,
    joining: bool = False,
) -> LastWord:
    """Start a rank on each device, wait for their end, and say how it was.

    With `joining` another machine's launcher has the run, and the last word stays its own.
    """
    if not joining:
        run.last_word.unlink(missing_ok=True)
    failures: dict[int, ProcessFailure] = {}
    left = False
    with tempfile.TemporaryDirectory(prefix="fmnist-tui-", ignore_cleanup_errors=True) as scratch:
        os.environ.update(environment(launch, devices, scratch))
        launched = elastic_launch(agent(run.id, launch, len(devices), scratch, joining), sys.executable)
        if launch.nodes > 1:
            reporter.update(now=True, phase=f"waiting for {launch.nodes} machines")
        else:
            reporter.hand_over()
        try:
            with _attended(run, launch, reporter, stop_signal):
                launched("-m", "fmnist_tui.training", str(run.path))
        except ChildFailedError as error:
            failures = error.failures
        except LeftRendezvous:
            left = True
        finally:
            reporter.take_back()
    if left:
        return LastWord(state=State.STOPPED, error="stopped before all machines were there", exit_code=ExitCode.STOPPED)
    word = last_word(run) or _death(failures, stop_signal)
    if launch.nodes == 1:  # else it stays until the next start: another machine's launcher may not have read it yet
        run.last_word.unlink(missing_ok=True)
    return word


def agent(
    run_id: str, launch: LaunchRequest, ranks: int, scratch: str, joining: bool = False, quiet: bool = False
) -> LaunchConfig:
    """What torch's elastic agent is told. On one machine the agents meet by a file, so that no port is opened.

    What the ranks print appears among what this process does; with `quiet` only in files in `scratch`.
    """
    redirected, shown = (Std.ALL, Std.NONE) if quiet else (Std.NONE, Std.ALL)
    if launch.rendezvous is None:
        endpoint, meeting, address = str(Path(scratch, "rendezvous")), {"store_type": "file"}, "127.0.0.1"
    else:
        endpoint, meeting, address = launch.rendezvous, {"is_host": str(not joining)}, own_address(launch.rendezvous)
    ending: dict[str, Any] = {"shutdown_timeout": ENDING_SECONDS} if hasattr(LaunchConfig, "shutdown_timeout") else {}
    return LaunchConfig(
        min_nodes=launch.nodes,
        max_nodes=launch.nodes,
        nproc_per_node=ranks,
        run_id=run_id,
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={**meeting, "timeout": RENDEZVOUS_SECONDS},
        max_restarts=launch.retries,
        logs_specs=DefaultLogsSpecs(log_dir=str(Path(scratch, "logs")), redirects=redirected, tee=shown),
        log_line_prefix_template="[rank ${rank}] ",
        local_addr=address,
        signals_to_handle="SIGQUIT",  # SIGTERM and SIGINT stay ours: they mean a checkpoint, not an end at once
        **ending,
    )


def own_address(rendezvous: str) -> str:
    """The address of this machine that the rendezvous is reached from. Nothing is sent. Raises OSError."""
    host, _, port = rendezvous.rpartition(":")
    family, kind, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def _interface(address: str) -> str | None:
    """The network interface that has this address."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(found.address.partition("%")[0] == address for found in addresses):
            return str(name)
    return None


def environment(launch: LaunchRequest, devices: Sequence[str], scratch: str) -> dict[str, str]:
    """What the ranks need to know. On one machine nothing listens but on the loopback interface."""
    variables = {LAUNCHER: str(os.getpid()), DEVICES: ",".join(devices), "PYTHONUNBUFFERED": "1"}
    if launch.rendezvous is None:
        variables[STORE] = str(Path(scratch, "ranks"))
        # The agent would open a port on every address for a store that the ranks here do without.
        variables["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        interface: str | None = "lo0" if sys.platform == "darwin" else "lo"
    else:
        interface = _interface(own_address(launch.rendezvous))
    for library in ("GLOO", "NCCL"):
        if interface and f"{library}_SOCKET_IFNAME" not in os.environ:
            variables[f"{library}_SOCKET_IFNAME"] = interface
    if devices[0] == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        cores = len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else os.cpu_count() or 1
        variables["OMP_NUM_THREADS"] = variables[SHARE] = str(max(1, cores // len(devices)))
    return variables


@contextmanager
def _attended(run: RunDirectory, launch: LaunchRequest, reporter: Reporter, stop_signal: StopSignal) -> Iterator[None]:
    """Within, a signal to this process asks the ranks to stop with a checkpoint, as a request in control.json does.

    Before all machines are there, it and such a request end the wait instead: LeftRendezvous.
    """
    done = threading.Event()
    main = threading.main_thread().ident
    assert main is not None and threading.current_thread() is threading.main_thread()

    def leave(number: int, frame: FrameType | None) -> None:
        raise LeftRendezvous

    def look() -> None:
        waiting = launch.nodes > 1
        control = ControlReader(run)
        while not done.wait(LOOK_SECONDS):
            if waiting and psutil.Process().children():
                waiting = False
                reporter.hand_over()
            elif waiting:
                asked = any(request.request.startswith("stop") for request in control.poll())
                if asked or stop_signal.received:
                    signal.pthread_kill(main, signal.SIGUSR1)
                    return
            if not waiting and stop_signal.received and _pass_on(run):
                return

    before = signal.signal(signal.SIGUSR1, leave)
    thread = threading.Thread(target=look, name="attendance", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def _pass_on(run: RunDirectory) -> bool:
    """Ask the ranks to stop; False where that is to be done again: no request can be written, so they get a signal."""
    try:
        send_request(run, "stop")
    except ValueError:  # a full disk; or the run is gone, which rank 0 finds out by itself
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if "RANK" in child.environ():
                    child.send_signal(signal.Signals[PASSED_ON])
        return False
    return True


def _death(failures: dict[int, ProcessFailure], stop_signal: StopSignal) -> LastWord:
    """How ranks ended that left no last word: by a signal, or by an error another try may not meet again."""
    if stop_signal.received:
        return LastWord(state=State.STOPPED, error=None, exit_code=ExitCode.STOPPED)
    if not failures:
        return LastWord(state=State.FAILED, error="the ranks ended without a word", exit_code=ExitCode.FAILED)
    return LastWord(state=State.FAILED, error=cause(failures), exit_code=ExitCode.FAILED)


def cause(failures: dict[int, ProcessFailure]) -> str:
    """Which of several ranks' failures brought on the others, in words."""
    rank, failure = min(failures.items(), key=lambda item: (_importance(item[1]), item[0]))
    return f"rank {rank} {_how(failure)}"


def _importance(failure: ProcessFailure) -> int:
    """Causes before consequences: killed, failed by itself, failed for want of another rank, ended by the agent."""
    if failure.exitcode < 0:
        return 0 if failure.exitcode != -signal.SIGTERM else 3
    return 2 if LOST_TOUCH in _message(failure) else 1


def _how(failure: ProcessFailure) -> str:
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        why = " (perhaps by the system, for lack of memory)" if name == "SIGKILL" else ""
        return f"(pid {failure.pid}) was killed by {name}{why}; the other ranks were ended"
    message = _message(failure)
    return f"failed: {message}" if message else f"ended with exit code {failure.exitcode} and without a word"


def _message(failure: ProcessFailure) -> str:
    """What the rank wrote into its error file, '' where it had no time to."""
    message = failure.message
    if isinstance(message, dict):
        message = message.get("message", "")
    return "" if failure.error_file == "<N/A>" else str(message).removeprefix("RuntimeError: ")
