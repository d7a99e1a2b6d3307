"""What one of two machines does that build the same artifact at once; tests run it in processes of its own."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import s3fs  # noqa: F401  (imported by the fork server, once for all)

from tsrec.store import ArtifactStore, ArtifactWriter
from tsrec.store.work_files import kept_table

from .conftest import key_of

N_SHARDS = 4


def build(url: str, name: str, variables: dict[str, str], barrier: Any) -> None:
    """Build with files that name their machine, and write down what the store gave back."""
    os.environ.update(variables)

    def make(out: ArtifactWriter) -> None:
        out.write_json("who", name)
        out.write_json("again", name)
        barrier.wait(timeout=300)

    artifact = ArtifactStore(url).build(key_of(), make)
    artifact.verify()
    seen = f"{artifact.json('who')} {artifact.json('again')}"
    Path(variables["HOME"], "seen.txt").write_text(seen)


def build_in_shards(url: str, variables: dict[str, str], dies_after: int) -> None:
    """Build shard by shard, and be killed after some; which shards were made here stands in `made.txt`."""
    os.environ.update(variables)
    made = Path(variables["HOME"], "made.txt")

    def shard(number: int) -> pa.Table:
        with made.open("a") as stream:
            stream.write(f"{number} ")
        return pa.table({"shard": [number] * 3})

    def make(out: ArtifactWriter) -> None:
        tables = []
        for number in range(N_SHARDS):
            if number == dies_after:
                os.kill(os.getpid(), signal.SIGKILL)
            tables.append(kept_table(out.work / f"{number}.parquet", partial(shard, number)))
        out.write_table("whole", pa.concat_tables(tables))

    ArtifactStore(url).build(key_of(), make).verify()
