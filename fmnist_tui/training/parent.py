"""What a process owes to the one that started it: not to outlive it. No torch.

Called by the ranks of a run, by the processes that measure, and by the plain loop's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PARENT_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


def die_with_parent(pid: int | None = None) -> None:
    """See to it that this process never outlives the one that started it, however that ends.

    On Linux the kernel kills it, also where it hangs in a driver; elsewhere a thread looks twice a second. `pid` is who
    started it: one that died before this line is told by it.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), name="parent", daemon=True).start()
    if pid is not None and pid != os.getppid():
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
