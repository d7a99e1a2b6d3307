"""What `compose.yaml` runs, without Docker: its commands and environments on a real PostgreSQL and a real S3 API."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.flows.compose_file import ROOT, compose_text, interpolated
from tests.flows.postgres import postgres_programs, serve_postgres
from tests.flows.prefect_api import PrefectApi
from tests.flows.served import free_port

pytest.importorskip("s3fs", reason="pip install -e '.[dev]'")
pytest.importorskip("moto", reason="pip install -e '.[dev]'")

import s3fs

from tests.store.s3_server import serve_s3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(postgres_programs() is None, reason="no initdb: apt-get install postgresql"),
]
PASSWORDS = {
    "TSREC_USER": "ops",
    "TSREC_PASSWORD": "what the UI asks",
    "DATABASE_PASSWORD": "d@ta/b%se",
    "STORE_ROOT_USER": "storeroot",
    "STORE_ROOT_PASSWORD": "rootpassword",
    "STORE_USER": "storeuser",
    "TSREC_API_KEYS": "k1",
    "STORE_PASSWORD": "storepassword",
}


class Composed:
    """The services of the file as processes, each with a home of its own, and the places that Compose would give."""

    def __init__(self, folder: Path, variables: dict[str, str], places: dict[str, str]) -> None:
        self.folder, self.places = folder, places
        self.services = interpolated(compose_text(), variables)["services"]

    def _start(self, name: str, more: str = "") -> subprocess.Popen[bytes]:
        words = [word.replace("4200", self.places["port"]) for word in self.services[name]["command"]]
        programs = {"uvicorn": [sys.executable, "-m", "uvicorn"], "python": [sys.executable], "sh": ["sh"]}
        words = [*programs[words[0]], *words[1:]]
        words[-1] = words[-1].replace("exec tsrec", f"exec {sys.executable} -m flows.cli") + more
        home = self.folder / name
        home.mkdir()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "AWS_"))}
        given = {key: self.places.get(key, value) for key, value in self.services[name]["environment"].items()}
        extra = {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        if "PREFECT_SERVER_DATABASE_HOST" in given:
            extra["PREFECT_SERVER_DATABASE_PORT"] = self.places["PREFECT_SERVER_DATABASE_PORT"]
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(words, cwd=ROOT, env=inherited | given | extra, stdout=log, stderr=log)

    @contextmanager
    def running(self, name: str, more: str = "") -> Iterator[None]:
        process = self._start(name, more)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-3000:]

    def printed(self) -> str:
        return "\n".join(path.read_text()[-1500:] for path in sorted(self.folder.glob("*.log")))


def test_a_schedule_runs_to_its_end_behind_a_password(tmp_path: Path, shop: Path, shop_settings: list[str]) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}"
    profile = tmp_path / "shop.yaml"
    profile.write_text("dataset: shop\n")
    settings = "".join(f" --set '{setting}'" for setting in shop_settings)
    with ExitStack() as stack:
        s3 = stack.enter_context(serve_s3())
        database = stack.enter_context(serve_postgres(free_port(), PASSWORDS["DATABASE_PASSWORD"]))
        places = {
            "port": str(port),
            "AWS_ENDPOINT_URL": s3.url,
            "PREFECT_SERVER_DATABASE_HOST": database.host,
            "PREFECT_SERVER_DATABASE_PORT": str(database.port),
            "PREFECT_API_URL": f"{url}/api",
            "TSREC_READ_ROOTS": str(shop.parent),  # below it lies all that tests make
        }
        composed = Composed(tmp_path, {**PASSWORDS, "TSREC_PROFILES": str(profile)}, places)
        s3fs.S3FileSystem(endpoint_url=s3.url, key="root", secret="root").mkdir("tsrec")  # else the store's own client
        stack.enter_context(composed.running("server"))
        api = PrefectApi(url, composed.printed, ("ops", "what the UI asks"))
        api.wait(lambda: api.get("health"), "the server")
        assert httpx.post(f"{url}/api/deployments/filter", json={}).status_code == 401
        stack.enter_context(composed.running("worker", settings))
        (train,) = api.wait(lambda: api.deployments().values(), "the deployment")
        schedule = [{"schedule": {"interval": 30}, "active": True}]
        api.insist("POST", f"deployments/{train['id']}/schedules", schedule)
        run = api.wait_ended(api.wait(api.started_runs, "a run by schedule")[0]["id"])
        assert run["state_type"] == "COMPLETED", (run["state"], composed.log("worker"))
        assert run["auto_scheduled"]
        shown = {artifact["key"]: artifact["data"] for artifact in api.insist("POST", "artifacts/filter", {})}
        assert "report-shop" in shown, (sorted(shown), composed.log("worker"))
        page = shown["report-shop"].partition("](")[2].partition(")")[0]
        assert httpx.get(f"{url}{page}").status_code == 401
        assert "<html" in httpx.get(f"{url}{page}", auth=api.auth).text, "made by the worker, in S3 for the server"
