"""Hurt runs at random and see that nothing is lost: `PYTHONPATH=. python scripts/accidents.py --sequences 100`.

Each sequence (`tests/process/accidents.py` says what happens in one) has a seed of its own, counted from `--seed`. A
sequence that ends otherwise than the run that was left alone is told with all that was done to it, and is kept; exits
with 1 then. The same seed does the same things, at moments that depend on the machine as well.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch

from fmnist_tui.runs import process
from fmnist_tui.runs.layout import RunDirectory
from tests.process.accidents import Accidents, References
from tests.process.forked import ForkedWorker
from tests.process.workers import Worker


def main() -> int:
    """Go through the sequences; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first (default: the clock)")
    parser.add_argument("--lives", type=int, default=6, help="lives with accidents of a run, at most (default 6)")
    parser.add_argument("--whole", type=float, default=0.0, help="share of workers that are started whole (default 0)")
    parser.add_argument("--directory", type=Path, help="where the runs go (default: a temporary directory)")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="fmnist-accidents-"))
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["FMNIST_TUI_STATE_DIR"] = str(directory / "state")
    torch.set_num_threads(1)
    references, failed = References(directory / "references"), 0

    def start(run: RunDirectory) -> Worker:
        return process.start_worker(run) if random.random() < options.whole else ForkedWorker(run)

    began = time.monotonic()
    for seed in range(options.seed, options.seed + options.sequences):
        accidents = Accidents(directory / f"seed-{seed}", seed, references, start)
        try:
            accidents.to_the_end(options.lives)
        except Exception:
            traceback.print_exc()
            failed += 1
            accidents.worker.kill()
            print(f"FAILED: seed {seed}, kept: {accidents.run.path}\n  " + "\n  ".join(accidents.told), flush=True)
        else:
            print(f"seed {seed}: equal after {'; '.join(accidents.told)}", flush=True)
            shutil.rmtree(directory / f"seed-{seed}")
    print(f"{options.sequences} sequences in {(time.monotonic() - began) / 60:.1f} min, {failed} with a difference")
    if options.directory is None and not failed:
        shutil.rmtree(directory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
