"""What tests and benchmarks of Dask run in a process of its own: a shop so tiny that its shards are made tiny here.

    python dask_run.py SETTINGS OUT [CLUSTER]

Trains on the shop, and writes the lists of all users and of some into the folder OUT. Settings are a JSON list. With a
third argument both ask the Dask cluster that TSREC_DASK names, from Prefect flows and from a command.

DIE_ONCE names a folder. The first Dask worker that makes a shard of each kind is killed, and leaves a file of the
kind's name there.
"""

import json
import multiprocessing
import os
import signal
import sys
from functools import wraps
from pathlib import Path
from typing import Any

from tsrec import pipeline
from tsrec.config import BatchRequest, Config, load_config
from tsrec.embed import stage as embed_stage
from tsrec.recommenders import batch, candidate_stages, fuse_stage
from tsrec.recommenders.batch import recommend_users

SIZES = ["keywords.shard_items=8", "decode.shard_users=16"]


def dask_setup(_: object) -> None:
    """Give a process its tiny shards; a worker that is told to preload this file calls it."""
    embed_stage._BATCH_ITEMS = 1
    candidate_stages._SHARD = 16
    fuse_stage._BLOCK, fuse_stage._SHARD = 8, 16
    for stage in pipeline.STAGES:
        if stage.shared_from is not None:
            object.__setattr__(stage, "shared_from", 0)
    if "DIE_ONCE" in os.environ:
        _dies_once(fuse_stage._FuseStage, "_fuse", "fuse")
        _dies_once(batch, "_shard_table", "recommend")


def _dies_once(owner: Any, name: str, kind: str) -> None:
    """The function dies in the first worker that calls it."""
    function, mark = getattr(owner, name), Path(os.environ["DIE_ONCE"]) / kind

    @wraps(function)
    def dying(*arguments: Any, **named: Any) -> Any:
        if multiprocessing.parent_process() and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    setattr(owner, name, dying)


def wishes(out: Path) -> list[BatchRequest]:
    """All users, and some of them with items that may not be shown."""
    out.mkdir(exist_ok=True)
    (out / "users.txt").write_text("".join(f"u{user}\n" for user in range(0, 60, 2)) + "stranger\n")
    (out / "deny.txt").write_text("i3\ni4\n")
    return [
        BatchRequest(out=str(out / "all"), shard_users=8),
        BatchRequest(
            out=str(out / "some"), shard_users=8, users=str(out / "users.txt"), deny=str(out / "deny.txt"), k=4
        ),
    ]


def alone(config: Config, out: Path) -> None:
    """All in this process."""
    pipeline.run(config)
    lineage, fuse = pipeline.find_finished(config)
    for wish in wishes(out):
        recommend_users(lineage, fuse, wish)


def flows(config: Config, out: Path) -> None:
    """The same by a flow, and by the command or the flow for lists."""
    from prefect.testing.utilities import prefect_test_harness

    from flows.recommend import recommend
    from flows.train import train
    from tasks.dask_shards import DASK, distributor_by_environment

    first, *others = wishes(out)
    with prefect_test_harness(server_startup_timeout=240):
        train(config)
        lineage, fuse = pipeline.find_finished(config)
        with distributor_by_environment() as distribute:
            recommend_users(lineage, fuse, first, distribute)
            for wish in others if os.environ[DASK].isdecimal() else ():  # a flow would start a cluster of its own
                recommend_users(lineage, fuse, wish, distribute)
        for wish in others:
            recommend(config, wish)


if __name__ in ("__main__", "__mp_main__"):  # workers of a local cluster import it by the second name
    dask_setup(None)
if __name__ == "__main__":
    settings, folder = [*json.loads(sys.argv[1]), *SIZES], Path(sys.argv[2])
    (flows if len(sys.argv) > 3 else alone)(load_config(None, settings), folder)
