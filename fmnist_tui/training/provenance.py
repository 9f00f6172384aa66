"""What a run is made with: versions, machine, source and data of one start of its worker.

Written into the run's start event and its result; `probe` prints the part that needs no run, for `run repeat`.
"""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import fmnist_tui
from fmnist_tui.runs.launch import LaunchRequest
from fmnist_tui.runs.result import Provenance

if TYPE_CHECKING:
    from fmnist_tui.data.source import Images


def environment() -> Provenance:
    """What a worker started now on this machine would be made with; command and data are left out."""
    cuda = torch.cuda.is_available()
    cudnn = torch.backends.cudnn.version() if cuda else None
    changed = _git("status", "--porcelain", "--", ".")
    return Provenance(
        fmnist_tui=fmnist_tui.__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        torchvision=metadata.version("torchvision"),
        numpy=metadata.version("numpy"),
        cuda=torch.version.cuda if cuda else None,
        cudnn=str(cudnn) if cudnn else None,
        driver=_nvidia_driver(),
        platform=platform.platform(),
        system=system_name(),
        cpu=cpu_name(),
        threads=torch.get_num_threads(),
        git_commit=_git("rev-parse", "HEAD"),
        git_dirty=bool(changed) if changed is not None else None,
    )


def provenance(launch: LaunchRequest, images: Images) -> Provenance:
    """Versions, machine, source and data of this start."""
    return environment().model_copy(update={"command": launch.command, "data_sha256": dict(images.sha256)})


def _git(*arguments: str) -> str | None:
    """What git says of this package's directory; None where that is not at the top of a checkout, or without git."""
    here = Path(fmnist_tui.__file__).parent
    if not (here.parent / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def system_name() -> str:
    """The operating system by its own name, for example 'Debian GNU/Linux 12 (bookworm)'."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # no Linux, or one that does not say
        return f"{platform.system()} {platform.mac_ver()[0] or platform.release()}"


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _nvidia_driver() -> str | None:
    """The NVIDIA driver's version as NVML tells it; None where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
    return version if isinstance(version, str) else version.decode()
