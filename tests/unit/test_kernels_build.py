"""The library of `models.kernels`: built once, kept where nobody else can write, and in words why there is none."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from fmnist_tui import paths
from fmnist_tui.config import TrainingConfig
from fmnist_tui.models import kernels, layers
from fmnist_tui.models.kernels import build, switch
from fmnist_tui.training import precision
from fmnist_tui.training.precision import apply_global_settings, choose

CPU = torch.device("cpu")
BF16, FP32 = torch.bfloat16, torch.float32


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """A process that has not looked for the library yet."""
    build.library.cache_clear()
    kernels.problem.cache_clear()
    yield
    build.library.cache_clear()
    kernels.problem.cache_clear()


@pytest.fixture
def compiler() -> str:
    """A C compiler, where the kernels can be built at all."""
    try:
        build.library(BF16)
    except build.Unavailable as error:
        pytest.skip(f"no kernels here: {error}")
    build.library.cache_clear()
    return shlex.join(build.find_compiler())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str) -> Path:
    """An empty cache directory, from now on."""
    monkeypatch.setenv("FMNIST_TUI_CACHE_DIR", str(tmp_path / "empty"))
    return tmp_path / "empty"


@pytest.fixture
def unoptimised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the compiler take 0.4 s for a library, not 5: what it makes computes the same, and is kept as any other."""
    assert build.FLAGS[0] == "-O3"
    monkeypatch.setattr(build, "FLAGS", ("-O0", *build.FLAGS[1:]))


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str) -> Path:
    """Make CC a compiler that adds a line to the returned file each time it is called."""
    calls = tmp_path / "calls"
    calls.touch()
    wrapper = program(tmp_path / "bin" / "counting-cc", f'echo "$@" >> {calls}\nexec {compiler} "$@"')
    monkeypatch.setenv("CC", str(wrapper))
    return calls


@pytest.mark.usefixtures("cache")
def test_the_library_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    calls = counting(tmp_path, monkeypatch, compiler)
    build.library(BF16)
    built = calls.read_text()
    assert len(built.splitlines()) == 2, "compiled, and linked"
    (kept,) = paths.kernels_dir().glob("fused-*.so")
    assert [file.name for file in paths.kernels_dir().iterdir()] == [kept.name], "nothing is left beside it"
    assert stat.S_IMODE(paths.kernels_dir().stat().st_mode) == 0o700
    build.library.cache_clear()
    build.library(BF16)
    assert calls.read_text() == built


@pytest.mark.usefixtures("cache", "unoptimised")
@pytest.mark.parametrize("damage", ["cut short", "another's", "writable by all", "in a directory of all"])
def test_what_is_not_whole_or_not_safe_is_built_anew(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    """What is loaded runs: nothing that somebody else could have put there."""
    calls = counting(tmp_path, monkeypatch, compiler)
    build.library(BF16)
    (kept,) = paths.kernels_dir().glob("fused-*.so")
    whole = kept.read_bytes()
    if damage == "cut short":
        kept.unlink()  # not truncated in place: this process has it mapped
        kept.write_bytes(whole[:1000])
        kept.chmod(0o600)
    elif damage == "another's":
        user = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: user + 1)
    elif damage == "writable by all":
        kept.chmod(0o666)
    else:
        kept.parent.chmod(0o777)
    build.library.cache_clear()
    build.library(BF16)
    assert len(calls.read_text().splitlines()) == 4
    assert kept.read_bytes() == whole


@pytest.mark.usefixtures("unoptimised")
def test_without_a_place_to_keep_it_the_library_works(compiler: str, cache: Path) -> None:
    cache.touch()  # a file, where the directory should be
    kernels.problem.cache_clear()
    assert kernels.problem(BF16) is None and build.library(BF16) is not None


@pytest.mark.usefixtures("cache", "unoptimised")
def test_where_it_can_not_be_kept_nothing_is_left(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert build.library(BF16) is not None
    assert list(paths.kernels_dir().iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_without_room_for_temporary_files_there_is_a_reason(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build.tempfile, "TemporaryDirectory", full)
    kernels.problem.cache_clear()
    assert kernels.problem(BF16) == "it can't be built: [Errno 28] No space left on device"


@pytest.mark.usefixtures("cache", "unoptimised")
def test_another_processor_or_compiler_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    """Homes are shared between machines, and what is built for one may not run on another."""
    build.library(BF16)
    monkeypatch.setattr(build, "_processor", lambda: "another")
    build.library.cache_clear()
    build.library(BF16)
    counting(tmp_path, monkeypatch, compiler)
    build.library.cache_clear()
    build.library(BF16)
    assert len(list(paths.kernels_dir().glob("fused-*.so"))) == 3


@pytest.mark.usefixtures("cache", "unoptimised")
def test_the_compiler_may_be_a_command_or_a_path_with_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    wrapper = program(tmp_path / "my tools" / "cc", f'echo "$@" >> "{tmp_path}/calls"\nexec {compiler} "$@"')
    for command in (str(wrapper), f"'{wrapper}' -DMINE"):
        monkeypatch.setenv("CC", command)
        build.library.cache_clear()
        build.library(BF16)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.startswith("-DMINE ") for call in calls] == [False, False, True, True]
    monkeypatch.setenv("CC", "'gcc")
    with pytest.raises(build.Unavailable, match="CC = 'gcc is not a program here"):
        build.find_compiler()


def test_without_a_compiler_the_reason_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert kernels.problem(BF16) == "there is no C compiler (cc, gcc, clang); install one or name it in CC"
    kernels.problem.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler")
    problem = kernels.problem(BF16)
    assert problem == "CC = no-such-compiler is not a program here; name a C compiler or unset it"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'error: no OpenMP here' >&2; exit 1", "failed: error: no OpenMP here"),
        ("echo 'In file included from here:' >&2; echo 'x.h:1: fatal error: no OpenMP' >&2; exit 1", "fatal error: no"),
        ("exit 3", "failed: it says nothing"),
        ("exit 0", "can't be loaded"),
    ],
)
def test_a_compiler_that_fails_is_a_reason_not_an_error(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", str(program(tmp_path / "bin" / "bad-cc", text)))
    problem = kernels.problem(BF16)
    assert problem is not None and words in problem and "bad-cc" in problem


@pytest.mark.usefixtures("cache", "unoptimised")
@pytest.mark.parametrize(
    ("dtype", "file", "right", "wrong", "said"),
    [
        (
            BF16,
            "activation.h",
            "z < 0.0f ? 0.0f : z;",
            "z < 0.5f ? 0.0f : z;",
            "batch norm with relu and pooling differ",
        ),
        (BF16, "pool.c", "keep(from, place == 1)", "keep(from, place != 1)", "batch norm with relu and pooling differ"),
        (BF16, "mixture.c", "rest = 1.0f - part;", "rest = part;", "the mixture of two branches differs"),
        (FP32, "tiles.h", "y[3] = b + d - (A * A", "y[3] = b + d + (A * A", "convolution differs"),
    ],
)
def test_a_library_that_computes_something_else_is_refused(
    dtype: torch.dtype,
    file: str,
    right: str,
    wrong: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compiler: str,
) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(build.SOURCE.parent, sources, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    text = (sources / file).read_text()
    assert right in text
    (sources / file).write_text(text.replace(right, wrong))
    monkeypatch.setattr(build, "SOURCE", sources / build.SOURCE.name)
    kernels.problem.cache_clear()
    problem = kernels.problem(dtype)
    assert problem is not None and problem.startswith(f"{said} from torch's by ")
    assert kernels.in_use() is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "on: fewer "),
        ({"cpu_kernels": "on"}, "on: set"),
        ({"cpu_kernels": "off"}, "off: set"),
        ({"deterministic": True}, "off: off where deterministic"),
        ({"deterministic": True, "cpu_kernels": "on"}, "on: set"),
        ({"precision": "fp32"}, "on: fewer multiplications, and fewer passes over memory"),
        ({"precision": "fp16"}, "off: they are for bf16 and fp32 in channels_last"),
        ({"memory_format": "contiguous", "cpu_kernels": "on"}, "off: they are for bf16 and fp32 in channels_last"),
        ({"compile": "default", "cpu_kernels": "on"}, "off: off with torch.compile"),
    ],
)
def test_what_auto_chooses(
    settings: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    execution = choose(TrainingConfig.model_validate({"threads": 1, **settings}), CPU)
    assert execution.choices_in_words["cpu_kernels"].startswith(expected)
    assert execution.cpu_kernels is expected.startswith("on")


@pytest.mark.parametrize("convolves", [True, False])
def test_what_they_bring_in_bf16_depends_on_the_processor(
    convolves: bool, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr(kernels, "convolves", lambda dtype: convolves)
    said = choose(TrainingConfig(threads=1), CPU).reasons["cpu_kernels"]
    assert said == ("fewer multiplications, and fewer passes over memory" if convolves else "fewer passes over memory")


def test_a_library_may_have_no_convolutions(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    """As bf16's where the processor has no products of it: torch makes them."""
    loaded = build.library(BF16)
    assert build.convolves(BF16) == hasattr(loaded, "winograd_forward")
    monkeypatch.setattr(build, "convolves", lambda dtype: False)
    monkeypatch.setattr(switch, "_dtype", BF16)
    conv = layers.conv3x3(16, 24).to(memory_format=torch.channels_last)
    x = torch.ones(3, 16, 8, 8, dtype=BF16).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(conv(x), F.conv2d(x, conv.weight, padding=1))


def test_the_reason_without_a_compiler_is_the_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    monkeypatch.setenv("CC", "no-such-compiler")
    execution = choose(TrainingConfig(threads=1), CPU)
    assert not execution.cpu_kernels and "no-such-compiler" in execution.reasons["cpu_kernels"]


def test_a_gpu_knows_nothing_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(build, "library", None)
    execution = choose(TrainingConfig(cpu_kernels="on"), torch.device("cuda", 0))
    monkeypatch.undo()
    assert "cpu_kernels" not in execution.choices and not execution.cpu_kernels


def test_the_settings_of_a_run_switch_them(monkeypatch: pytest.MonkeyPatch, compiler: str) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    threads = torch.get_num_threads()
    try:
        for setting in ("on", "off"):
            execution = choose(TrainingConfig.model_validate({"threads": threads, "cpu_kernels": setting}), CPU)
            apply_global_settings(execution, False)
            assert kernels.in_use() is (BF16 if setting == "on" else None)
    finally:
        kernels.use(None)
