"""Shards of a stage made by the workers of a Dask cluster, where the operator's environment asks for it.

TSREC_DASK is a number of worker processes on this machine, or the address of a scheduler (tcp://...). Its workers open
the same store: a folder that they see in the same place, or a URL. The stage then finds its shards made. It is the same
code, and gives the same bytes as without.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prefect.context import FlowRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from tasks.masking import masked_in_one_line, masking_errors
from tsrec.errors import ConfigError, MissingDependencyError, TsrecError
from tsrec.machine.addresses import is_url
from tsrec.machine.progress import progress
from tsrec.machine.threads import thread_variables
from tsrec.store.host_environment import environment_differences, host_environment
from tsrec.store.shared_shards import Distribute, Share, SharedShards

if TYPE_CHECKING:
    from distributed import Client, Future

DASK = "TSREC_DASK"
_POLL_S = 2.0
_NO_WORKER_S = 120.0  # a worker that died is started anew within half a minute, also on a busy machine

logger = logging.getLogger("tsrec.dask")


@masking_errors
def _make_share(share: Share) -> dict[str, Any]:
    return share.make()


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

    # All together as many threads as here. Or each as many, where the environment sets that number: last bits may
    # depend on it.
    n_threads = torch.get_num_threads() // (1 if "OMP_NUM_THREADS" in os.environ else int(wanted))
    threads = thread_variables(n_threads)
    local = {"n_workers": int(wanted), "threads_per_worker": 1, "dashboard_address": None, "env": threads}
    return DaskTaskRunner(cluster_kwargs=local)


def shard_distributor() -> Distribute | None:
    """A function that has the Dask cluster of the current flow run make shards; None where it has no cluster.

    Workers are not asked to reach Prefect's server: what they do is a part of the stage's own task.
    """
    run = FlowRunContext.get()
    if run is None or not hasattr(type(run.task_runner), "client"):  # of the type: asking for it starts the cluster
        return None
    return _distributor(run.task_runner)


@contextlib.contextmanager
def distributor_by_environment() -> Iterator[Distribute | None]:
    """The same for a command that is no flow: the cluster that the environment asks for, until the end of the block.

    Raises:
        ConfigError, MissingDependencyError: as `task_runner_by_environment`.
    """
    runner = task_runner_by_environment()
    if isinstance(runner, ThreadPoolTaskRunner):
        yield None
        return
    with runner:
        yield _distributor(runner)


def _distributor(runner: Any) -> Distribute:
    def distribute(shared: SharedShards) -> None:
        try:
            client = runner.client  # made when it is first asked for
        except Exception as error:
            raise ConfigError(
                f"{DASK}={os.environ.get(DASK)}: no Dask cluster ({masked_in_one_line(error)}); start its "
                "scheduler, or take the variable out, then run again"
            ) from None
        try:
            hand_out(client, shared)
        except TsrecError:
            raise
        except Exception as error:
            logger.warning("the Dask cluster failed: %s; missing shards are made here", masked_in_one_line(error))

    return distribute


def hand_out(client: "Client", shared: SharedShards) -> None:
    """Have the workers of a Dask cluster make shards, and wait until all are made, or failed, or no worker is left.

    Dask hands the share of a worker that died to another one. That one makes what is still missing.

    Raises:
        TsrecError: a worker says in words what is wrong.
    """
    n_workers = max(1, _n_workers(client))
    shares = shared.shares(n_workers)
    logger.info("%s: %d shards are made by %d Dask worker(s)", shared.name, shared.n_missing, len(shares))
    waiting = {client.submit(_make_share, share, pure=False) for share in shares}
    last_seen, n_seen = time.monotonic(), 0
    with progress(desc=f"{shared.name}, by {len(shares)} workers", total=shared.n_missing, unit="shard") as bar:
        while waiting:
            ended = _ended(client, waiting)
            waiting -= ended
            for future in ended:
                _check(future)
            n_made = shared.n_made()
            bar.update(n_made - n_seen)
            n_seen = n_made
            if _n_workers(client):
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > _NO_WORKER_S:
                client.cancel(list(waiting))
                logger.warning("the Dask cluster has no worker left; missing shards are made here")
                break
    logger.info("%s: Dask workers have made %d of %d shards", shared.name, n_seen, shared.n_missing)


def _n_workers(client: "Client") -> int:
    return len(client.scheduler_info(n_workers=-1)["workers"])


def _ended(client: "Client", futures: "set[Future]") -> "set[Future]":
    """Those that have ended, after waiting a little for the first."""
    from distributed import wait

    with contextlib.suppress(TimeoutError), client.as_current():
        wait(futures, timeout=_POLL_S, return_when="FIRST_COMPLETED")
    return {future for future in futures if future.status != "pending"}


def _check(future: "Future") -> None:
    """Raise what a worker says in words; log what else went wrong, and where last digits may differ."""
    try:
        there = future.result()
    except TsrecError:
        raise
    except Exception as error:  # a worker that was lost several times, or a cluster that went down
        problem = masked_in_one_line(error)
        logger.warning("a Dask worker failed: %s: %s; its shards are made here", type(error).__name__, problem)
        return
    if differing := environment_differences(there, host_environment()):
        found = ", ".join(differing.values())
        logger.warning("shards were made on %s with %s: last digits may differ", there["host"], found)
