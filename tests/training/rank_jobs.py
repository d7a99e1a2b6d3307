"""What tests have several processes do; each is a process without pytest."""

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from tsrec.errors import TrainingError
from tsrec.machine.progress import progress
from tsrec.training.shares import of_all_processes

logger = logging.getLogger("tsrec.rank_jobs")


def share(labels_by_rank: list[list[int]]) -> tuple[dict[str, Any], int, int, int]:
    """What this rank's share of a batch becomes, its tokens, the number of threads, and the process id.

    A rank has labels of several tasks, each with a loss of its rank, and ten tokens.
    """
    logger.info("rank %s", os.environ["RANK"])
    for _ in progress(range(3), desc="counting"):
        pass
    rank = distributed.get_rank()
    counts = torch.tensor(labels_by_rank[rank], dtype=torch.float32)
    outputs = {"loss": torch.tensor(float(rank)), "task_loss": rank * counts, "task_count": counts}
    together, n_tokens = of_all_processes(outputs, torch.tensor(10), 2)
    told = {name: values.tolist() for name, values in together.items()}
    return told, int(n_tokens), torch.get_num_threads(), os.getpid()


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
