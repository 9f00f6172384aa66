"""The libraries of `fused.c`, one a dtype: compiled for this processor at first use, kept in the cache directory."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from fmnist_tui import paths

SOURCE = Path(__file__).with_name("fused.c")
COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O3", "-fopenmp", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-w")
SECONDS = 120.0
"""A compiler that takes longer is given up. It takes 3 to 7."""

DTYPES = {torch.bfloat16: ("bf16", ()), torch.float32: ("fp32", ("-DFP32",))}
"""Of the images: the library's name, and what tells the sources."""

POINTER, LONG, INT, DOUBLE = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_double
SIGNATURES = {
    "norm_forward": [*[POINTER] * 2, *[LONG] * 2, *[POINTER] * 4, *[DOUBLE] * 2, *[POINTER] * 2, *[INT] * 2],
    "norm_evaluate": [*[POINTER] * 2, *[LONG] * 2, *[POINTER] * 4, DOUBLE, *[INT] * 2],
    "norm_backward": [*[POINTER] * 3, LONG, POINTER, *[LONG] * 2, *[POINTER] * 3, *[INT] * 2],
    "norm_statistics": [POINTER, *[LONG] * 2, *[POINTER] * 4, *[DOUBLE] * 2, *[POINTER] * 2, INT],
    "pool_forward": [*[POINTER] * 2, *[LONG] * 4, INT],
    "pool_backward": [*[POINTER] * 3, *[LONG] * 4, INT],
    "mixture_forward": [*[POINTER] * 5, *[LONG] * 3, *[POINTER] * 3, INT],
    "mixture_backward": [*[POINTER] * 8, *[LONG] * 3, *[POINTER] * 5, INT],
}
"""Arguments of each function of a library; none returns anything."""
CONVOLUTION_SIGNATURES = {
    "winograd_forward": [*[POINTER] * 4, LONG, POINTER, *[LONG] * 7, *[INT] * 2],
    "winograd_backward": [*[POINTER] * 7, *[LONG] * 7, *[INT] * 2],
    "winograd_room": [*[LONG] * 6, *[INT] * 3],
}
"""What a library has beside them where convolutions are faster by it; those of rooms return a long."""
FP32_SIGNATURES = {
    "norm_coefficients": [POINTER, *[LONG] * 2, *[POINTER] * 4, *[DOUBLE] * 2, POINTER],
    "norm_slopes": [*[POINTER] * 2, *[LONG] * 2, *[POINTER] * 4, INT],
    "planes_room": [*[LONG] * 2],
    "planes_append": [POINTER, *[LONG] * 2, POINTER, *[LONG] * 2, *[POINTER] * 2, INT],
    "planes_forward": [POINTER, *[LONG] * 2, *[POINTER] * 2, INT],
    "planes_backward": [POINTER, *[LONG] * 2, *[POINTER] * 6, INT],
    "planes_rest": [*[POINTER] * 2, *[LONG] * 4, *[POINTER] * 2, INT],
    "pointwise_forward": [POINTER, *[LONG] * 3, *[POINTER] * 3, LONG, *[POINTER] * 3, INT],
    "pointwise_backward": [POINTER, *[LONG] * 3, *[POINTER] * 5, LONG, *[POINTER] * 6, INT],
    "pointwise_room": [*[LONG] * 2, *[INT] * 2],
}
"""What the fp32 library has beside all of them."""


class Unavailable(Exception):
    """There is no library on this machine; the text says why, and the remedy where there is one."""


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL:
    """The loaded library for images of a dtype of DTYPES, its functions declared. Raises Unavailable.

    torch is imported before: its OpenMP is used, so that there is one pool of threads.
    """
    compiler = find_compiler()
    try:
        return _kept_or_built(compiler, *DTYPES[dtype])
    except OSError as error:  # no room for temporary files, a compiler that has just gone
        raise Unavailable(f"it can't be built: {error}") from None


def convolves(dtype: torch.dtype) -> bool:
    """Whether the library for images of a dtype has convolutions; fp32's always has. Raises Unavailable."""
    return hasattr(library(dtype), "winograd_forward")


def _kept_or_built(compiler: list[str], dtype: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    name = f"fused-{dtype}-{_fingerprint(compiler)}.so"
    kept = paths.kernels_dir() / name
    if _is_ours(kept) and _is_whole(kept):
        try:
            return _load(kept, dtype)
        except OSError:  # from a machine with another C library: made anew
            pass
    with tempfile.TemporaryDirectory(prefix="fmnist-tui-") as folder:
        built = Path(folder, name)
        _compile(compiler, built, flags)
        try:
            loaded = _load(built, dtype)
        except OSError as error:
            raise Unavailable(f"what {compiler[0]} made can't be loaded: {error}") from None
        _keep(built.read_bytes(), kept)
        return loaded


def find_compiler() -> list[str]:
    """The C compiler's path and the arguments it is to have: as CC says, else the first of the usual ones.

    CC may be a path with spaces in it, or a command as make takes it ('ccache gcc'). Raises Unavailable.
    """
    wanted = os.environ.get("CC")
    for command in ([wanted], _words(wanted)) if wanted else ([name] for name in COMPILERS):
        if command and (found := shutil.which(command[0])) is not None:
            return [found, *command[1:]]
    if wanted:
        raise Unavailable(f"CC = {wanted} is not a program here; name a C compiler or unset it")
    raise Unavailable(f"there is no C compiler ({', '.join(COMPILERS)}); install one or name it in CC")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quote that is not closed
        return []


def _compile(compiler: list[str], target: Path, flags: tuple[str, ...]) -> None:
    tuned = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    objects = target.with_suffix(".o")
    _run(compiler, *FLAGS, *flags, tuned, "-c", str(SOURCE), "-o", str(objects))
    # Without -fopenmp, which would bring an OpenMP of the compiler's: two pools of threads would fight for the cores.
    _run(compiler, "-shared", str(objects), "-o", str(target), "-lm")


def _run(compiler: list[str], *arguments: str) -> None:
    try:
        done = subprocess.run(
            [*compiler, *arguments], capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{compiler[0]} failed: {error}") from None
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
        reason = next((line for line in said if "error" in line), said[0])  # before it may stand where it is
        raise Unavailable(f"{compiler[0]} failed: {reason[:200]}")


def _fingerprint(compiler: list[str]) -> str:
    """Of all that decides what the library is: sources, flags, compiler, processor (a home may be many machines')."""
    digest = hashlib.sha256()
    for source in sorted(SOURCE.parent.glob("*.[ch]")):
        digest.update(source.read_bytes())
    status = Path(compiler[0]).stat()
    parts = (
        *FLAGS,
        str(Path(compiler[0]).resolve()),
        *compiler[1:],
        status.st_size,
        status.st_mtime_ns,
        platform.machine(),
        _processor(),
    )
    for part in parts:
        digest.update(f"{part}\0".encode())
    return digest.hexdigest()[:20]


def _processor() -> str:
    """The processor's name and instructions, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    first = lines[: lines.index("")] if "" in lines else lines
    return "\n".join(line for line in first if line.startswith(("model name", "flags", "CPU part", "Features")))


def _keep(content: bytes, kept: Path) -> None:
    """Put the library where the next process finds it, whole or not at all; without a place it is only used."""
    digest = hashlib.sha256(content).digest()  # a loader looks at nothing behind the last section
    with contextlib.suppress(OSError):
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(dir=kept.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content + digest)
            Path(beside).replace(kept)
        except OSError:
            Path(beside).unlink()
            raise


def _is_ours(file: Path) -> bool:
    """Whether nobody else could have put the file there: what is loaded runs."""
    try:
        found = (file.stat(), file.parent.stat())
    except OSError:
        return False
    return all(status.st_uid == os.getuid() and not status.st_mode & 0o022 for status in found)


def _is_whole(file: Path) -> bool:
    """Whether the file ends with its digest: loading one that a power cut shortened would kill the process."""
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def _load(file: Path, dtype: str) -> ctypes.CDLL:
    """Raises OSError where it can't be loaded, or lacks a function."""
    loaded = ctypes.CDLL(str(file))
    fp32 = dtype == "fp32"
    signatures = {
        **SIGNATURES,
        **(CONVOLUTION_SIGNATURES if fp32 or hasattr(loaded, "winograd_forward") else {}),
        **(FP32_SIGNATURES if fp32 else {}),
    }
    for name, arguments in signatures.items():
        try:
            function = getattr(loaded, name)
        except AttributeError as error:
            raise OSError(str(error)) from None
        function.argtypes, function.restype = arguments, LONG if name.endswith("_room") else None
    return loaded
