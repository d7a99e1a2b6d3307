"""What a run does where a Dask cluster cannot do what it asks: it says so, and goes on or ends in words."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks import dask_shards
from tasks.dask_shards import DASK, distributor_by_environment, hand_out, task_runner_by_environment
from tests.flows.served import free_port
from tests.keys import key_of
from tsrec.errors import ConfigError, DataError
from tsrec.store import ArtifactStore
from tsrec.store.shards import Shard
from tsrec.store.shared_shards import SharedShards

distributed = pytest.importorskip("distributed", reason="pip install 'tsrec[dask]'")


@dataclass(frozen=True)
class Job:
    """Four shards, which end in an error where there is one."""

    error: Exception | None = None
    path: str = key_of("decode", "d1", "shop").path

    def shards(self, store: ArtifactStore, work: Path) -> list[Shard]:
        return [Shard(work / f"s {number}.parquet", self._make, 1) for number in range(4)]

    def _make(self) -> pa.Table:
        if self.error:
            raise self.error
        return pa.table({"n": [1]})


def _client(n_workers: int) -> Any:
    options = {"n_workers": n_workers, "threads_per_worker": 1, "processes": False, "dashboard_address": ":0"}
    return distributed.Client(**options, set_as_default=False)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with _client(2) as client:
        yield client


def _have_made(client: Any, job: Job, work: Path) -> SharedShards:
    store = ArtifactStore(work / "store")
    shared = SharedShards(job, store, work)
    shared.have_made(job.shards(store, work), lambda shared: hand_out(client, shared))
    return shared


def test_workers_make_all(client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        shared = _have_made(client, Job(), tmp_path)
    assert shared.n_made() == 4 == len(list(tmp_path.glob("*.parquet")))
    assert "decode: 4 shards are made by 2 Dask worker(s)" in caplog.text
    assert "decode: Dask workers have made 4 of 4 shards" in caplog.text and "differ" not in caplog.text


def test_what_a_worker_says_in_words_ends_the_run(client: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such item"):
        _have_made(client, Job(DataError("no such item")), tmp_path)


def test_what_nobody_foresaw_is_left_to_the_run(client: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _have_made(client, Job(MemoryError("too large")), tmp_path)
    assert "a Dask worker failed: MemoryError: too large; its shards are made here" in caplog.text


def test_a_cluster_without_workers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dask_shards, "_NO_WORKER_S", 0.2)
    monkeypatch.setattr(dask_shards, "_POLL_S", 0.1)
    with _client(0) as client:
        shared = _have_made(client, Job(), tmp_path)
    assert shared.n_made() == 0 and "the Dask cluster has no worker left; missing shards are made here" in caplog.text


@pytest.mark.parametrize(("n_workers", "said", "n_threads"), [(2, None, 4), (3, None, 2), (9, None, 1), (2, "8", 8)])
def test_workers_of_this_machine_share_its_threads_unless_a_number_is_set(
    monkeypatch: pytest.MonkeyPatch, n_workers: int, said: str | None, n_threads: int
) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setenv(DASK, str(n_workers))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    runner: Any = task_runner_by_environment()
    assert runner.cluster_kwargs["env"] == {name: str(n_threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def test_an_address_where_nobody_answers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    monkeypatch.setenv(DASK, f"tcp://127.0.0.1:{free_port()}")
    job, store = Job(), ArtifactStore(tmp_path / "store")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), distributor_by_environment() as distribute:
        assert distribute
        with pytest.raises(ConfigError, match=rf"{DASK}=tcp://.*: no Dask cluster .*start its scheduler"):
            SharedShards(job, store, tmp_path).have_made(job.shards(store, tmp_path), distribute)
