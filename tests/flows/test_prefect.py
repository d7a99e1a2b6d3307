"""Prefect as it is pinned: a server, a deployment, a schedule, a process worker and the UI's page work together.

Nothing of tsrec runs here. The pins of Prefect's own dependencies decide whether any of it works, and a server whose
scheduler fails still shows an active schedule.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import flows.settings  # noqa: F401  (no telemetry from the processes below)
from tests.flows.prefect_process import deploy_all, start, stop
from tests.flows.served import free_port, wait_for

PATIENCE_S = 120
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
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a real server on loopback."""
    url = environment["PREFECT_API_URL"]
    port = url.removesuffix("/api").rsplit(":", 1)[1]
    log = tmp_path / "server.log"
    server = start(["server", "start", "--host", "127.0.0.1", "--port", port], environment, log, tmp_path)
    try:
        wait_for(lambda: _is_up(url), "the server", log.read_text, PATIENCE_S)
        yield url
    finally:
        stop(server)


def test_a_schedule_of_a_deployed_flow_fires_on_a_worker(api: str, environment: dict[str, str], tmp_path: Path) -> None:
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
        wait_for(lambda: httpx.get(f"{api}/work_pools/here").is_success, "the work pool", log.read_text, PATIENCE_S)
        deploy_all(environment, tmp_path)
        run = wait_for(lambda: _ended_run(api), "the scheduled run", log.read_text, PATIENCE_S)
    finally:
        stop(worker)
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["auto_scheduled"]
    assert run["parameters"] == {"word": "ran"}
    page = httpx.get(api.removesuffix("/api"), follow_redirects=True)
    assert page.is_success
    assert "<!DOCTYPE html>" in page.text


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.HTTPError:
        return False


def _ended_run(api: str) -> Any:
    answer = httpx.post(f"{api}/flow_runs/filter", json={"sort": "EXPECTED_START_TIME_ASC"})
    runs = answer.json() if answer.is_success else []  # a busy server says so, and is asked again
    ended = [run for run in runs if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}]
    return ended[0] if ended else None
