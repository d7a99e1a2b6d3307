"""What tests have several processes do; each is a process without pytest."""

import logging
import os
import signal
import time
from pathlib import Path

import torch
from torch import distributed

from tsrec.errors import TrainingError
from tsrec.machine.progress import progress

logger = logging.getLogger("tsrec.rank_jobs")


def sum_ranks(base: int) -> tuple[int, int, int]:
    """The sum of all ranks' numbers, the number of threads, and the process id."""
    logger.info("rank %s", os.environ["RANK"])
    for _ in progress(range(3), desc="counting"):
        pass
    total = torch.tensor(base + distributed.get_rank())
    distributed.all_reduce(total)
    return int(total), torch.get_num_threads(), os.getpid()


def fail(rank: int, how: str) -> None:
    """Fail in one process, while the others wait for it."""
    if distributed.get_rank() == rank:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise TrainingError("lower the rate") if how == "deliberately" else ZeroDivisionError("a bug")
    distributed.barrier()


def wait_for_ever(folder: Path) -> None:
    """Note the process id, and wait."""
    (folder / str(os.getpid())).touch()
    time.sleep(600)
