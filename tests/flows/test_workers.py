"""`prefect.yaml` as an operator uses it: `prefect deploy`, a real process worker, and a run of the whole pipeline."""

import os
import signal
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.form import completed
from tests.flows.prefect_process import deploy_all, start, stop
from tests.flows.served import PATIENCE_S, ROOT, free_port, wait_for
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
        asked = _post(environment, f"deployments/{train['id']}/create_flow_run", {"parameters": parameters})
        run = wait_for(lambda: _ended(environment, asked["id"]), "the run", log.read_text)
    finally:
        stop(worker)
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert list((tmp_path / "store").glob("shop/report/*/report.html"))


@pytest.mark.slow
def test_a_run_that_died_with_its_worker_says_crashed_in_the_end(
    environment: dict[str, str], shop_settings: list[str], tmp_path: Path
) -> None:
    """By the automation that operators are given, with the shortest times that Prefect allows."""
    automation = yaml.safe_load((ROOT / "automations.yaml").read_text(encoding="utf-8"))
    automation["automations"][0]["trigger"]["within"] = 60
    (tmp_path / "automations.yaml").write_text(yaml.safe_dump(automation), encoding="utf-8")
    made = start(["automation", "create", "--from-file", "automations.yaml"], environment, tmp_path / "a.log", tmp_path)
    assert made.wait(PATIENCE_S) == 0, (tmp_path / "a.log").read_text()
    log = tmp_path / "worker.log"
    often = environment | {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    worker = start(["worker", "start", "--pool", "tsrec", "--type", "process"], often, log, ROOT)
    wait_for(lambda: _get(environment, "work_pools/tsrec"), "the work pool", log.read_text)
    deploy_all(environment, ROOT)
    train = _get(environment, "deployments/name/train/demo")
    long = load_config(None, [*shop_settings, f"store={tmp_path / 'store'}", "finetune.epochs=5000"])
    parameters = completed({"config": long.model_dump(mode="json")}, train["parameters"])
    run = _post(environment, f"deployments/{train['id']}/create_flow_run", {"parameters": parameters})["id"]
    beats = {
        "filter": {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "any_resource": {"id": [f"prefect.flow-run.{run}"]},
        }
    }
    wait_for(lambda: _post(environment, "events/filter", beats)["events"], "its heartbeat", log.read_text)
    pid = int(_get(environment, f"flow_runs/{run}")["infrastructure_pid"].rpartition(":")[2])
    for victim in (worker.pid, pid):
        os.kill(victim, signal.SIGKILL)
    worker.wait()
    ended = wait_for(lambda: _ended(environment, run), "its end")
    assert ended["state_name"] == "Crashed" and "goes on where it was" in ended["state"]["message"]


def _post(environment: dict[str, str], what: str, body: dict[str, Any]) -> Any:
    """Asked again while the server has no time, as Prefect's own client does: SQLite is locked while a flow writes."""

    def answered() -> httpx.Response | None:
        answer = httpx.post(f"{environment['PREFECT_API_URL']}/{what}", json=body, timeout=30)
        return None if answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE else answer

    answer = wait_for(answered, f"an answer to {what}")
    assert answer.is_success, answer.text
    return answer.json()


def _get(environment: dict[str, str], what: str) -> Any:
    try:
        answer = httpx.get(f"{environment['PREFECT_API_URL']}/{what}", timeout=30)
    except httpx.HTTPError:
        return None
    return answer.json() if answer.is_success else None


def _ended(environment: dict[str, str], run_id: str) -> Any:
    run = _get(environment, f"flow_runs/{run_id}")
    return run if run and run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None
