"""Shards that other processes make: of a folder that all see, or by way of a remote store from machine to machine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import fsspec
import pyarrow as pa
import pytest

from tsrec.errors import ConfigError
from tsrec.store import ArtifactStore
from tsrec.store.shards import Shard
from tsrec.store.shared_shards import Share, SharedShards, remove_remote_shards
from tsrec.store.store import PARTIAL
from tsrec.store.work_files import is_whole, kept_table

from .conftest import key_of

N_SHARDS = 6
Move = Callable[[str], None]
made: list[int] = []  # by whichever process of the test


@dataclass(frozen=True)
class Squares:
    """Shards that are made from the file `base.parquet` beside them, which only the owner makes."""

    path: str = key_of().path
    owns: bool = False

    def shards(self, store: ArtifactStore, work: Path) -> list[Shard]:
        def base() -> pa.Table:
            assert self.owns, "others find it"
            return pa.table({"base": [10]})

        (first,) = kept_table(work / "base.parquet", base)["base"].to_pylist()

        def make(number: int) -> pa.Table:
            made.append(number)
            return pa.table({"square": [first + number * number]})

        return [Shard(work / f"s {n}.parquet", partial(make, n), 1) for n in range(N_SHARDS)]


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    made.clear()


@pytest.fixture(params=["folder", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path / "store") if request.param == "folder" else f"memory://bucket-{uuid4().hex}/store"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """Move to another machine: another home, and so an empty mirror."""

    def move(name: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setenv("HOME", str(tmp_path / name))

    move("owner")
    return move


def own(address: str) -> tuple[ArtifactStore, Path, SharedShards]:
    """The job on this machine, with what an earlier attempt left anywhere."""
    store = ArtifactStore(address)
    work = (store.root / key_of().path).with_suffix(PARTIAL) / "work"
    work.mkdir(parents=True, exist_ok=True)
    shared = SharedShards(Squares(), store, work)
    shared.fetch()
    return store, work, shared


def shards_of(store: ArtifactStore, work: Path) -> list[Shard]:
    return Squares(owns=True).shards(store, work)


def values(store: ArtifactStore, work: Path) -> list[int]:
    return [shard.table()["square"].to_pylist()[0] for shard in shards_of(store, work)]


def test_each_process_makes_its_share_and_the_owner_finds_them(address: str, move: Move) -> None:
    store, work, shared = own(address)
    shares: list[Share] = []

    def distribute(shared: SharedShards) -> None:
        shares.extend(shared.shares(4))
        for number, share in enumerate(shares):
            move(f"worker{number % 2}")
            share.make()
        move("owner")
        assert shared.n_made() == shared.n_missing == N_SHARDS

    shared.have_made(shards_of(store, work), distribute)
    assert [share.names for share in shares] == [
        ("s 0.parquet", "s 4.parquet"),
        ("s 1.parquet", "s 5.parquet"),
        ("s 2.parquet",),
        ("s 3.parquet",),
    ]
    assert made == [0, 4, 1, 5, 2, 3]
    assert values(store, work) == [10 + n * n for n in range(N_SHARDS)] and len(made) == N_SHARDS, "found, not made"


def test_a_killed_job_goes_on_with_what_others_made_on_whichever_machine(address: str, move: Move) -> None:
    store, work, shared = own(address)

    def dies(shared: SharedShards) -> None:
        move("worker")
        shared.shares(2)[0].make()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shared.have_made(shards_of(store, work), dies)
    assert made == [0, 2, 4]
    move("another")
    store, work, shared = own(address)
    handed: list[str] = []

    def distribute(shared: SharedShards) -> None:
        (share,) = shared.shares(1)
        handed.extend(share.names)
        share.make()
        share.make()  # handed to another worker, where the first died before it could say that it was done

    shared.have_made(shards_of(store, work), distribute)
    assert handed == ["s 1.parquet", "s 3.parquet", "s 5.parquet"] and made == [0, 2, 4, 1, 3, 5]
    assert values(store, work) == [10 + n * n for n in range(N_SHARDS)] and len(made) == N_SHARDS


@pytest.mark.parametrize(("n_there", "fewest"), [(0, N_SHARDS + 1), (N_SHARDS - 1, 0), (N_SHARDS, 0)])
def test_little_work_is_handed_to_nobody(address: str, move: Move, n_there: int, fewest: int) -> None:
    store, work, shared = own(address)
    for shard in shards_of(store, work)[:n_there]:
        shard.table()

    def refuse(_: SharedShards) -> None:
        raise AssertionError("not worth it")

    shared.have_made(shards_of(store, work), refuse, fewest)


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    store, work, shared = own(str(tmp_path / "store"))

    def distribute(shared: SharedShards) -> None:
        replace(shared.shares(1)[0], work=tmp_path / "elsewhere").make()

    with pytest.raises(ConfigError, match=r"elsewhere cannot be seen from .*: workers need the same folder"):
        shared.have_made(shards_of(store, work), distribute)


def test_what_is_damaged_half_there_or_leads_elsewhere_is_not_used(move: Move, tmp_path: Path) -> None:
    address, memory = f"memory://bucket-{uuid4().hex}/store", fsspec.filesystem("memory")
    store, work, shared = own(address)

    def distribute(shared: SharedShards) -> None:
        move("worker")
        shared.shares(1)[0].make()
        move("owner")
        (folder,) = {path.rpartition("/")[0] for path in memory.find(address)}
        memory.pipe_file(f"{folder}/s 0.parquet", b"rotten")
        memory.rm_file(f"{folder}/s 1.parquet.seal")
        for name in ("..parquet", "-.parquet"):
            for suffix in ("", ".seal"):
                memory.pipe_file(f"{folder}/{name}{suffix}", b"{}")

    shared.have_made(shards_of(store, work), distribute)
    assert not is_whole(work / "s 0.parquet") and not (work / "s 1.parquet").exists()
    assert {path.name for path in work.glob("*.parquet")} == {"base.parquet", *(f"s {n}.parquet" for n in range(2, 6))}
    assert values(store, work) == [10 + n * n for n in range(N_SHARDS)] and made[N_SHARDS:] == [0, 1]


def test_a_finished_job_leaves_nothing_in_the_remote_and_an_abandoned_one_is_collected(move: Move) -> None:
    address, memory = f"memory://bucket-{uuid4().hex}/store", fsspec.filesystem("memory")
    store, work, shared = own(address)

    def distribute(shared: SharedShards) -> None:
        shared.shares(1)[0].make()

    shared.have_made(shards_of(store, work), distribute)
    assert store.remote and len(memory.find(address)) == 2 * (N_SHARDS + 1)
    assert store.remote.abandoned_uploads(timedelta(days=1)) == []
    (folder,) = store.remote.abandoned_uploads(timedelta(seconds=-5))
    assert folder.startswith(f"{key_of().path}/upload-") and folder.endswith("-shards")
    remove_remote_shards(store, key_of().path)
    assert memory.find(address) == []
