"""What is owed on a GPU, in one call of under ten minutes:

    PYTHONPATH=. python benchmarks/gpu_session.py --output "$OUT"

in the repository's root, with pytest and what pyproject.toml lists under dependencies, but for textual.

One after the other, each in a process of its own with a limit, so that one that hangs or fails takes nothing from the
others: the tests marked `gpu`; `fmnist-tui bench --compare` of the presets, of the first one also through the path of
several GPUs; a profiler trace of a few steps of each, eager, from CUDA graphs, and compiled as well. Everything is
written to the output directory (gpu-tests.txt, bench.jsonl, bench.md, profile.jsonl, traces of the first preset); a
short table comes last on stdout. `--only` leaves parts out, `--device cpu` with few seconds tries it out, and with
`--profile` there are only the traces, in this process. (On the lent machine of 2026-11-28 a process took some 10 s to
import torch, and a compiled preset one to three minutes.)
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmnist_tui.data import source
from fmnist_tui.report import markdown
from fmnist_tui.report.bench import BenchFileError, BenchRecord, read_records
from fmnist_tui.report.bench_tables import markdown_page, times
from fmnist_tui.report.words import speed

PRESETS = ("wrn", "densenet", "dpn", "shake-shake-96", "shake-shake-64", "turbo", "turbo-long")
PARTS = ("tests", "bench", "profiles")
TEST_SHARE, BENCH_SHARE = 0.45, 0.8
"""Of the time that is left when each begins; what then remains is the profiler's."""
VARIANTS = {
    "eager": {"training.compile": "off", "training.cuda_graphs": "off"},
    "graphs": {"training.compile": "off", "training.cuda_graphs": "on"},
    "compiled": {"training.compile": "default", "training.cuda_graphs": "on"},
    "compiled-only": {"training.compile": "default", "training.cuda_graphs": "off"},
}
"""How a step is profiled."""
TIMED_STEPS, PROFILED_STEPS = 40, 5
TOP = 12
"""Operations of a preset that are kept, by their own time on the device."""
SYNCHRONISING = {
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cudaMemcpy",
    "aten::_local_scalar_dense",
}
"""Calls in which the host waits for the device; the last is what .item() does."""


def main() -> int:
    """Run the session, or one profile of it; 0 where every part gave its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--output", type=Path, required=True, help="a directory")
    parser.add_argument("--seconds", type=float, default=570.0, help="for everything")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for trying the script out")
    parser.add_argument("--only", action="append", choices=PARTS, help="of the session; repeat for several")
    parser.add_argument("--profile", action="store_true", help="only profile the presets, in this process")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="of the profiles; repeat for several")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.profile:
        profiles = []
        for preset, variant in itertools.product(options.presets, options.variant or VARIANTS):
            profiles.append(profile(preset, options.device, options.set, options.output, variant))
            print(json.dumps(profiles[-1]), flush=True)
        print(table([], profiles))
        return 0
    return session(options)


def session(options: argparse.Namespace) -> int:
    """The three parts and the table."""
    os.environ["PYTHONPATH"] = search_path(os.environ.get("PYTHONPATH", ""))
    until = time.monotonic() + options.seconds
    failed = []

    def left(share: float) -> float:
        return max(1.0, (until - time.monotonic()) * share)

    parts = options.only or PARTS
    records: list[BenchRecord] = []
    if "tests" in parts:
        said, code = run(gpu_tests(), left(TEST_SHARE) if parts != ["tests"] else left(1.0))
        (options.output / "gpu-tests.txt").write_text(said)
        failed += ["tests"] if code else []
    if "bench" in parts:
        records = bench(options, left(BENCH_SHARE) if "profiles" in parts else left(1.0))
        measured = {record.preset for record in records}
        failed += [f"bench of {name}" for name in options.presets if name not in measured]

    profiles: list[dict[str, Any]] = []
    if "profiles" in parts:
        profiles, without = profile_each(options, left(1.0))
        failed += [f"profile of {name}" for name in without]
    if "tests" in parts:
        print((options.output / "gpu-tests.txt").read_text()[-600:])
    print(table(records, profiles))
    print("failed: " + ", ".join(failed) if failed else "every part gave its result")
    return int(bool(failed))


def search_path(given: str) -> str:
    """PYTHONPATH for what is started here, in whatever directory it works: absolute, this checkout first."""
    paths = [str(Path(path).absolute()) for path in given.split(os.pathsep) if path]
    return os.pathsep.join(dict.fromkeys([str(Path(__file__).resolve().parents[1]), *paths]))


def gpu_tests() -> list[str]:
    """The command that runs every test for a GPU, those of the steps first.

    A lent machine may lack what other tests need: without pytest-asyncio a strict pytest would refuse its settings.
    Each test's line comes as it ends, for one that takes too long takes the summary with it. What passed tests have
    printed is shown too: figures of trials of compiling.
    """
    marked = [path for path in sorted(Path("tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    files = [str(path) for path in sorted(marked, key=lambda path: path.name != "test_gpu.py")]
    return [sys.executable, "-m", "pytest", "-v", "-o", "addopts=-rAP --durations=0", "-m", "gpu", *files]


def run(command: Sequence[str], seconds: float) -> tuple[str, int]:
    """A command's stdout and stderr, and its exit code: 124 where it was ended after `seconds`."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        return (said.decode(errors="replace") if isinstance(said, bytes) else said) + "\nended: took too long\n", 124
    return done.stdout, done.returncode


def bench(options: argparse.Namespace, seconds: float) -> list[BenchRecord]:
    """Measure the presets, each by its own call, so that what was measured before a limit is kept."""
    records: list[BenchRecord] = []
    until = time.monotonic() + seconds
    for number, preset in enumerate(options.presets):
        each = max(1.0, (until - time.monotonic()) / (len(options.presets) - number))
        file = options.output / "bench-one.jsonl"
        command = [sys.executable, "-m", "fmnist_tui", "bench", preset, "--compare", "--json", "--output", str(file)]
        command += ["--gpus", "1"] if number == 0 else []  # what the path of several GPUs costs by itself
        command += ["--device", options.device, "--seconds", f"{0.8 * each:.0f}", "--data", data_source()]
        said, code = run([*command, *(f"--set={setting}" for setting in options.set)], 2 * each)
        if code:
            print(f"bench of {preset}:\n{said[-2000:]}")
            continue
        try:
            records += read_records([file])
        except BenchFileError as error:
            print(error)
        file.unlink(missing_ok=True)
        # After each: what was measured before a machine is taken away shall be there.
        (options.output / "bench.jsonl").write_text("".join(record.to_json() + "\n" for record in records))
        (options.output / "bench.md").write_text(markdown.write(markdown_page(records)))
    return records


def profile_each(options: argparse.Namespace, seconds: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Profile the presets, each in a process of its own: what was found, and the presets of which some is missing."""
    profiles: list[dict[str, Any]] = []
    incomplete = []
    until = time.monotonic() + seconds
    for number, preset in enumerate(options.presets):
        own = [sys.executable, __file__, "--profile", preset, "--device", options.device]
        own += ["--output", str(options.output), *(f"--set={setting}" for setting in options.set)]
        own += [f"--variant={variant}" for variant in options.variant or ()]
        said, code = run(own, max(1.0, (until - time.monotonic()) / (len(options.presets) - number)))
        profiles += [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        (options.output / "profile.jsonl").write_text("".join(json.dumps(one) + "\n" for one in profiles))
        if code:
            incomplete.append(preset)
            print(said[-2000:])
    for trace in sorted(options.output.glob("trace-*.json.gz")):
        if not trace.name.startswith(f"trace-{options.presets[0]}-"):
            trace.unlink()
    return profiles, incomplete


def data_source() -> str:
    """The full data set where this machine has it, else the sample: a step's time does not depend on the images."""
    try:
        source.find()
    except source.DataError:
        return "sample"
    return "full"


def profile(preset: str, device: str, settings: list[str], output: Path, variant: str = "eager") -> dict[str, Any]:
    """A few steps under the profiler: where the time goes, and how often the host waits for the device."""
    import torch
    from torch.profiler import ProfilerActivity, record_function

    from fmnist_tui.console.configure import parse_settings
    from fmnist_tui.fields import with_changes
    from fmnist_tui.models.count import training_flops_per_image
    from fmnist_tui.presets import load_preset
    from fmnist_tui.training.precision import choose, resolve_device
    from fmnist_tui.training.result import device_name, peak_memory_bytes
    from fmnist_tui.training.rig import Rig

    config = with_changes(load_preset(preset), parse_settings(settings) | VARIANTS[variant])
    config = config.model_copy(update={"data": config.data.model_copy(update={"source": data_source()})})
    execution = choose(config.training, resolve_device(device))
    rig = Rig(config, execution, source.load(config.data), eval_images=8)
    rig.begin(config.training.epochs)
    began = time.perf_counter()
    compiles = rig.settle_compilation()
    compile_seconds = time.perf_counter() - began if compiles else None
    rig.warm_up()
    on_gpu = execution.device.type == "cuda"
    timed_steps = TIMED_STEPS if on_gpu else PROFILED_STEPS
    plain_seconds = rig.run_steps(timed_steps) / timed_steps
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities) as profiler:
        with record_function("the steps"):
            for _ in range(PROFILED_STEPS):
                rig.take_step()
        rig.synchronize()
    events = profiler.events() or []
    steps = next(event.time_range for event in events if event.name == "the steps")
    waits = [
        event.name
        for event in events
        if event.name in SYNCHRONISING and steps.start <= event.time_range.start <= steps.end
    ]
    profiler.export_chrome_trace(str(output / f"trace-{preset}-{variant}.json.gz"))
    where = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    kernels = [average for average in profiler.key_averages() if counts(average, on_gpu)]
    kernels.sort(key=lambda average: getattr(average, where), reverse=True)
    busy = sum(getattr(average, where) for average in kernels) / PROFILED_STEPS / 1e6
    return {
        "preset": preset,
        "variant": variant,
        "device": str(execution.device),
        "device_name": device_name(execution.device),
        "torch": torch.__version__,
        "choices": rig.execution.choices,
        "compile": rig.execution.reasons["compile"],
        "compile_seconds": compile_seconds,
        "recorded": rig.step.graphs is not None and rig.step.graphs.problem is None,
        "batch_size": rig.batch_size,
        "flops_per_second": rig.batch_size * training_flops_per_image(config.model) / plain_seconds,
        "peak_memory_bytes": peak_memory_bytes(execution.device),
        "step_seconds": plain_seconds,
        "busy_seconds": busy,
        "launches": sum(average.count for average in kernels) / PROFILED_STEPS,
        "waits": {name: waits.count(name) / PROFILED_STEPS for name in sorted(set(waits))},
        "top": [
            {
                "name": average.key[:120],
                "calls": average.count / PROFILED_STEPS,
                "milliseconds": getattr(average, where) / PROFILED_STEPS / 1000,
            }
            for average in kernels[:TOP]
        ],
    }


def counts(average: Any, on_gpu: bool) -> bool:
    """Whether a line of the profile is work of the device: no name that torch or we gave to a stretch of kernels."""
    import torch

    if on_gpu:
        return average.device_type == torch.autograd.DeviceType.CUDA and not average.is_user_annotation
    return bool(average.key != "the steps")


def table(records: Sequence[BenchRecord], profiles: Sequence[dict[str, Any]]) -> str:
    """One line for what bench found of a preset, and one for each of its profiles, per step."""
    lines = []
    if records:
        lines.append(f"{'preset':<16}{'img/s':>9}{'eval':>9}{'GFLOP/s':>9}{'share':>7}{'compile':>9}{'ratio':>7}")
    for record in records:
        line = f"{record.preset:<16}{speed(record.images_per_second):>9}{speed(record.eval_images_per_second):>9}"
        line += f"{record.flops_per_second / 1e9:>9,.0f}{100 * record.ceiling_share:>6.0f}%"
        line += f"{record.compile_seconds or 0:>8.0f}s"
        lines.append(line + f"{times(record.comparison.ratio.median) if record.comparison else '-':>7}")
    if profiles:
        head = f"{'preset':<16}{'variant':<14}{'ms/step':>9}{'busy ms':>9}{'kernels':>9}{'waits':>7}{'GFLOP/s':>9}"
        lines.append(f"{head}{'compile':>9}  longest")
    for found in profiles:
        line = f"{found['preset']:<16}{found['variant']:<14}{1000 * found['step_seconds']:>9.2f}"
        line += f"{1000 * found['busy_seconds']:>9.2f}{found['launches']:>9.0f}{sum(found['waits'].values()):>7.1f}"
        line += f"{found['flops_per_second'] / 1e9:>9,.0f}{found['compile_seconds'] or 0:>8.0f}s"
        lines.append(line + (f"  {found['top'][0]['name'][:40]}" if found["top"] else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
