"""A run started from the form in a real browser. Slow; needs the extra `browser` and Chromium.

pytest -m slow tests/flows/test_ui.py          pictures: TSREC_SCREENSHOTS=FOLDER
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tsrec.pipeline import STAGES

playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
PATIENCE_S = 300
ONLY_WHERE_ASKED_FOR = ("refit", "semantics", "grounding", "soft_targets", "rl")


@pytest.fixture(scope="module")
def server(shop_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`tsrec serve` on the tiny shop, with a Prefect home and a store of its own."""
    folder = tmp_path_factory.mktemp("serve")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "PREFECT_API_URL"}
    settings = [part for setting in [*shop_settings, f"store={folder / 'store'}"] for part in ("--set", setting)]
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "serve", *settings, "--port", str(port)],
        env=environment | {"PREFECT_HOME": str(folder / "home")},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(lambda: _deployment(url), "the deployment")
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def page(server: str) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE_S * 1000)
        yield page
        browser.close()


def test_a_run_from_the_form_completes_and_a_second_is_cached(server: str, page: Any, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("TSREC_SCREENSHOTS", tmp_path))
    pictures.mkdir(parents=True, exist_ok=True)
    for number, state in enumerate(("Completed", "Cached"), start=1):
        page.goto(f"{server}/deployments/deployment/{_deployment(server)}")
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("link", name="Custom run").click()
        page.get_by_role("button", name="Submit").wait_for()
        page.get_by_text("Artifact store: a folder or an fsspec URL").wait_for()
        page.screenshot(path=pictures / f"{number}-form.png")
        page.get_by_role("button", name="Submit").click()
        run = _wait(lambda n=number: _ended(server, n), f"run {number}")
        assert run["state_name"] == "Completed", run["state"]["message"]
        expected = {stage.name: state for stage in STAGES if stage.name not in ONLY_WHERE_ASKED_FOR}
        _wait(lambda r=run["id"], e=expected: _task_states(server, r) == e, "the states of its tasks")
        page.goto(f"{server}/runs/flow-run/{run['id']}")
        page.get_by_text("Artifacts", exact=True).first.wait_for()
        page.get_by_text("Finished in state").first.wait_for()
        page.screenshot(path=pictures / f"{number}-run.png")
        page.get_by_text("Task Runs", exact=True).first.click()
        page.get_by_text(state, exact=True).nth(1).wait_for()
        page.screenshot(path=pictures / f"{number}-tasks.png")
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("metrics-shop").last.click()
    page.get_by_text("tsrec", exact=True).first.wait_for()
    page.screenshot(path=pictures / "metrics.png")


def test_the_report_is_a_click_away_and_no_other_host_is_called(server: str, page: Any, tmp_path: Path) -> None:
    """In the UI that people land on (V2), after the run above."""
    pictures = Path(os.environ.get("TSREC_SCREENSHOTS", tmp_path))
    answered: list[str] = []
    page.on("response", lambda response: answered.append(response.url))
    page.goto(server)
    page.wait_for_load_state("networkidle")
    assert "/v2/" in page.url
    made = _wait(lambda: _post(server, "artifacts/latest/filter"), "artifacts")
    report = next(artifact for artifact in made if artifact["key"] == "report-shop")
    page.goto(f"{server}/v2/artifacts/artifact/{report['latest_id']}")
    link = page.get_by_role("link", name="Open the report").first
    link.wait_for()
    page.screenshot(path=pictures / "report-artifact.png")
    assert link.get_attribute("href").startswith("/reports/shop/")
    link.click()
    (opened,) = _wait(lambda: [tab for tab in page.context.pages if "/reports/shop/" in tab.url], "the report")
    opened.get_by_text("NDCG").first.wait_for()
    opened.screenshot(path=pictures / "report.png")
    foreign = [url for url in answered if not url.startswith((server, "data:", "blob:"))]
    assert foreign == []


def test_wrong_settings_are_refused_in_the_form_and_no_run_exists(server: str, page: Any, tmp_path: Path) -> None:
    pictures = Path(os.environ.get("TSREC_SCREENSHOTS", tmp_path))
    before = _post(server, "flow_runs/count")
    _open_form(server, page)
    page.get_by_label("Window overlap", exact=True).fill("20")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("window_overlap (20) must be less than window_items (20)").wait_for()  # a rule across fields
    page.screenshot(path=pictures / "refused.png")
    page.get_by_label("Window overlap", exact=True).fill("8")
    page.get_by_label("Epochs", exact=True).first.fill("0")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("0 is less than or equal to the minimum of 0").wait_for()  # beside the field
    assert _post(server, "flow_runs/count") == before


def test_the_form_as_json_untouched_runs(server: str, page: Any) -> None:
    """In the UI that people land on, as the tests above and below."""
    _open_form(server, page)
    page.get_by_role("button", name="Open menu").nth(1).click()  # that of Config, after Force from
    page.get_by_role("menuitem", name="Use JSON Input").click()
    page.locator(".cm-content").filter(has_text="dataset").wait_for()
    count = _n_started(server)
    page.get_by_role("button", name="Submit").click()
    run = _wait(lambda: _ended(server, count + 1), "the run")
    assert run["state_name"] == "Completed", run["state"]["message"]


@pytest.mark.parametrize("epochs", [None, "1"])
def test_a_schedule_made_in_the_ui_fires_and_keeps_the_profile(
    server: str, page: Any, tmp_path: Path, epochs: str | None
) -> None:
    """Untouched, and with one field set: that field, and all others as the deployment has them."""
    pictures = Path(os.environ.get("TSREC_SCREENSHOTS", tmp_path))
    deployment = _deployment(server)
    page.goto(f"{server}/v2/deployments/deployment/{deployment}")
    page.get_by_role("button", name="Schedule", exact=True).last.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name="Cron").click()
    dialog.get_by_label("Value").fill("* * * * *")
    if epochs:
        dialog.get_by_label("Epochs", exact=True).first.fill(epochs)
    page.screenshot(path=pictures / f"schedule-{epochs}.png")
    dialog.get_by_role("button", name="Save").click()
    (made,) = _wait(lambda: httpx.get(f"{server}/api/deployments/{deployment}").json()["schedules"], "the schedule")
    assert made["parameters"] == ({"config": {"finetune": {"epochs": 1}}} if epochs else {})
    run = _wait(lambda: _ended_since(server, made["created"]), "the scheduled run")
    _wait(
        lambda: httpx.delete(f"{server}/api/deployments/{deployment}/schedules/{made['id']}", timeout=30).is_success,
        "the end of the schedule",  # the server is busy with the run
    )
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert run["auto_scheduled"]
    config = run["parameters"]["config"]
    assert (config["dataset"], config["finetune"]["epochs"]) == ("shop", int(epochs or 2))


def _open_form(server: str, page: Any) -> None:
    page.goto(f"{server}/v2/deployments/deployment/{_deployment(server)}/run")
    page.get_by_text("Data (ingest)").wait_for()


def _deployment(url: str) -> str | None:
    """That of `train`, once it is there: they come one after the other."""
    found = _post(url, "deployments/filter") or []
    ours = (str(deployment["id"]) for deployment in found if deployment["entrypoint"] == "flows.train.train")
    return next(ours, None)


def _ended_since(url: str, created: str) -> Any:
    """A run that ended and was made after `created`."""
    runs = _post(url, "flow_runs/filter") or []
    ended = ("COMPLETED", "FAILED", "CRASHED")
    return next((run for run in runs if run["state_type"] in ended and run["created"] > created), None)


def _task_states(url: str, run_id: str) -> dict[str, str]:
    """The states of a run's tasks by name; they come some seconds after the run's own."""
    tasks = _post(url, "task_runs/filter") or []
    return {task["name"]: task["state_name"] for task in tasks if task["flow_run_id"] == run_id}


def _n_started(url: str) -> int:
    (runs,) = _wait(lambda: (found := _post(url, "flow_runs/filter")) is not None and (found,), "the runs")  # or none
    return len([run for run in runs if run["start_time"]])


def _post(url: str, what: str) -> Any:
    try:
        answer = httpx.post(f"{url}/api/{what}", json={}, timeout=30)
    except httpx.HTTPError:  # still starting
        return None
    return answer.json() if answer.is_success else None


def _ended(url: str, count: int) -> Any:
    """The newest flow run that started, once there are `count` of them and it has ended."""
    runs = [run for run in _post(url, "flow_runs/filter") or [] if run["start_time"]]
    runs.sort(key=lambda run: run["start_time"])
    return runs[-1] if len(runs) == count and runs[-1]["state_type"] in {"COMPLETED", "FAILED", "CRASHED"} else None


def _wait(look: Any, what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not come within {PATIENCE_S} s")
