"""Leases of runs: when one lapses, and what two workers of one server do with the runs of a data set."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows import leases
from flows.leases import LEASE_S, LeaseMonitor, StartLock
from tests.flows.postgres import USER, postgres_programs, serve_postgres
from tests.flows.prefect_api import ENDED, PATIENCE_S, PrefectApi
from tests.flows.prefect_process import own_home, serve_api
from tests.flows.served import Serving, free_port, is_alive, write_profile

LONG = {"epochs": 4000, "patience": None}  # minutes, unless it is ended
ACTIVE = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}}


def test_a_lease_lapses_when_it_stood_still_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.2)
    watch, start = LeaseMonitor(), time.monotonic()
    for number in range(8):
        lapsed = watch.lapsed({"beating": number, "still": 1})
        assert lapsed == [] or (lapsed == ["still"] and time.monotonic() - start > 0.2)
        time.sleep(0.05)
    assert lapsed == ["still"]
    assert watch.lapsed({"still": 2}) == [], "heard of again"
    assert watch.lapsed({}) == watch.lapsed({"still": 2}) == [], "seen anew"


def test_a_pause_of_the_watcher_is_no_silence_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.2)
    monkeypatch.setattr(leases, "_BEAT_EVERY_S", 0.05)
    watch = LeaseMonitor()
    watch.lapsed({"run": 1})
    time.sleep(0.3)  # the server was away: nobody could renew anything
    assert watch.lapsed({"run": 1}) == []


def test_a_worker_that_cannot_renew_stops_before_others_take_it_for_dead() -> None:
    slowest = leases.HOLD_S + leases._BEAT_EVERY_S + 2 * leases._BEAT_TIMEOUT_S  # to connect, and to be answered
    assert slowest < LEASE_S


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectApi]:
    """A server that no worker owns."""
    folder = tmp_path_factory.mktemp("server")
    with serve_api(own_home(folder), folder) as server:
        yield server


@pytest.fixture(scope="module")
def profile(shop_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    return write_profile(folder / "shop.yaml", [*shop_settings, f"store={folder / 'store'}"])


@pytest.fixture
def work(api: PrefectApi, profile: Path, tmp_path: Path) -> Iterator[Callable[[], Serving]]:
    """A further worker of the server; in the end all of them end, and what they left is cancelled."""
    made: list[Serving] = []

    def start() -> Serving:
        folder = tmp_path / f"worker-{len(made)}"
        folder.mkdir()
        made.append(Serving(folder, free_port(), [str(profile)], PREFECT_API_URL=f"{api.url}/api").started())
        return made[-1]

    yield start
    for worker in made:
        worker.end()
    for run in api.insist("POST", "flow_runs/filter", {}):
        if run["state_type"] not in ENDED:
            cancelled = {"state": {"type": "CANCELLED", "name": "Cancelled"}, "force": True}
            api.insist("POST", f"flow_runs/{run['id']}/set_state", cancelled)


def _long(api: PrefectApi) -> str:
    """A run that takes minutes."""
    known = api.deployments()["shop"]
    config = known["parameters"]["config"]
    return api.create_run(known, {"config": config | {"finetune": config["finetune"] | LONG}})


def _wait_at_work(api: PrefectApi, runs: set[str], patience_s: float = PATIENCE_S) -> str:
    """The one of the runs that is at work, once there is one; more than one would be wrong."""

    def look() -> Any:
        active = {run["id"]: run for run in api.insist("POST", "flow_runs/filter", ACTIVE)}
        assert len(active) <= 1, active
        return next((run for run in runs & set(active) if active[run]["state_name"] == "Running"), None)

    found: str = api.wait(look, "a run at work", patience_s)
    return found


def _owner(workers: list[Serving], pid: int) -> Serving:
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    (owner,) = [worker for worker in workers if worker.process.pid == parent]
    return owner


def _compete_for_turns(url: str) -> None:
    """Four workers, ten turns each; nobody has his while another has."""
    at_turn: list[str] = []

    def compete(name: str) -> int:
        lock, n_turns = StartLock(name), 0
        with SyncPrefectClient(f"{url}/api") as client:
            while n_turns < 10:
                if lock.take(client):
                    at_turn.append(name)
                    time.sleep(0.02)
                    assert at_turn == [name]
                    at_turn.clear()
                    lock.release(client)
                    n_turns += 1
                time.sleep(0.01)
        return n_turns

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(compete, "abcd")) == 40


@pytest.mark.slow
def test_one_worker_at_a_time_has_its_turn_on_sqlite(api: PrefectApi) -> None:
    _compete_for_turns(api.url)


@pytest.mark.slow
@pytest.mark.skipif(postgres_programs() is None, reason="no initdb: apt-get install postgresql")
def test_one_worker_at_a_time_has_its_turn_on_postgres(tmp_path: Path) -> None:
    with serve_postgres(free_port(), "password") as database:
        url = f"postgresql+asyncpg://{USER}:password@{database.host}:{database.port}/{database.name}"
        with serve_api(own_home(tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=url), tmp_path) as server:
            _compete_for_turns(server.url)


@pytest.mark.slow
def test_a_turn_of_a_dead_worker_is_taken_over(api: PrefectApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 1.0)
    with SyncPrefectClient(f"{api.url}/api") as client:
        dead, alive = StartLock("dead"), StartLock("alive")
        assert dead.take(client)
        assert not alive.take(client)
        api.wait(lambda: alive.take(client), "the turn")
        dead.release(client)  # were it alive after all: the turn of another is left alone
        assert not StartLock("third").take(client)
        alive.release(client)


@pytest.mark.slow
def test_two_workers_keep_one_limit_and_bury_each_others_runs(api: PrefectApi, work: Callable[[], Serving]) -> None:
    workers = [work(), work()]
    waiting = {_long(api) for _ in range(3)}
    first = _wait_at_work(api, waiting)
    waiting.remove(first)
    pid = api.pid(first)
    victim = _owner(workers, pid)
    (survivor,) = [worker for worker in workers if worker is not victim]
    for run in waiting:
        api.wait_state(run, "Queued")

    killed = time.monotonic()
    victim.process.kill()  # without a word, as a container that is gone
    os.killpg(pid, signal.SIGKILL)
    while api.run(first)["state_name"] == "Running":
        assert time.monotonic() - killed < LEASE_S + PATIENCE_S
        assert {run["id"] for run in api.insist("POST", "flow_runs/filter", ACTIVE)} <= {first}
        time.sleep(1)
    assert "nothing was heard of its worker" in api.run(first)["state"]["message"]
    assert time.monotonic() - killed > LEASE_S / 2

    second = _wait_at_work(api, waiting)
    waiting.remove(second)
    pid = api.pid(second)
    assert _owner([survivor], pid) is survivor
    api.insist("DELETE", f"flow_runs/{second}")  # while another one is due
    api.wait(lambda: not is_alive(pid), "the end of the process of a deleted run")
    assert _wait_at_work(api, waiting) in waiting
    assert survivor.process.poll() is None and "Traceback" not in survivor.printed


@pytest.mark.very_slow
def test_a_run_whose_lease_cannot_be_renewed_stops_and_goes_on_later(
    api: PrefectApi, work: Callable[[], Serving]
) -> None:
    worker = work()
    run = _long(api)
    _wait_at_work(api, {run})
    pid = api.pid(run)
    os.killpg(api.process.pid, signal.SIGSTOP)  # as a network that is cut
    try:
        api.wait(lambda: not is_alive(pid), "the end of the process", LEASE_S)
    finally:
        os.killpg(api.process.pid, signal.SIGCONT)
    assert _wait_at_work(api, {run}) == run
    assert api.wait(lambda: api.pid(run) != pid and api.pid(run), "the new process") != pid
    assert worker.process.poll() is None and "Traceback" not in worker.printed


@pytest.mark.very_slow
def test_schedules_are_apart_and_one_that_is_not_understood_fails_alone(
    api: PrefectApi, work: Callable[[], Serving]
) -> None:
    assert work().stop() == 0  # it leaves the deployment
    deployment = api.deployments()["shop"]["id"]
    wrong = {"config": {"__prefect_kind": "json", "value": "[1]"}}
    start = time.time() + 20
    minutes = ",".join(time.strftime("%M", time.gmtime(start + 60 * later)) for later in (1, 2))  # then not for an hour
    each = {"schedule": {"cron": f"{minutes} * * * *"}, "active": True}
    made = [each | {"slug": "one"}, each | {"slug": "two"}, each | {"slug": "bad", "parameters": wrong}]
    slugs = {found["id"]: found["slug"] for found in api.insist("POST", f"deployments/{deployment}/schedules", made)}

    def missed() -> dict[str, list[str]]:
        """The runs of each schedule that were due before now, oldest first."""
        now, found = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()), {slug: list[str]() for slug in slugs.values()}
        for run in api.insist("POST", "flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"}):
            if run["auto_scheduled"] and run["expected_start_time"] < now:
                found[slugs[run["created_by"]["id"]]].append(run["id"])
        return found

    api.wait(lambda: all(len(runs) == 2 for runs in missed().values()), "missed runs")
    runs = missed()
    worker = work()
    failed = api.wait_state(runs["bad"][1], "Failed")
    assert "config is [1], which is no section" in failed["state"]["message"]
    for slug in ("one", "two"):
        assert api.run(runs[slug][0])["state_name"] == "Cancelled", "a later one of its schedule was due"
        assert api.wait_state(runs[slug][1], "Completed", "Cancelled", "Failed")["state_name"] == "Completed"
    assert worker.process.poll() is None and "Traceback" not in worker.printed
