"""A Dask cluster of two workers makes the shards, and every byte is as without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.sharing import DASK, chosen_task_runner
from tests.flows.served import ROOT
from tsrec.errors import ConfigError
from tsrec.store import ArtifactStore

RUN = """
import json, sys
from prefect.testing.utilities import prefect_test_harness
from flows.train import train
from tsrec.config import load_config
if __name__ == "__main__":
    with prefect_test_harness(server_startup_timeout=180):
        train(load_config(None, json.loads(sys.argv[1])))
"""


@pytest.mark.parametrize("wanted", ["two", "0", "-1", "scheduler:8786"])
def test_what_is_neither_a_number_nor_an_address_is_refused(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DASK, wanted)
    with pytest.raises(ConfigError, match=f"{DASK}={wanted}: neither"):
        chosen_task_runner()


@pytest.mark.slow
def test_two_workers_make_the_same_bytes(shop_settings: list[str], tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask", reason="pip install 'tsrec[dask]'")
    program = tmp_path / "run.py"
    program.write_text(RUN)
    found, logs = {}, {}
    for wanted in ("", "2"):
        store = tmp_path / f"store{wanted}"
        sizes = ["keywords.shard_items=8", "embed.batch_items=1", "decode.shard_users=16"]
        settings = [*shop_settings, *sizes, f"store={store}"]
        done = subprocess.run(
            [sys.executable, program, json.dumps(settings)],
            env=os.environ | {DASK: wanted, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-5000:]
        logs[wanted] = done.stderr
        found[wanted] = {
            f"{artifact.manifest.key.path}/{name}": entry.sha256
            for artifact in ArtifactStore(store).list()
            for name, entry in artifact.manifest.files.items()
        }
    assert found[""] == found["2"]
    for stage in ("keywords", "embed", "decode"):
        assert logs["2"].count(f"Task run '{stage} shards' - Finished in state Completed") == 2, logs["2"]
        assert f"{stage} shards" not in logs[""]
