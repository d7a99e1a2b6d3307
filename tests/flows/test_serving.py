"""`tsrec serve` as an operator meets it: a real server, real runs, real signals."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.leases import LEASE_S
from tests.flows.prefect_api import PATIENCE_S
from tests.flows.served import Serving, free_port, is_alive, write_profile

pytestmark = pytest.mark.slow
LONG = {"epochs": 4000, "patience": None}  # minutes, unless it is ended
SOON_S = LEASE_S / 2  # seconds, but for a machine that is busy; long before a lease lapses


@pytest.fixture(scope="module")
def profiles(shop_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two profiles of the shop, with a store of their own."""
    folder = tmp_path_factory.mktemp("operator")
    settings = [*shop_settings, f"store={folder / 'store'}"]
    return [write_profile(folder / f"{name}.yaml", [*settings, f"dataset={name}"]) for name in ("shop", "other")]


@pytest.fixture(scope="module")
def served(profiles: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("serve"), free_port(), [str(path) for path in profiles]).started()
    yield serving
    serving.end()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """`tsrec serve` of some arguments, all in one Prefect home on one port."""
    port, made = free_port(), []

    def start(*arguments: object) -> Serving:
        made.append(Serving(tmp_path, port, [str(argument) for argument in arguments]))
        return made[-1]

    yield start
    for serving in made:
        serving.end()


def _training(served: Serving, deployment: str = "shop", **config: Any) -> str:
    """A run that is in the middle of fine-tuning."""
    finetune = served.deployments()[deployment]["parameters"]["config"]["finetune"] | LONG
    run = served.start(deployment, **{"finetune": finetune, **config})
    served.wait(lambda: served.tasks(run).get("finetune") == "Running", "fine-tuning")
    return run


def test_every_profile_has_its_deployment_and_its_form(served: Serving) -> None:
    deployments = served.deployments()
    assert set(deployments) == {"shop", "other"}
    assert deployments["other"]["parameters"]["config"]["dataset"] == "other"
    assert deployments["other"]["paused"] is False
    assert all(f"{flow}/{name}" in served.printed for flow in ("train", "recommend") for name in deployments)


def test_progress_is_shown_and_cancelling_ends_the_work_and_says_so(served: Serving) -> None:
    run = _training(served)
    wanted = {"artifacts": {"key": {"any_": ["progress-shop-finetune"]}, "flow_run_id": {"any_": [run]}}}
    (shown,) = served.wait(lambda: served.post("artifacts/filter", wanted), "the progress")
    assert (shown["type"], shown["description"]) == ("progress", "training")
    pid = served.pid(run)
    served.cancel(run)
    ended = served.wait_state(run, "Cancelled", patience_s=SOON_S)
    assert not is_alive(pid)
    assert "Retry" in ended["state"]["message"]
    served.wait(lambda: "Running" not in served.tasks(run).values(), "the tasks' states")
    assert served.tasks(run)["finetune"] == "Cancelled"
    assert served.tasks(run)["ingest"] in ("Completed", "Cached")
    assert "Finished in state Running" not in served.logged(run)


def test_a_killed_run_is_crashed_and_its_log_says_what_a_person_wants(served: Serving) -> None:
    run = _training(served)
    served.wait(lambda: list(Path(_store(served)).glob("shop/finetune/*.partial/work/*/checkpoint-*")), "a checkpoint")
    os.kill(served.pid(run), signal.SIGKILL)
    assert "signal 9" in served.wait_state(run, "Crashed")["state"]["message"]
    served.wait(lambda: "Running" not in served.tasks(run).values(), "the tasks' states")
    assert served.tasks(run)["finetune"] == "Crashed"
    served.post(f"flow_runs/{run}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True})
    served.wait(lambda: "resuming from" in served.logged(run), "the line in the UI's log")
    served.cancel(run)
    served.wait_state(run, "Cancelled")

    ingest = served.deployments()["shop"]["parameters"]["config"]["ingest"]
    missing = served.start("shop", ingest=ingest | {"path": "/nowhere"})
    assert served.wait_state(missing, "Failed", "Completed")["state_name"] == "Failed"
    served.wait(lambda: "/nowhere: no such folder" in served.logged(missing), "the message")
    assert "Traceback" not in served.logged(missing)


def test_the_report_is_one_click_away(served: Serving) -> None:
    run = served.start("other")
    assert served.wait_state(run, "Completed", "Failed", "Crashed")["state_name"] == "Completed", served.logged(run)
    artifacts = served.wait(lambda: served.post("artifacts/filter", {"artifacts": {"key": {"like_": "report-"}}}), "it")
    path = artifacts[0]["data"].partition("](")[2].partition(")")[0]
    page = httpx.get(f"{served.url}{path}")
    assert page.is_success and "<html" in page.text
    assert "sandbox" in page.headers["Content-Security-Policy"]


def test_an_ablation_runs_from_its_form(served: Serving) -> None:
    run = served.start("shop", flow="ablation")
    served.wait_state(run, "Completed")
    page = (served.log.parent / "ablations" / "ablation" / "table.md").read_text()
    assert "| SA-Init + TS-Align (reference) |" in page and "failed" not in page
    tasks = served.tasks(run)
    assert "finetune (run 4 of 4: shop, neither, seed 1)" in tasks


def test_a_second_run_of_a_data_set_is_queued_and_another_data_set_is_not(served: Serving) -> None:
    first = _training(served)
    second, other = served.start("shop"), served.start("other")
    queued = served.wait_state(second, "Queued")
    assert queued["state"]["message"].startswith("waits for ")
    served.wait(lambda: "train-shop" in served.run(second)["state"]["message"], "the name that its flow gives")
    served.wait_state(other, "Running")
    served.cancel(first)
    assert served.wait_state(second, "Completed", "Failed", "Crashed")["state_name"] == "Completed"
    assert served.wait_state(other, "Completed", "Failed", "Crashed")["state_name"] == "Completed"


def test_a_lost_server_is_brought_back_and_the_run_goes_on(served: Serving) -> None:
    run = _training(served)
    pid = served.pid(run)
    os.kill(served.server_pid(), signal.SIGKILL)
    served.wait(lambda: not _answers(served), "the loss")
    served.wait(lambda: _answers(served), "the new server")
    assert is_alive(pid)
    served.cancel(run)
    served.wait_state(run, "Cancelled")


def test_what_was_set_in_the_ui_is_kept_and_a_second_serve_disturbs_nothing(
    profiles: list[Path], serve: Callable[..., Serving]
) -> None:
    shop, other = profiles
    first = serve(shop).started()
    made = first.deployments()["shop"]
    schedule = {"schedule": {"cron": "0 3 * * *"}, "active": True}
    assert first.insist("POST", f"deployments/{made['id']}/schedules", [schedule])
    second = serve(other, "--set", "decode.beams=27").started()
    assert set(second.deployments()) == {"shop", "other"}
    assert second.stop() == 0
    assert not any(deployment["paused"] for deployment in first.deployments().values())
    first.insist("PATCH", f"deployments/{made['id']}", {"paused": True})
    assert first.stop() == 0
    again = serve(shop, "--set", "decode.beams=29").started()
    kept = again.deployments()["shop"]
    assert [found["schedule"]["cron"] for found in kept["schedules"]] == ["0 3 * * *"]
    assert kept["paused"] is True
    assert kept["parameters"]["config"]["decode"]["beams"] == 29
    renamed = serve(other, "--set", "profile=another/shop")
    assert renamed.process.wait(PATIENCE_S) == 1
    assert "belongs to the profile" in renamed.printed and "Traceback" not in renamed.printed
    again.stop()


def test_a_refresh_has_a_schedule_that_is_off_until_it_is_switched_on(
    profiles: list[Path], serve: Callable[..., Serving]
) -> None:
    def nightly(serving: Serving) -> list[tuple[str, bool]]:
        deployment = serving.deployments("refresh")["shop"]
        return [(found["schedule"]["cron"], found["active"]) for found in deployment["schedules"]]

    first = serve(profiles[0]).started()
    assert nightly(first) == [("0 3 * * *", False)]
    assert first.deployments()["shop"]["schedules"] == []
    assert first.stop() == 0
    second = serve(profiles[0], "--schedule", "30 5 * * 1-5", "--timezone", "Europe/Berlin").started()
    assert nightly(second) == [("30 5 * * 1-5", True)]
    assert second.deployments("refresh")["shop"]["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"
    assert second.printed.partition("Refreshes run next: ")[2].splitlines()[0].count(" 05:30 CE") == 3
    assert second.stop() == 0
    third = serve(profiles[0]).started()
    assert nightly(third) == [("30 5 * * 1-5", True)]
    deployment = third.deployments("refresh")["shop"]
    third.insist("DELETE", f"deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}")
    assert third.stop() == 0
    fourth = serve(profiles[0]).started()
    assert nightly(fourth) == []  # removed in the UI: it stays so
    assert fourth.stop() == 0
    wrong = serve(profiles[0], "--schedule", "0 0 3 * * ?")
    assert wrong.process.wait(PATIENCE_S) == 1
    assert "has 6 fields; write five" in wrong.printed and "Traceback" not in wrong.printed


class Refusing(BaseHTTPRequestHandler):
    """A Prefect server that answers, and lets nobody in."""

    def do_GET(self) -> None:
        healthy = self.path == "/api/health"
        self.send_response(200 if healthy else 403)
        self.end_headers()
        self.wfile.write(b"true" if healthy else b"")

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_refuses_is_told_in_one_line(profiles: list[Path], tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        serving = Serving(tmp_path, free_port(), [str(profiles[0])], PREFECT_API_URL=url)
        assert serving.process.wait(PATIENCE_S) == 1
        server.shutdown()
    (line,) = serving.printed.splitlines()
    assert line.startswith(f"tsrec: the Prefect server at {url} did not take the deployments: Client error '403")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.very_slow)])
def test_nothing_runs_on_after_serve_has_ended(
    profiles: list[Path], serve: Callable[..., Serving], number: int
) -> None:
    serving = serve(profiles[0]).started()
    run = _training(serving)
    pids = [serving.pid(run), serving.server_pid()]
    serving.stop(number)
    serving.wait(lambda: not any(is_alive(pid) for pid in pids), "the end of its processes", SOON_S)
    assert "Traceback" not in serving.printed or number == signal.SIGKILL
    again = serve(profiles[0]).started()
    ended = again.wait_state(run, "Crashed", patience_s=PATIENCE_S + (number == signal.SIGKILL) * LEASE_S)
    assert "goes on where it was" in ended["state"]["message"] or number == signal.SIGKILL
    again.wait(lambda: "Running" not in again.tasks(run).values(), "the tasks' states")
    again.stop()


def _answers(served: Serving) -> bool:
    return served.post("flow_runs/count") is not None


def _store(served: Serving) -> str:
    return str(served.deployments()["shop"]["parameters"]["config"]["store"])
