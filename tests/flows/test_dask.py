"""A Dask cluster of two workers makes the shards, and every byte is as without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.dask_shards import DASK, task_runner_by_environment
from tests.flows.served import ROOT
from tsrec.errors import ConfigError
from tsrec.store import ArtifactStore

TIMED = ("training_log.parquet", "report.html")  # how fast it went is another figure every time
RUN = """
import json, os, sys
from prefect.testing.utilities import prefect_test_harness
from flows.train import train
from tasks.dask_shards import DASK, task_runner_by_environment
from tsrec.config import load_config
from tsrec.embed import stage as embed_stage
embed_stage._BATCH_ITEMS = 1  # several shards of a tiny shop
if __name__ == "__main__":  # workers import this file
    with prefect_test_harness(server_startup_timeout=240):
        for workers, settings in json.loads(sys.argv[1]).items():
            print(f"workers: {workers}", file=sys.stderr, flush=True)
            os.environ[DASK] = workers
            train.with_options(task_runner=task_runner_by_environment())(load_config(None, settings))
"""


@pytest.mark.parametrize("wanted", ["two", "0", "-1", "scheduler:8786"])
def test_what_is_neither_a_number_nor_an_address_is_refused(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DASK, wanted)
    with pytest.raises(ConfigError, match=f"{DASK}={wanted}: neither"):
        task_runner_by_environment()


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(shop_settings: list[str], tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask", reason="pip install 'tsrec[dask]'")
    program = tmp_path / "run.py"
    program.write_text(RUN)
    sizes = ["keywords.shard_items=8", "decode.shard_users=16"]
    stores = {workers: tmp_path / f"store{workers}" for workers in ("", "2")}
    runs = {workers: [*shop_settings, *sizes, f"store={store}"] for workers, store in stores.items()}
    done = subprocess.run(
        [sys.executable, program, json.dumps(runs)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    alone, shared = (
        {
            f"{artifact.manifest.key.path}/{name}": entry.sha256
            for artifact in ArtifactStore(store).list()
            for name, entry in artifact.manifest.files.items()
            if name not in TIMED
        }
        for store in stores.values()
    )
    assert alone == shared and len(alone) > 30
    before, _, after = done.stderr.partition("workers: 2")
    for stage in ("keywords", "embed", "decode"):
        assert after.count(f"Task run '{stage} shards' - Finished in state Completed") == 2, done.stderr
        assert f"{stage} shards" not in before
