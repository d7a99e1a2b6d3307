"""Several processes that answer on one address and share the memory of the model: opened once, then forked.

Libraries and the model lie in pages that the children share as long as nobody writes to them; the weights are mapped
from their file. Each child then follows the champion by itself.
"""

import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from tsrec.machine.parent_process import end_with_parent

logger = logging.getLogger(__name__)

_LEAST_LIFE_S = 5.0  # a worker that dies sooner is not replaced at once
_STOP = {signal.SIGTERM, signal.SIGINT}


def run_workers(config: uvicorn.Config, prepare: Callable[[], None], n_workers: int) -> None:
    """Serve until SIGTERM or SIGINT, which each worker obeys as a single server does. One that dies is replaced.

    To be called in the main thread of a process that has started no thread whose work the workers need.

    Args:
        config: of each worker's server; its app was made in this process.
        prepare: opens what the workers are to share, and starts no thread.
        n_workers: how many processes.
    """
    socket = config.bind_socket()
    prepare()
    socket.listen(config.backlog)  # who asks now waits for the first worker
    gc.collect()
    gc.freeze()  # a collection would write to every object, and so copy what is shared
    stopping = False
    born: dict[int, float] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for pid in born:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while True:
        while not stopping and len(born) < n_workers:
            signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)  # until the new one is known, or is itself
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                _work(config, socket, parent)
            born[pid] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
        if not born:
            return
        pid, status = os.wait()
        lived = time.monotonic() - born.pop(pid)
        if not stopping:
            logger.warning("worker %d ended (%s); starting another", pid, os.waitstatus_to_exitcode(status))
            end = time.monotonic() + _LEAST_LIFE_S - lived
            while not stopping and time.monotonic() < end:
                time.sleep(0.1)


def _work(config: uvicorn.Config, socket: object, parent: int) -> None:
    """A worker's life, from the fork on; never returns."""
    status = 1
    try:
        end_with_parent(parent)  # it would keep the address
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP)
        server = uvicorn.Server(config)
        server.run(sockets=[socket])  # type: ignore[list-item]
        status = 0 if server.started else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
