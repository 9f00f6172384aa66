"""monitor: samples of GPUs (a stand-in for the driver behind the real pynvml) and of the real host."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pynvml
import pytest

from fmnist_tui.monitor import RETRY_SECONDS, Monitor, gpu_count, list_gpus
from fmnist_tui.runs.metrics import SystemRecord, parse_metric
from tests.unit.fake_driver import QUESTIONS, FakeDriver

WHOLE = {
    "index": 0,
    "name": "Fake GPU 0",
    "uuid": "GPU-0a0b",
    "utilization": 87.0,
    "memory_used": 31 * 2**30,
    "memory_total": 139 * 2**30,
    "power": 512.25,
    "power_limit": 700.0,
    "temperature": 61.0,
    "sm_clock": 1980.0,
    "memory_clock": 3201.0,
    "energy": 12_345.678,
    "pids": [20, 30, 40],
}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return FakeDriver(1).install(monkeypatch)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without NVIDIA's library, also where the tests run on one that has it."""

    def missing(*_: object) -> None:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_with_units(driver: FakeDriver, tmp_path: Path) -> None:
    with_gpu = Monitor(tmp_path)
    sample = with_gpu.sample()
    assert [gpu.model_dump() for gpu in sample.gpus] == [WHOLE]
    assert with_gpu.gpu_problem == ""
    assert parse_metric(sample.to_json()) == sample


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("code", ["NOT_SUPPORTED", "NO_PERMISSION", "UNKNOWN", "FUNCTION_NOT_FOUND"])
def test_a_refused_field_loses_only_itself(driver: FakeDriver, tmp_path: Path, question: str, code: str) -> None:
    driver.errors[question, None] = getattr(pynvml, f"NVML_ERROR_{code}")
    monitor = Monitor(tmp_path)
    (gpu,) = monitor.sample().gpus
    expected = WHOLE | dict.fromkeys(QUESTIONS[question])
    if question == "nvmlDeviceGetName":
        expected["name"] = "GPU 0"
    if question == "nvmlDeviceGetUUID":
        expected["uuid"] = ""
    if "pids" in QUESTIONS[question]:
        expected["pids"] = [20, 30] if "Compute" in question else [20, 40]
    assert gpu.model_dump() == expected
    assert monitor.gpu_problem == ""


def test_a_driver_older_than_a_question(driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(handle: int) -> None:
        raise pynvml.NVMLLibraryMismatchError("use a versioned function")

    monkeypatch.setattr(pynvml, "nvmlDeviceGetGraphicsRunningProcesses", unknown)
    (gpu,) = Monitor(tmp_path).sample().gpus
    assert gpu.pids == [20, 40]


def test_several_gpus_and_one_that_is_lost(driver: FakeDriver, tmp_path: Path) -> None:
    driver.gpus = 3
    now = [0.0]
    monitor = Monitor(tmp_path, clock=lambda: now[0])
    assert [(gpu.index, gpu.utilization) for gpu in monitor.sample().gpus] == [(0, 87), (1, 86), (2, 85)]
    driver.errors["nvmlDeviceGetPowerUsage", 1] = pynvml.NVML_ERROR_GPU_IS_LOST
    assert [gpu.index for gpu in monitor.sample().gpus] == [0, 2]
    assert monitor.gpu_problem.startswith("GPU 1 ") and "lost" in monitor.gpu_problem

    del driver.errors["nvmlDeviceGetPowerUsage", 1]  # it is left alone until the retry
    now[0] = RETRY_SECONDS - 1
    assert [gpu.index for gpu in monitor.sample().gpus] == [0, 2]
    now[0] = RETRY_SECONDS
    assert [gpu.index for gpu in monitor.sample().gpus] == [0, 1, 2]
    assert monitor.gpu_problem == ""
    assert driver.connected == 1
    monitor.close()
    assert driver.connected == 0


def test_a_gpu_that_gives_no_handle(driver: FakeDriver, tmp_path: Path) -> None:
    driver.gpus = 2
    driver.errors["nvmlDeviceGetHandleByIndex", 0] = pynvml.NVML_ERROR_NO_PERMISSION
    monitor = Monitor(tmp_path)
    assert [gpu.index for gpu in monitor.sample().gpus] == [1]
    assert monitor.gpu_problem == "GPU 0 does not answer (Insufficient Permissions)"


def test_a_driver_that_goes_away_and_comes_back(driver: FakeDriver, tmp_path: Path) -> None:
    now = [100.0]
    monitor = Monitor(tmp_path, clock=lambda: now[0])
    assert driver.inits == 1
    driver.errors["nvmlDeviceGetTemperature", None] = pynvml.NVML_ERROR_UNINITIALIZED
    driver.errors["nvmlInit", None] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    sample = monitor.sample()
    assert sample.gpus == [] and sample.host.ram_total
    assert monitor.gpu_problem == "the connection to the NVIDIA driver is gone"

    for second in range(1, 30):  # not asked again
        now[0] = 100 + second
        assert monitor.sample().gpus == []
    assert driver.inits == 1
    now[0] = 131
    assert monitor.sample().gpus == [] and driver.inits == 2
    assert monitor.gpu_problem == "the NVIDIA driver is not loaded"
    now[0] = 160
    monitor.sample()
    assert driver.inits == 2  # 30 s count from the last try

    driver.errors.clear()
    now[0] = 162
    assert len(monitor.sample().gpus) == 1 and driver.inits == 3
    assert monitor.gpu_problem == ""


def test_a_closed_monitor_samples_the_host_only(driver: FakeDriver, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, clock=lambda: 1e9)
    monitor.close()
    sample = monitor.sample()
    assert sample.gpus == [] and sample.host.cores
    assert driver.connected == 0


@pytest.mark.parametrize(
    ("code", "words", "detail"),
    [
        ("LIBRARY_NOT_FOUND", "no GPU", "libnvidia-ml"),
        ("DRIVER_NOT_LOADED", "the NVIDIA driver is not loaded", ""),
        ("LIB_RM_VERSION_MISMATCH", "updated", "restart the machine"),
        ("UNKNOWN", "the NVIDIA driver does not answer (Unknown Error)", ""),
    ],
)
def test_no_connection_in_words(driver: FakeDriver, tmp_path: Path, code: str, words: str, detail: str) -> None:
    driver.errors["nvmlInit", None] = getattr(pynvml, f"NVML_ERROR_{code}")
    monitor = Monitor(tmp_path)
    assert words in monitor.gpu_problem
    assert monitor.sample().gpus == []
    count, reason = gpu_count()
    assert count == 0 and words in reason and detail in reason


def test_a_driver_without_gpus(driver: FakeDriver, tmp_path: Path) -> None:
    driver.gpus = 0
    monitor = Monitor(tmp_path)
    assert monitor.gpu_problem == "no GPU" and monitor.sample().gpus == []
    assert gpu_count() == (0, "no GPU: the NVIDIA driver finds none")
    assert driver.connected == 0


def test_no_nvidia_library(no_library: None, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path)
    sample = monitor.sample()
    assert monitor.gpu_problem == "no GPU" and sample.gpus == []
    assert list_gpus() == ([], "no GPU: the NVIDIA driver's library (libnvidia-ml) is not installed")
    monitor.close()


def test_no_python_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Monitor(tmp_path).gpu_problem == "no GPU"
    assert gpu_count() == (0, "no GPU: the Python package nvidia-ml-py is not installed")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA driver")
def test_the_real_absence_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Monitor(tmp_path).gpu_problem == "no GPU"
    assert gpu_count()[0] == 0


@pytest.mark.parametrize(
    ("variable", "indices"),
    [
        (None, [0, 1, 2]),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("1, 0", [1, 0]),
        ("0,-1,1", [0]),
        ("0,7,1", [0]),
        ("0,1,0", []),
        ("", []),
        ("-1", []),
        ("no", []),
        ("GPU-2a", [2]),
        ("GPU-1a1b,GPU-0a0b", [1, 0]),
        ("GPU-9", []),
        ("GPU-", []),  # the beginning of all three is none's name
        ("GPU-1a,1", [1]),
        ("MIG-on-1", [1]),
        ("MIG-unknown", []),
    ],
)
def test_visible_gpus(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, variable: str | None, indices: list[int]
) -> None:
    driver.gpus = 3
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    gpus, problem = list_gpus()
    assert [gpu.index for gpu in gpus] == indices
    assert [gpu.ordinal for gpu in gpus] == list(range(len(indices)))
    for gpu in gpus:
        assert (gpu.name, gpu.uuid) == (f"Fake GPU {gpu.index}", f"GPU-{gpu.index}a{gpu.index}b")
        assert gpu.memory_total == 139 * 2**30
    if indices:
        assert problem == "" and gpu_count() == (len(indices), "")
    else:
        assert problem == f"no GPU: CUDA_VISIBLE_DEVICES={variable!r} hides all of this machine's GPUs (3)"
        assert gpu_count() == (0, problem)
    assert driver.connected == 0  # nothing is left open


def test_a_driver_lost_while_listing(driver: FakeDriver) -> None:
    driver.errors["nvmlDeviceGetName", None] = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert list_gpus() == ([], "the NVIDIA driver is not loaded")
    assert driver.connected == 0


def test_the_host(no_library: None, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, os.getpid())
    first = monitor.sample().host
    assert first.cpu_percent is None and first.process_cpu_percent is None  # nothing to compare with yet
    assert first.cores == psutil.cpu_count()
    assert first.ram_total == psutil.virtual_memory().total
    assert first.ram_used is not None and first.ram_total is not None and 0 < first.ram_used < first.ram_total
    assert first.disk_free is not None and first.process_rss is not None
    assert abs(first.disk_free - psutil.disk_usage(str(tmp_path)).free) < 2**30
    assert abs(first.process_rss - psutil.Process().memory_info().rss) < 2**26

    busy_until = psutil.Process().cpu_times().user + 0.2
    while psutil.Process().cpu_times().user < busy_until:
        sum(range(10_000))
    second = monitor.sample().host
    assert second.cpu_percent is not None and second.process_cpu_percent is not None
    assert 0 < second.cpu_percent <= 100
    assert 5 < second.process_cpu_percent < 1000


def test_shares_are_the_same_from_another_thread(no_library: None, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, os.getpid())
    monitor.sample()
    before = psutil.Process().cpu_times().user
    while psutil.Process().cpu_times().user < before + 0.1:
        sum(range(10_000))
    found: list[SystemRecord] = []
    thread = threading.Thread(target=lambda: found.append(monitor.sample()))
    thread.start()
    thread.join()
    share = found[0].host.process_cpu_percent
    assert share is not None and share > 0  # psutil's own cpu_percent() says 0 to a new thread


def test_two_samples_at_once_make_no_share_up(
    no_library: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist_tui.monitor.host.TICK_SECONDS", 1e9)
    monitor = Monitor(tmp_path, os.getpid())
    monitor.sample()
    assert monitor.sample().host.cpu_percent is None
    assert monitor.sample().host.process_cpu_percent is None


def test_a_process_that_ends_and_a_disk_that_is_not_there(no_library: None, tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monitor = Monitor(tmp_path / "missing", child.pid)
    size = monitor.sample().host.process_rss
    assert size is not None and size > 0
    child.kill()  # a zombie until it is waited for
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    host = monitor.sample().host
    assert (host.process_rss, host.process_cpu_percent, host.disk_free) == (None, None, None)
    assert host.ram_total
    child.communicate()
    assert Monitor(tmp_path, child.pid).sample().host.process_rss is None


def test_monitor_imports_no_torch_and_no_textual() -> None:
    code = "import sys; from fmnist_tui import monitor; monitor.gpu_count(); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "textual", "numpy"} & set(done.stdout.split())
