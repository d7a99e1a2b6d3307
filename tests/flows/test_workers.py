"""`prefect.yaml` as an operator uses it: `prefect deploy`, a real process worker, and a run of the whole pipeline."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.form import completed
from tests.flows.prefect_process import deploy_all, start, stop
from tests.flows.served import ROOT, free_port, wait_for
from tsrec.config import Config, load_config

WRITTEN = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))


def test_the_deployments_are_those_of_tsrec_serve_with_the_demo_profile() -> None:
    demo = load_config(ROOT / "configs" / "demo.yaml", [f"store={Config().store}"])
    entrypoints = [deployment["entrypoint"] for deployment in WRITTEN["deployments"]]
    assert entrypoints == ["flows.train.train", "flows.refresh.refresh", "flows.recommend.recommend"]
    for deployment in WRITTEN["deployments"]:
        assert Config.model_validate(deployment["parameters"]["config"]) == demo
        assert deployment["concurrency_limit"] == 1
    assert [schedule["active"] for schedule in WRITTEN["deployments"][1]["schedules"]] == [False]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """That of a real server on loopback, ended with the test."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    own = {
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
        "PWD": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    arguments = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = start(arguments, inherited | own, tmp_path / "s.log", ROOT)
    try:
        wait_for(lambda: _get(own, "health"), "the server")
        yield inherited | own
    finally:
        stop(server)


@pytest.mark.slow
def test_a_deployed_flow_runs_on_a_process_worker(
    environment: dict[str, str], shop_settings: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    arguments = ["worker", "start", "--pool", "tsrec", "--type", "process"]  # makes the pool
    worker = start(arguments, environment, log, ROOT)
    try:
        wait_for(lambda: _get(environment, "work_pools/tsrec"), "the work pool", log.read_text)
        deploy_all(environment, ROOT)
        train = _get(environment, "deployments/name/train/demo")
        assert _get(environment, "deployments/name/refresh/demo")["schedules"][0]["active"] is False
        shop = load_config(None, [*shop_settings, f"store={tmp_path / 'store'}"]).model_dump(mode="json")
        parameters = completed({"config": shop}, train["parameters"])
        asked = httpx.post(
            f"{environment['PREFECT_API_URL']}/deployments/{train['id']}/create_flow_run",
            json={"parameters": parameters},
        )
        assert asked.is_success, asked.text
        run = wait_for(lambda: _ended(environment, asked.json()["id"]), "the run", log.read_text)
    finally:
        stop(worker)
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert list((tmp_path / "store").glob("shop/report/*/report.html"))


def _get(environment: dict[str, str], what: str) -> Any:
    try:
        answer = httpx.get(f"{environment['PREFECT_API_URL']}/{what}", timeout=30)
    except httpx.HTTPError:
        return None
    return answer.json() if answer.is_success else None


def _ended(environment: dict[str, str], run_id: str) -> Any:
    run = _get(environment, f"flow_runs/{run_id}")
    return run if run and run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None
