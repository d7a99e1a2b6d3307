"""Shards of one job that other processes make, on this machine or on others.

The owner of a job builds an artifact, or writes a batch, in a work folder. It asks other processes for the shards that
are missing there. They are told names alone: what shards are made from (models, histories, lists of ids) they read from
the store.

With a local store every process sees the work folder, and writes shards there. With a remote store every process works
in the mirror of its own machine and copies each finished shard up, from where the owner fetches it. Shards in the
remote lie in one folder `upload-...-shards` of the job: a killed job finds it, a finished one removes it, and garbage
collection takes it for an abandoned upload.
"""

import logging
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from tsrec.errors import ConfigError
from tsrec.machine.quiet import quiet_libraries
from tsrec.machine.threads import one_blas_thread
from tsrec.store.artifact import WORK_NAME
from tsrec.store.host_environment import host_environment
from tsrec.store.remote import UPLOAD, RemoteMirror, new_upload
from tsrec.store.shards import Shard
from tsrec.store.store import PARTIAL, ArtifactStore
from tsrec.store.work_files import is_whole, remove, seal_of, write_whole

logger = logging.getLogger(__name__)

_SHARDS = "-shards"
_NAME = re.compile(r"\w[\w .-]*\.parquet")  # others may write to a store, and names become paths


class ShardJob(Protocol):
    """What is divided into shards. It is pickled, so it holds settings and names of artifacts, and no data."""

    @property
    def path(self) -> str:
        """`<dataset>/<stage>/<fingerprint>`: where the job lies in the store. No other job has it."""
        ...

    def shards(self, store: ArtifactStore, work: Path) -> Iterable[Shard]:
        """All shards, in the same order in every process.

        Args:
            store: where everything that shards are made from is read.
            work: the folder that shards lie in, directly.
        """
        ...


@dataclass(frozen=True)
class Share:
    """Some shards of a job, for one process; `make` runs there.

    `store` is the store's address, and `work` the owner's work folder. `needs` are files of the work folder that shards
    are made from. `upload` is the folder of the remote, empty where the store is local. `names` are the shards.
    """

    job: ShardJob
    store: str
    work: Path
    upload: str
    needs: tuple[str, ...]
    names: tuple[str, ...]

    def make(self) -> dict[str, Any]:
        """Make the shards that are still missing, and say which libraries, threads and processor did.

        Raises:
            ConfigError: the store is local, and this process does not see the owner's work folder.
        """
        store, work, there = ArtifactStore(self.store), self.work, None
        if store.remote:
            work = (store.root / self.job.path).with_suffix(PARTIAL) / WORK_NAME
            work.mkdir(parents=True, exist_ok=True)
            there = RemoteShards(store.remote, f"{self.job.path}/{self.upload}")
            there.fetch(work, self.needs)
        elif not work.is_dir():
            raise ConfigError(
                f"{work} cannot be seen from {platform.node()}: workers need the same folder in the same place, or a "
                "store at a URL"
            )
        with quiet_libraries(), one_blas_thread():
            names = set(self.names).difference(there.names() if there else ())
            for shard in self.job.shards(store, work) if names else ():
                if shard.path.name in names:
                    shard.table()
                    if there:
                        there.put(shard.path)
                        remove(shard.path)
        return host_environment()


class SharedShards:
    """A job as its owner sees it.

    Args:
        job: what other processes make shards of.
        store: where the job lies.
        work: the owner's work folder.
    """

    def __init__(self, job: ShardJob, store: ArtifactStore, work: Path) -> None:
        self.name = job.path.split("/")[1]
        self._job, self._store, self._work = job, store, work
        self._missing: list[str] = []
        self._needs: tuple[str, ...] = ()
        self._there = RemoteShards.newest(store.remote, job.path) if store.remote else None

    def fetch(self) -> None:
        """Copy what other processes have left in the remote into the work folder."""
        if self._there:
            self._there.fetch(self._work, self._there.names())

    def have_made(self, shards: Iterable[Shard], distribute: "Distribute", fewest: int = 0) -> None:
        """Have other processes make the shards that are missing, and wait for them.

        Args:
            shards: the job's, in this process.
            distribute: hands shares to other processes.
            fewest: units of work; where less is missing, or only one shard, nothing is handed out.
        """
        sizes = {shard.path.name: shard.n for shard in shards}
        self._missing = [name for name in sizes if not is_whole(self._work / name)]
        if len(self._missing) < 2 or sum(sizes[name] for name in self._missing) < fewest:
            return
        others = sorted(path for path in self._work.glob("*.parquet") if path.name not in sizes)
        self._needs = tuple(path.name for path in others if is_whole(path))
        if self._store.remote:
            self._there = self._there or RemoteShards(self._store.remote, f"{self._job.path}/{new_upload()}{_SHARDS}")
            for name in self._needs:
                self._there.put(self._work / name)
        distribute(self)
        self.fetch()

    def shares(self, n: int) -> list[Share]:
        """The missing shards in at most `n` shares; each takes every n-th one, for neighbours take equally long."""
        upload = self._there.folder.rpartition("/")[2] if self._there else ""
        parts = [tuple(self._missing[start::n]) for start in range(min(n, len(self._missing)))]
        return [Share(self._job, self._store.address, self._work, upload, self._needs, part) for part in parts]

    @property
    def n_missing(self) -> int:
        """How many shards were handed out."""
        return len(self._missing)

    def n_made(self) -> int:
        """How many of them are there by now."""
        if self._there:
            return len(self._there.names().intersection(self._missing))
        return sum(seal_of(self._work / name).exists() for name in self._missing)


Distribute = Callable[[SharedShards], None]
"""Has other processes make the shares of a job. It returns when all are made, or given up: the owner makes the rest."""


class RemoteShards:
    """Shards in one `folder` of a remote, a path relative to the store. One without its seal is not there yet."""

    def __init__(self, remote: RemoteMirror, folder: str) -> None:
        self.folder, self._remote = folder, remote

    @classmethod
    def newest(cls, remote: RemoteMirror, path: str) -> "RemoteShards | None":
        """Those that an earlier attempt at the job `path` left; None where there are none."""
        folders = remote.names(f"{path}/{UPLOAD}*{_SHARDS}")
        return cls(remote, folders[-1]) if folders else None

    def names(self) -> set[str]:
        """The names of what is there."""
        seals = self._remote.names(f"{self.folder}/*.parquet.seal")
        names = (seal.rpartition("/")[2].removesuffix(".seal") for seal in seals)
        return {name for name in names if _NAME.fullmatch(name)}

    def put(self, path: Path) -> None:
        """Copy one whole work file up, its seal last."""
        for file in (path, seal_of(path)):
            self._remote.put(file, f"{self.folder}/{file.name}")

    def fetch(self, work: Path, names: Iterable[str]) -> None:
        """Copy these files into the folder `work`, but for those that are whole there. Damaged ones are left out."""
        for name in sorted(names):
            path = work / name
            if is_whole(path):
                continue
            for file in (path, seal_of(path)):
                write_whole(file, partial(self._remote.get, f"{self.folder}/{file.name}"), shared=True)
            if not is_whole(path):
                remove(path)


def remove_remote_shards(store: ArtifactStore, path: str) -> None:
    """Remove from a remote store what other processes left there for the job `path`, which is finished."""
    if store.remote:
        for folder in store.remote.names(f"{path}/{UPLOAD}*{_SHARDS}"):
            store.remote.remove_upload(folder)
