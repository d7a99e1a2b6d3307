"""Prefect as it is pinned: a server, a deployment, a schedule, a process worker and the UI's page work together.

Nothing of tsrec runs here. The pins of Prefect's own dependencies decide whether any of it works, and a server whose
scheduler fails still shows an active schedule.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

import flows.settings  # noqa: F401  (no telemetry from the processes below)
from tests.flows.prefect_api import ENDED, PrefectApi, wait_for
from tests.flows.prefect_process import deploy_all, serve_api, start, stop
from tests.flows.served import free_port

FLOW = """
from prefect import flow

@flow
def tiny(word: str) -> str:
    return word
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A Prefect home of its own, and the address of a server to be."""
    own = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    return os.environ | own | {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}


@pytest.fixture
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[PrefectApi]:
    """A real server on loopback."""
    with serve_api(environment, tmp_path) as api:
        yield api


def test_a_schedule_of_a_deployed_flow_fires_on_a_worker(
    api: PrefectApi, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "tiny_flow.py").write_text(FLOW)
    deployment = {
        "name": "scheduled",
        "entrypoint": "tiny_flow.py:tiny",
        "parameters": {"word": "ran"},
        "work_pool": {"name": "here"},
        "schedules": [{"interval": 15}],
    }
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"name": "tiny", "deployments": [deployment]}))
    log = tmp_path / "worker.log"
    arguments = ["worker", "start", "--pool", "here", "--type", "process"]  # makes the pool
    worker = start(arguments, environment, log, tmp_path)
    try:
        wait_for(lambda: api.get("work_pools/here"), "the work pool", log.read_text)
        deploy_all(environment, tmp_path)
        run = wait_for(lambda: _first_ended(api), "the scheduled run", log.read_text)
    finally:
        stop(worker)
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["auto_scheduled"]
    assert run["parameters"] == {"word": "ran"}
    page = httpx.get(api.url, follow_redirects=True)
    assert page.is_success
    assert "<!DOCTYPE html>" in page.text


def _first_ended(api: PrefectApi) -> dict[str, object] | None:
    return next((run for run in api.started_runs() if run["state_type"] in ENDED), None)
