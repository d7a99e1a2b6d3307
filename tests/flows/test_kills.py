"""Killed at random moments and run again, every flow ends as if nothing had happened. `benchmarks/kill_resume.py` kills
more, and a real `tsrec serve` with its parts."""

from pathlib import Path

import pytest

from benchmarks.kill_resume import matrix, trial
from benchmarks.killed_runs import FLOWS, Forked

pytestmark = pytest.mark.slow


def test_every_flow_ends_the_same(tmp_path: Path) -> None:
    rows = []
    with Forked(tmp_path) as killed:
        for flow in FLOWS:
            rows += trial(killed, killed.undisturbed(flow), flow, seed=1)
    assert {row["flow"] for row in rows} == set(FLOWS), "each was killed"
    assert all(row["same"] for row in rows), f"{matrix(rows)}\n{rows}"
