"""One function in several processes of this machine that train together: started, watched, and ended with this one.

Each is a fresh interpreter, as GPUs want it, and imports nothing of the program that starts it. They meet in a file
(`torch.distributed`), so that no port is opened for it; what processors then tell each other stays on the loopback
device. The first one's log and progress are this process's. The others say nothing, unless they fail.
"""

import contextlib
import logging
import logging.handlers
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed

from tsrec.errors import TrainingError, TsrecError
from tsrec.machine.devices import check_processes, resolve_device
from tsrec.machine.parent_process import end_with_parent
from tsrec.machine.progress import observed_by, tell_observer
from tsrec.machine.quiet import quiet_libraries
from tsrec.machine.threads import one_blas_thread, thread_variables

T = TypeVar("T")

_GRACE_S = 2.0


def run_in_processes(function: Callable[..., T], arguments: Sequence[Any], n: int, device: str) -> T:
    """Call `function(*arguments)` in `n` processes at once, and return what it returns in the first.

    On GPUs each has one of its own; on processors they share the threads that this process would use.

    Args:
        function: stands in a module; it and its arguments are pickled.
        arguments: of the function, the same in all processes.
        n: how many processes.
        device: what they compute on, as configured.

    Raises:
        ConfigError: as `check_processes`.
        TsrecError: what a process raised first.
        TrainingError: a process was killed.
        RuntimeError: a process raised something else; with its rank and traceback.
        Whatever is raised, no process is left.
    """
    check_processes(n, device)
    backend = "nccl" if resolve_device(device).type == "cuda" else "gloo"
    with tempfile.TemporaryDirectory(prefix="tsrec-") as folder:
        level = logging.getLogger("tsrec").getEffectiveLevel()
        job = (backend, str(Path(folder) / "rendezvous"), level, function, arguments)
        started: list[tuple[subprocess.Popen[bytes], Connection]] = []
        try:
            started.extend(_start(rank, n) for rank in range(n))
            for _, channel in started:
                with contextlib.suppress(OSError):  # it has ended already, which is noticed below
                    channel.send(job)
            return _watch(started)
        finally:
            for process, channel in started:
                process.kill()
                process.wait()
                channel.close()


def is_first_process() -> bool:
    """Whether this process is the one that writes; true for one that trains alone."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def from_first_process(find: Callable[[], T]) -> T:
    """What `find()` returns in the first process, which alone calls it; a picklable value."""
    if not distributed.is_initialized():
        return find()
    values = [find() if is_first_process() else None]
    distributed.broadcast_object_list(values)
    return values[0]  # type: ignore[return-value]


def _start(rank: int, n: int) -> "tuple[subprocess.Popen[bytes], Connection]":
    """A process that waits for its job, and the channel to it."""
    ours, theirs = multiprocessing.Pipe()
    environment = {
        # torch warns, in every run, that no weight was without a gradient: which batches use all of them is not known.
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
        "PYTHONPATH": os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
        **thread_variables(torch.get_num_threads() // n),
        "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo",
        **({"TQDM_DISABLE": "1"} if rank else {}),
    }
    with theirs:
        process = subprocess.Popen(
            # -P: no folder that happens to be the current one comes before the installed libraries.
            [sys.executable, "-P", "-m", __name__, str(os.getpid()), str(theirs.fileno())],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    return process, ours


def _watch(started: "Sequence[tuple[subprocess.Popen[bytes], Connection]]") -> Any:
    """Take what the processes tell until all are done: the first one's result, or the error that others follow from.

    One that is lost makes the others fail, and a busy machine may show that first. So a failure has to wait a moment.
    """
    n = len(started)
    waiting = {channel: rank for rank, (_, channel) in enumerate(started)}
    results: dict[int, Any] = {}
    failures: list[tuple[int, float, Exception]] = []  # which counts first, when, what
    while waiting and (ready := wait(list(waiting), _GRACE_S if failures else None)):
        for channel in ready:
            assert isinstance(channel, Connection)
            rank = waiting[channel]
            try:
                kind, *told = channel.recv()
            except (EOFError, OSError):
                kind, told = "death", [started[rank][0].wait()]
            if kind == "log":
                logging.getLogger(told[0].name).handle(told[0])
                continue
            if kind == "progress":
                tell_observer(*told)
                continue
            del waiting[channel]
            if kind == "result":
                results[rank] = told[0]
            elif kind == "death":
                # NCCL aborts a process that has lost another; nothing else that kills one follows from an error.
                order = 2 if told[0] == -signal.SIGABRT else 0
                failures.append((order, time.monotonic(), _death(rank, n, told[0])))
            else:
                moment, error, text = told
                bug = RuntimeError(f"training, rank {rank} of {n} processes:\n{text}")
                failures.append((1 if error is None else 0, moment, error or bug))
        if any(order == 0 for order, *_ in failures):
            break
    if failures:
        raise min(failures, key=lambda failure: failure[:2])[2]
    return results[0]


def _death(rank: int, n: int, status: int) -> TrainingError:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    memory = f", which also happens where memory does not suffice for {n} models" if status == -signal.SIGKILL else ""
    return TrainingError(
        f"training: the process of rank {rank} (of {n}) {how}{memory}; give the same command again to go on from the "
        "last checkpoint"
    )


class _LogToParent(logging.handlers.QueueHandler):
    """Sends records, with their messages in words, through a channel."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send it."""
        self.queue.send(("log", record))  # type: ignore[attr-defined]


def _work(parent: int, channel: Connection) -> None:
    """The life of one of the processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to all; the parent then ends the others
    end_with_parent(parent)
    try:
        backend, rendezvous, level, function, arguments = channel.recv()
        rank, n = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        if rank:
            logging.disable(logging.WARNING)
        else:
            logging.getLogger().addHandler(_LogToParent(channel))  # type: ignore[arg-type]
            logging.getLogger("tsrec").setLevel(level)
        if backend == "nccl":
            torch.cuda.set_device(rank)
        store = distributed.FileStore(rendezvous, n)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=n)
        with observed_by(lambda *step: channel.send(("progress", *step))), quiet_libraries(), one_blas_thread():
            result = function(*arguments)
        channel.send(("result", None if rank else result))
    except Exception as error:
        known = error if isinstance(error, TsrecError) else None
        channel.send(("error", time.monotonic(), known, traceback.format_exc()))


if __name__ == "__main__":
    try:
        _work(int(sys.argv[1]), Connection(int(sys.argv[2])))
    finally:
        sys.stderr.flush()
        os._exit(0)  # libraries would say goodbye to processes that may have ended already
