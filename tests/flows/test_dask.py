"""A Dask cluster of two workers makes the shards, and every byte is as without it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.two_machines import may_make_namespaces, measure
from tasks.dask_shards import DASK, task_runner_by_environment
from tests.flows.served import ROOT
from tsrec.errors import ConfigError
from tsrec.store import ArtifactStore, file_sha256

TIMED = ("training_log.parquet", "report.html")  # how fast it went is another figure every time
PROGRAM = ROOT / "tests" / "flows" / "dask_run.py"
KINDS = ("fuse", "recommend")
SHARED = ("keywords", "embed", "candidates", "decode", "fuse", "recommend")


def _run(settings: list[str], folder: Path, *flows: str, **environment: str) -> str:
    """What `dask_run.py` logs; the store and the lists of users lie in `folder`."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, PROGRAM, json.dumps([*settings, f"store={folder}/store"]), folder / "lists", *flows],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stderr


def _contents(folder: Path) -> dict[str, str]:
    """Hashes of all that a run leaves: files of artifacts, and parts of lists."""
    found = {
        f"{artifact.manifest.key.path}/{name}": entry.sha256
        for artifact in ArtifactStore(folder / "store").list()
        for name, entry in artifact.manifest.files.items()
        if name not in TIMED
    }
    parts = sorted((folder / "lists").rglob("*.parquet"))
    return found | {path.relative_to(folder).as_posix(): file_sha256(path) for path in parts}


@pytest.mark.parametrize("wanted", ["two", "0", "-1", "scheduler:8786"])
def test_what_is_neither_a_number_nor_an_address_is_refused(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DASK, wanted)
    with pytest.raises(ConfigError, match=f"{DASK}={wanted}: neither"):
        task_runner_by_environment()


@pytest.mark.slow
def test_two_workers_make_the_same_bytes_though_some_are_killed(shop_settings: list[str], tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask", reason="pip install 'tsrec[dask]'")
    settings = [*shop_settings, "members.refit=true"]
    alone = _run(settings, tmp_path / "alone")
    shared = _run(settings, tmp_path / "shared", "on a cluster", TSREC_DASK="2", DIE_ONCE=str(tmp_path))
    assert all((tmp_path / kind).exists() for kind in KINDS), "each was killed once"
    contents = _contents(tmp_path / "alone")
    assert len(contents) > 50 and contents == _contents(tmp_path / "shared")
    for stage in SHARED:
        assert f"{stage}: Dask workers have made" in shared, shared
        made, due = map(int, re.findall(rf"{stage}: Dask workers have made (\d+) of (\d+) shards", shared)[-1])
        assert made == due > 1
    assert "Dask" not in alone


@pytest.mark.very_slow
def test_two_machines_share_a_store_in_s3_and_either_may_die(tmp_path: Path) -> None:
    """Network namespaces where this process may make some; what `benchmarks/two_machines.py` measures."""
    for package in ("prefect_dask", "s3fs", "moto"):
        pytest.importorskip(package, reason="pip install -e '.[dev]'")
    said = measure(tmp_path / "machines", namespaces=may_make_namespaces(), trials=("worker", "flow"))
    assert len(said) == 2 and all("the same" in line for line in said)
