"""`prefect.yaml` as an operator uses it: `prefect deploy`, a real process worker, and a run of the whole pipeline."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from flows.form import completed
from tests.flows.prefect_api import PATIENCE_S, PrefectApi, wait_for
from tests.flows.prefect_process import deploy_all, own_home, serve_api, start, stop
from tests.flows.served import ROOT
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
def environment(tmp_path: Path) -> dict[str, str]:
    return own_home(tmp_path)


@pytest.fixture
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[PrefectApi]:
    """A real server on loopback."""
    with serve_api(environment, tmp_path) as api:
        yield api


@pytest.mark.slow
def test_a_schedule_of_a_deployed_flow_fires_on_a_process_worker(
    api: PrefectApi, environment: dict[str, str], shop_settings: list[str], tmp_path: Path
) -> None:
    """With Prefect's dependencies as they are pinned: a server whose scheduler fails still shows an active schedule."""
    log = tmp_path / "worker.log"
    arguments = ["worker", "start", "--pool", "tsrec", "--type", "process"]  # makes the pool
    worker = start(arguments, environment, log, ROOT)
    try:
        wait_for(lambda: api.get("work_pools/tsrec"), "the work pool", log.read_text)
        deploy_all(environment, ROOT)
        train = api.deployments("train")["demo"]
        assert api.deployments("refresh")["demo"]["schedules"][0]["active"] is False
        shop = load_config(None, [*shop_settings, f"store={tmp_path / 'store'}"]).model_dump(mode="json")
        parameters = completed({"config": shop}, train["parameters"])
        schedule = {"schedule": {"interval": 15}, "active": True, "parameters": parameters}
        api.insist("POST", f"deployments/{train['id']}/schedules", [schedule])
        run = api.wait_ended(api.wait(api.started_runs, "the scheduled run")[0]["id"])
        page = httpx.get(api.url, follow_redirects=True)
    finally:
        stop(worker)
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert run["auto_scheduled"]
    assert list((tmp_path / "store").glob("shop/report/*/report.html"))
    assert page.is_success and "<!DOCTYPE html>" in page.text


@pytest.mark.slow
def test_a_run_that_died_with_its_worker_says_crashed_in_the_end(
    api: PrefectApi, environment: dict[str, str], shop_settings: list[str], tmp_path: Path
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
    wait_for(lambda: api.get("work_pools/tsrec"), "the work pool", log.read_text)
    deploy_all(environment, ROOT)
    train = api.deployments("train")["demo"]
    long = load_config(None, [*shop_settings, f"store={tmp_path / 'store'}", "finetune.epochs=5000"])
    parameters = completed({"config": long.model_dump(mode="json")}, train["parameters"])
    run = api.create_run(train, parameters)
    beats = {
        "filter": {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "any_resource": {"id": [f"prefect.flow-run.{run}"]},
        }
    }
    wait_for(lambda: api.insist("POST", "events/filter", beats)["events"], "its heartbeat", log.read_text)
    for victim in (worker.pid, api.pid(run)):
        os.kill(victim, signal.SIGKILL)
    worker.wait()
    ended = api.wait_ended(run)
    assert ended["state_name"] == "Crashed" and "goes on where it was" in ended["state"]["message"]
