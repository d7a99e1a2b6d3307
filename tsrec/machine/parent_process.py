"""A child process that ends when its parent does, even when the parent was killed."""

import os
import signal
import threading
import time

_POLL_EVERY_S = 1.0


def end_with_parent(parent: int, *, group_grace_s: float | None = None) -> None:
    """From now on a lost parent is a SIGTERM to this process.

    Args:
        parent: process id of the parent. It may have ended already.
        group_grace_s: seconds until a SIGKILL to the whole process group follows; None: it does not. Only for a process
            that was started in a group of its own.
    """
    threading.Thread(target=_end, args=(parent, group_grace_s), name="end-with-parent", daemon=True).start()


def _end(parent: int, group_grace_s: float | None) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    if group_grace_s is not None:
        time.sleep(group_grace_s)
        os.killpg(os.getpgrp(), signal.SIGKILL)
