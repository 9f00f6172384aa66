"""What `training.cpu_kernels` brings here: `python scripts/measure_kernels.py densenet --batch 64`.

Steps, and evaluations of 500 test images, with the kernels and without in turns, in one process on real images; the
median of each, and of the ratio of each pair with its quartiles.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch

from fmnist_tui.config import ConfigError
from fmnist_tui.data import source
from fmnist_tui.fields import with_changes
from fmnist_tui.models import kernels
from fmnist_tui.presets import load_preset
from fmnist_tui.training.precision import choose
from fmnist_tui.training.rig import Rig

WARM_UP_PAIRS = 2
EVAL_IMAGES = 500


def in_turns(seconds: Callable[[], float], pairs: int, dtype: torch.dtype) -> str:
    """What `seconds` returns without and with the kernels for images of this dtype, in words."""
    without, with_them = list[float](), list[float]()
    for index in range(WARM_UP_PAIRS + pairs):
        for kind, times in ((None, without), (dtype, with_them)):
            kernels.use(kind)
            taken = seconds()
            if index >= WARM_UP_PAIRS:
                times.append(taken)
    ratios = [a / b for a, b in zip(without, with_them, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return (
        f"{statistics.median(without):.3f} s without, {statistics.median(with_them):.3f} s with; "
        f"ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}), {pairs} pairs"
    )


def main() -> int:
    """Print the figures of one preset; exit code 2 where there are no kernels here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset")
    parser.add_argument("--batch", type=int, help="images; the preset's where none is given")
    parser.add_argument("--pairs", type=int, default=20, help="2 or more")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if options.pairs < 2:
        parser.error(f"--pairs {options.pairs}: quartiles need 2 or more")
    changes = {"training.threads": options.threads, "data.source": "sample"}
    try:
        config = with_changes(load_preset(options.preset), changes)
        if options.batch is not None:
            config = with_changes(config, {"training.batch_size": options.batch})
    except ConfigError as error:
        parser.error(str(error))
    execution = choose(config.training, torch.device("cpu"))
    if not execution.cpu_kernels:
        print(f"no kernels here: {execution.reasons['cpu_kernels']}", file=sys.stderr)
        return 2
    rig = Rig(config, execution, source.load_sample(), EVAL_IMAGES)
    print(f"{options.preset}, torch {torch.__version__}, {execution.threads} threads", flush=True)
    sizes = dict[int, int]()
    for epoch in (config.training.epochs, 1):
        rig.begin(epoch)
        sizes.setdefault(rig.size, epoch)
    for size, epoch in sizes.items():
        rig.begin(epoch)
        text = in_turns(lambda: rig.run_steps(1), options.pairs, execution.dtype)
        print(f"a step of {rig.batch_size} images of {size}x{size}: {text}", flush=True)
    text = in_turns(lambda: rig.evaluate(EVAL_IMAGES), options.pairs, execution.dtype)
    print(f"evaluating {EVAL_IMAGES} images: {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
