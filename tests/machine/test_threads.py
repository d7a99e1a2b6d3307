"""How threads wait beside other work: OpenMP's sleep soon, NumPy's BLAS has one while a stage runs."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy  # noqa: F401  # whose BLAS is looked at
import pytest
from threadpoolctl import threadpool_info

from tsrec import pipeline
from tsrec.config import load_config
from tsrec.machine.threads import one_blas_thread
from tsrec.store import ArtifactStore, ArtifactWriter


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ({}, "1000 False"),
        ({"GOMP_SPINCOUNT": "7"}, "7 False"),
        ({"OMP_WAIT_POLICY": "active"}, "None False"),
    ],
)
def test_importing_tsrec_has_openmp_sleep_soon_unless_told_otherwise(said: dict[str, str], holds: str) -> None:
    """And before torch is loaded, which reads it then; `flows` loads no torch, as tests/test_imports.py holds."""
    unset = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import tsrec, os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=unset | said, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == holds


def test_blas_has_one_thread_inside_and_its_own_number_after() -> None:
    before = _blas_threads()
    with one_blas_thread():
        assert set(_blas_threads()) == {1}
    assert _blas_threads() == before


def test_a_stage_runs_with_one_blas_thread(shop_settings: list[str], tmp_path: Path) -> None:
    config = load_config(None, [*shop_settings, f"store={tmp_path}"])
    planned = pipeline.plan(config)["ingest"]
    seen: list[int] = []

    def run(settings: Any, parents: Any, writer: ArtifactWriter) -> None:
        seen.extend(_blas_threads())
        planned.stage.run(settings, parents, writer)

    pipeline.build(replace(planned, stage=replace(planned.stage, run=run)), ArtifactStore(config.store), {})
    assert set(seen) == {1}


def _blas_threads() -> list[int]:
    """Of every BLAS that keeps threads of its own; never empty where NumPy has its usual one."""
    return [pool["num_threads"] for pool in threadpool_info() if pool.get("threading_layer") == "pthreads"]
