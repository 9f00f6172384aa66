"""Hand a run to Slurm through submitit, which is imported only here and within the job.

Called by the command line and the app, for runs whose launch.json says `slurm`; `slurm_job` is what then runs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from fmnist_tui.runs import jobs, starting
from fmnist_tui.runs.errors import RunError
from fmnist_tui.runs.files import replace_bytes
from fmnist_tui.runs.launch import LaunchRequest, last_launch
from fmnist_tui.runs.layout import RunDirectory
from fmnist_tui.runs.process import status_noted
from fmnist_tui.runs.slurm import SlurmSettings
from fmnist_tui.runs.slurm_job import RunJob
from fmnist_tui.runs.status import SlurmJob
from fmnist_tui.runs.store import Run

CORES_PER_RANK = 2
"""One for training, one for the heartbeat, the samples and the checkpoints' writer."""

_ELSEWHERE = "submit from a login node of the cluster, or train on this machine"


def check_slurm() -> None:
    """Raises RunError where no job can be submitted from this machine, before anything is made."""
    if importlib.util.find_spec("submitit") is None:
        raise RunError("a Slurm job needs submitit, which is not installed; pip install 'fmnist-tui[slurm]'")
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise RunError(f"a Slurm job needs sbatch and srun, which are not here; {_ELSEWHERE}")
    file = os.environ.get("SLURM_CONF")
    if file and not Path(file).exists():  # sbatch would wait a minute for it
        raise RunError(f"no Slurm job: SLURM_CONF = {file}: there is no such file; name another, or unset it")


def submit(run: RunDirectory, cluster: Literal["slurm", "local"] = "slurm") -> SlurmJob:
    """Submit a job that trains the run as its launch.json says, and write its id into launch.json and status.json.

    'local' has submitit start the job's process on this machine instead. Raises RunError with Slurm's own words
    where it refuses.
    """
    import submitit

    launch = last_launch(run)
    settings = launch.slurm or SlurmSettings()
    run.slurm.mkdir(exist_ok=True)
    options = {f"{cluster}_max_num_timeout": settings.requeues} if cluster == "slurm" else {}
    with status_noted(run) as write_down:
        try:
            executor = submitit.AutoExecutor(folder=run.slurm, cluster=cluster, **options)
            executor.update_parameters(**_parameters(run, launch, settings))
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it raises as well
                submitted = executor.submit(RunJob(str(run.path.absolute())))
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
            raise RunError(_refusal(str(error))) from None
        except OSError as error:
            raise RunError(f"the job could not be submitted: {error.strerror}: {error.filename}") from None
        job = jobs.own_job(submitted.job_id)
        write_down(job=job, phase="")
    replace_bytes(run.launch, launch.model_copy(update={"job": job}).to_json().encode())
    return job


def submit_new(run: RunDirectory) -> None:
    """Hand a run that was just made to Slurm; where Slurm refuses, nothing of it stays. Raises RunError."""
    try:
        submit(run)
    except RunError:
        shutil.rmtree(run.path)
        raise


def resubmit(run: Run, device: str, data_dir: Path | None, **how: Any) -> SlurmJob:
    """`starting.prepare_resume` and `submit`; where Slurm refuses, the run stays as it was. Raises RunError."""
    check_slurm()
    before = {path: path.read_bytes() for path in (run.directory.status, run.directory.launch) if path.exists()}
    starting.prepare_resume(run, device, data_dir, **how, launcher="slurm")
    try:
        return submit(run.directory)
    except RunError:
        for path, content in before.items():
            replace_bytes(path, content)
        raise


_CANNOT_SUBMIT = {
    "Could not establish a configuration source": "Slurm has no configuration on this machine: no slurm.conf where it "
    f"looks, and SLURM_CONF names none; {_ELSEWHERE}, or set SLURM_CONF=FILE",
    "Unable to process configuration file": "Slurm's configuration on this machine ({file}) is not one; correct it, or "
    "set SLURM_CONF to another file",
    "Unable to contact slurm controller": "Slurm's controller does not answer; see `scontrol ping`, and try again "
    "when it is up",
}
"""What sbatch says where it could ask nobody, as what is wrong and what to do."""
_SAID_LENGTH = 200


def _refusal(error: str) -> str:
    """Why there is no job. `error` is sbatch's: its lines go on one, without its own names."""
    lines = [_OWN_NAMES.sub("", line.strip()) for line in error.splitlines()]
    said = "; ".join(line for line in lines if line) or "without a word"
    for words, wrong in _CANNOT_SUBMIT.items():
        if words in error:
            shortened = said if len(said) <= _SAID_LENGTH else f"{said[:_SAID_LENGTH]}..."
            file = os.environ.get("SLURM_CONF", "slurm.conf")
            return f"no Slurm job: {wrong.format(file=file)}. Slurm says: {shortened}"
    hint = "; slurm.gres asks for GPUs of a kind, the device cpu for none" if "gres" in error.lower() else ""
    return f"Slurm refused the job: {said}{hint}"


_OWN_NAMES = re.compile(r"^sbatch: (?:error: |fatal: )?(?:_?[a-z]+(?:_[a-z]+)+: )*")


def _parameters(run: RunDirectory, launch: LaunchRequest, settings: SlurmSettings) -> dict[str, Any]:
    """submitit's parameters: one task on each node, which starts that node's ranks itself."""
    cores = settings.cpus_per_task or CORES_PER_RANK * launch.gpus
    wants_gpus = launch.device != "cpu" and settings.gres is None
    more = {"requeue": True}  # also where the cluster's default is not to
    if settings.reservation is not None:
        more["reservation"] = settings.reservation  # type: ignore[assignment]
    parameters: dict[str, Any] = {
        "name": run.id,
        "nodes": launch.nodes,
        "tasks_per_node": 1,
        "gpus_per_node": launch.gpus if wants_gpus else None,
        "cpus_per_task": cores,
        "timeout_min": settings.time,
        "slurm_signal_delay_s": settings.signal_seconds,
        "slurm_setup": ["export PYTHONSAFEPATH=1", *settings.setup],  # as `process.start_worker` does
        "slurm_additional_parameters": more,
        "slurm_srun_args": [f"--cpus-per-task={cores}"],  # srun does not take it from sbatch any more (22.05)
    }
    for key in ("partition", "account", "qos", "mem", "constraint", "nodelist", "exclude", "gres"):
        parameters[f"slurm_{key}"] = getattr(settings, key)
    if settings.exclusive:
        parameters["slurm_exclusive"] = True
    return parameters
