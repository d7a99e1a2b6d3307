"""A run started from the form in a real browser. Slow; needs the extra `browser` and Chromium.

pytest -m 'slow or very_slow' tests/flows/test_ui.py          pictures: TSREC_SCREENSHOTS=FOLDER
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.prefect_api import ENDED, PATIENCE_S
from tests.flows.served import Serving, free_port
from tsrec.pipeline import STAGES

playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
ONLY_WHERE_ASKED_FOR = ("refit", "semantics", "soft_targets", "rl", "score")


@pytest.fixture(scope="module")
def server(shop_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`tsrec serve` on the tiny shop, with a Prefect home and a store of its own."""
    folder = tmp_path_factory.mktemp("serve")
    settings = [part for setting in [*shop_settings, f"store={folder / 'store'}"] for part in ("--set", setting)]
    serving = Serving(folder, free_port(), settings)
    try:
        yield serving.started()
    finally:
        serving.end()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("TSREC_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(server: Serving) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE_S * 1000)
        yield page
        browser.close()


def test_a_run_from_the_form_completes_and_a_second_is_cached(server: Serving, page: Any, pictures: Path) -> None:
    for number, state in enumerate(("Completed", "Cached"), start=1):
        page.goto(f"{server.url}/deployments/deployment/{_train(server)}")
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("link", name="Custom run").click()
        page.get_by_role("button", name="Submit").wait_for()
        page.get_by_text("Artifact store: a folder or an fsspec URL").wait_for()
        page.screenshot(path=pictures / f"{number}-form.png")
        page.get_by_role("button", name="Submit").click()
        run = _newest(server, number)
        assert run["state_name"] == "Completed", run["state"]["message"]
        expected = {stage.name: state for stage in STAGES if stage.name not in ONLY_WHERE_ASKED_FOR}
        server.wait(lambda r=run["id"], e=expected: server.tasks(r) == e, "the states of its tasks")
        page.goto(f"{server.url}/runs/flow-run/{run['id']}")
        page.get_by_text("Artifacts", exact=True).first.wait_for()
        page.get_by_text("Finished in state").first.wait_for()
        page.screenshot(path=pictures / f"{number}-run.png")
        page.get_by_text("Task Runs", exact=True).first.click()
        page.get_by_text(state, exact=True).nth(1).wait_for()
        page.screenshot(path=pictures / f"{number}-tasks.png")
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("metrics-shop").last.click()
    page.wait_for_url("**/artifacts/**")
    page.locator("td").get_by_text("tsrec", exact=True).first.wait_for()
    page.screenshot(path=pictures / "metrics.png", animations="disabled")  # it fades in


def test_the_report_is_a_click_away_and_no_other_host_is_called(server: Serving, page: Any, pictures: Path) -> None:
    """In the UI that people land on (V2), after the run above."""
    answered: list[str] = []
    page.on("response", lambda response: answered.append(response.url))
    page.goto(server.url)
    page.wait_for_load_state("networkidle")
    assert "/v2/" in page.url
    made = server.wait(lambda: server.post("artifacts/latest/filter"), "artifacts")
    report = next(artifact for artifact in made if artifact["key"] == "report-shop")
    page.goto(f"{server.url}/v2/artifacts/artifact/{report['latest_id']}")
    link = page.get_by_role("link", name="Open the report").first
    link.wait_for()
    page.screenshot(path=pictures / "report-artifact.png")
    assert link.get_attribute("href").startswith("/reports/shop/")
    link.click()
    (opened,) = server.wait(lambda: [tab for tab in page.context.pages if "/reports/shop/" in tab.url], "the report")
    opened.get_by_text("NDCG").first.wait_for()
    opened.screenshot(path=pictures / "report.png")
    opened.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for width in (1000, 400):
        opened.set_viewport_size({"width": width, "height": 1000})
        assert opened.evaluate("document.documentElement.scrollWidth") == width
    opened.set_viewport_size({"width": 1000, "height": 1000})
    assert opened.evaluate(
        "[...document.querySelectorAll('.wide')].every(each => each.scrollWidth == each.clientWidth)"
    )
    foreign = [url for url in answered if not url.startswith((server.url, "data:", "blob:"))]
    assert foreign == []


def test_wrong_settings_are_refused_in_the_form_and_no_run_exists(server: Serving, page: Any, pictures: Path) -> None:
    before = server.insist("POST", "flow_runs/count", {})
    _open_form(server, page)
    page.screenshot(path=pictures / "folded.png", full_page=True)
    assert page.get_by_label("Window overlap", exact=True).count() == 0
    _open_training(page)
    page.get_by_label("Window overlap", exact=True).fill("20")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("window_overlap (20) must be less than window_items (20)").wait_for()  # a rule across fields
    page.screenshot(path=pictures / "refused.png")
    page.get_by_label("Window overlap", exact=True).fill("8")
    page.get_by_label("Epochs", exact=True).first.fill("0")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("0 is less than or equal to the minimum of 0").wait_for()  # beside the field
    assert server.insist("POST", "flow_runs/count", {}) == before


def test_the_form_as_json_untouched_runs(server: Serving, page: Any) -> None:
    """In the UI that people land on, as the tests above and below."""
    _open_form(server, page)
    page.get_by_role("button", name="Open menu").nth(1).click()  # that of Config, after Force from
    page.get_by_role("menuitem", name="Use JSON Input").click()
    page.locator(".cm-content").filter(has_text="dataset").wait_for()
    count = len(server.started_runs())
    page.get_by_role("button", name="Submit").click()
    run = _newest(server, count + 1)
    assert run["state_name"] == "Completed", run["state"]["message"]


@pytest.mark.very_slow
@pytest.mark.parametrize("epochs", [None, "1"])
def test_a_schedule_made_in_the_ui_fires_and_keeps_the_profile(
    server: Serving, page: Any, pictures: Path, epochs: str | None
) -> None:
    """Untouched, and with one field set: that field, and all others as the deployment has them."""
    deployment = _train(server)
    page.goto(f"{server.url}/v2/deployments/deployment/{deployment}")
    page.get_by_role("button", name="Schedule", exact=True).last.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name="Cron").click()
    dialog.get_by_label("Value").fill("* * * * *")
    if epochs:
        _open_training(dialog)
        dialog.get_by_label("Epochs", exact=True).first.fill(epochs)
    page.screenshot(path=pictures / f"schedule-{epochs}.png")
    dialog.get_by_role("button", name="Save").click()
    (made,) = server.wait(lambda: server.insist("GET", f"deployments/{deployment}")["schedules"], "the schedule")
    assert made["parameters"] == ({"config": {"finetune": {"epochs": 1}}} if epochs else {})
    run = server.wait(lambda: _ended_since(server, made["created"]), "the scheduled run")
    server.insist("DELETE", f"deployments/{deployment}/schedules/{made['id']}")
    assert run["state_name"] == "Completed", run["state"]["message"]
    assert run["auto_scheduled"]
    config = run["parameters"]["config"]
    assert (config["dataset"], config["finetune"]["epochs"]) == ("shop", int(epochs or 2))


def _open_form(server: Serving, page: Any) -> None:
    page.goto(f"{server.url}/v2/deployments/deployment/{_train(server)}/run")
    page.get_by_text("Data (ingest)").wait_for()


def _open_training(form: Any) -> None:
    """Its second tab, after those of ingest, keywords and backbone."""
    form.get_by_role("tab", name="Change", exact=True).nth(3).click()


def _train(server: Serving) -> str:
    (deployment,) = server.deployments("train").values()
    return str(deployment["id"])


def _ended_since(server: Serving, created: str) -> Any:
    """A run that ended and was made after `created`."""
    runs = (run for run in server.started_runs() if run["created"] > created)
    return next((run for run in runs if run["state_type"] in ENDED), None)


def _newest(server: Serving, count: int) -> Any:
    """The newest run, once `count` have started and it has ended."""
    runs = server.wait(lambda: len(found := server.started_runs()) == count and found, f"run {count}")
    return server.wait_ended(runs[-1]["id"])
