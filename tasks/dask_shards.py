"""Shards of a stage made by the workers of a Dask cluster, where the operator's environment asks for it.

TSREC_DASK is a number of worker processes on this machine, or the address of a scheduler (tcp://...) whose workers see
the store in the same place. The stage then finds its shards made, and is the same code and the same bytes as without.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.masking import masking_errors
from tsrec.errors import ConfigError, MissingDependencyError, TsrecError
from tsrec.machine.addresses import is_url
from tsrec.pipeline import DistributeShards, PlannedStage, make_shards
from tsrec.store import Artifact

DASK = "TSREC_DASK"

logger = logging.getLogger("tsrec.dask")


@masking_errors
def _make_share(planned: PlannedStage, parents: Mapping[str, Artifact], folder: Path, share: int, n_shares: int) -> int:
    return make_shards(planned, parents, folder, share, n_shares)


_SHARD_TASK: Task[..., int] = Task(_make_share, name="shards", cache_policy=NO_CACHE, persist_result=False)


def task_runner_by_environment() -> TaskRunner[Any]:
    """Dask's where the environment asks for it, else Prefect's own. It starts its cluster when it is first needed.

    Raises:
        ConfigError: TSREC_DASK is neither a number nor an address.
        MissingDependencyError: Dask is not installed.
    """
    wanted = os.environ.get(DASK, "").strip()
    if not wanted:
        return ThreadPoolTaskRunner()
    if not (is_url(wanted) or (wanted.isdecimal() and int(wanted))):
        raise ConfigError(
            f"{DASK}={wanted}: neither a number of worker processes nor an address such as tcp://host:8786"
        )
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise MissingDependencyError(f"{DASK} needs Dask: pip install 'tsrec[dask]'") from None
    if is_url(wanted):
        return DaskTaskRunner(address=wanted)
    import torch

    # As many threads as here, which Dask would set to one: other numbers of threads may give other last bits.
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    local = {"n_workers": int(wanted), "threads_per_worker": 1, "dashboard_address": None, "env": threads}
    return DaskTaskRunner(cluster_kwargs=local)


def shard_distributor() -> DistributeShards | None:
    """A function that has the Dask cluster of the current flow run make shards; None where it has no cluster."""
    run = FlowRunContext.get()
    if run is None or not hasattr(type(run.task_runner), "client"):  # of the type: asking for it starts the cluster
        return None
    runner: Any = run.task_runner

    def distribute(planned: PlannedStage, parents: Mapping[str, Artifact], folder: Path) -> None:
        n_shares = max(1, len(runner.client.scheduler_info(n_workers=-1)["workers"]))
        task = _SHARD_TASK.with_options(task_run_name=f"{planned.name} shards")
        futures = [task.submit(planned, parents, folder, share, n_shares) for share in range(n_shares)]
        for future in futures:
            made = future.result(raise_on_failure=False)
            if isinstance(made, TsrecError):
                raise made
            if isinstance(made, BaseException):  # a worker that was lost: what it did not make is made here
                logger.warning("a Dask worker failed: %s: %s; its shards are made here", type(made).__name__, made)

    return distribute
