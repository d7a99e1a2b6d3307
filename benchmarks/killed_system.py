"""Runs of `kill_resume.py` in a real `tsrec serve`, or by a process worker of Prefect; every part of it is killed."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from benchmarks.killed_runs import Killed, Place
from tests.flows.served import ROOT, Serving, free_port
from tsrec.config import BatchRequest

POOL = "kills"
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
STARTING_S = 600


class Served(Killed):
    """`tsrec serve`: its flow process, itself (the runner), its server, or all at once are killed."""

    kinds: tuple[str, ...] = ("flow", "flow", "runner", "server", "machine")
    start_s = 12.0
    deployment = "shop"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        profile = folder / "shop.yaml"
        profile.write_text("dataset: shop\n")
        self.arguments = [str(profile), *(part for setting in self.settings for part in ("--set", setting))]
        self.serving = self._serve()

    def start(self, flow: str, place: Place) -> str:
        """A run as the form makes it."""
        name = f"{flow}/{self.deployment}"
        deployment = self.serving.wait(lambda: self.serving.get(f"deployments/name/{name}"), name)
        config = deployment["parameters"]["config"] | {"store": str(place.store)}
        if flow == "refresh":
            config["ingest"] = config["ingest"] | {"path": str(self.folder / "grown")}
        parameters: dict[str, Any] = {"config": config}
        if flow == "recommend":
            wish = BatchRequest(out=str(place.out), shard_users=4)
            parameters["wish"] = wish.model_dump(mode="json", exclude_none=True)  # the form wants every field
        asked = self.serving.post(f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        return str(asked["id"])

    def has_begun(self, run: str) -> bool:
        """Whether the server knows its process."""
        return bool((self.serving.get(f"flow_runs/{run}") or {}).get("infrastructure_pid"))

    def has_ended(self, run: str) -> bool:
        """Whether it is Completed; where it ended otherwise it is retried, as by the UI's button."""
        state = self._state(run)
        if state in ENDED and state != "Completed":
            print(f"{state}: {self.serving.logged(run)[-500:]}", file=sys.stderr)
            self._retry(run)
        return state == "Completed"

    def kill(self, what: str, run: str) -> tuple[str, str]:
        """Kill a part, start it again, and have the run retried where it ended."""
        if what == "server":
            os.kill(self.serving.server_pid(), signal.SIGKILL)
            self.serving.wait(lambda: self.serving.get("health"), "the new server")
            return run, f"went on ({self._state(run)})"
        pid = self._pid(run)
        if what == "flow":
            _kill_all([pid])
        else:
            _kill_all([*([pid, self.serving.server_pid()] if what == "machine" else []), self.serving.process.pid])
            self.serving.process.wait()
            self.serving.wait(lambda: not psutil.pid_exists(pid), "the end of the run's process", 60)
            self.serving = self._serve()
        state = self.serving.wait_state(run, *ENDED)["state_name"]
        self._retry(run)
        return run, str(state)

    def end(self) -> None:
        """End `tsrec serve`, and with it what it started."""
        self.serving.end()

    def _serve(self) -> Serving:
        serving = Serving(self.folder, self.port, self.arguments)
        serving.wait(lambda: "Prefect UI:" in serving.printed, "`tsrec serve`", STARTING_S)
        return serving

    def _state(self, run: str) -> str | None:
        found = self.serving.get(f"flow_runs/{run}")
        return str(found["state_name"]) if found else None

    def _pid(self, run: str) -> int:
        return int(self.serving.get(f"flow_runs/{run}")["infrastructure_pid"].rpartition(":")[2])

    def _retry(self, run: str) -> None:
        if self._state(run) != "Completed":
            state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
            self.serving.post(f"flow_runs/{run}/set_state", {"state": state, "force": True})


class Pooled(Served):
    """A process worker of Prefect: the worker alone, or it and its run at once, are killed."""

    kinds = ("worker", "worker and flow")
    deployment = "pooled"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.worker = self._work()
        self.serving.wait(lambda: self.serving.get(f"work_pools/{POOL}"), "the work pool")

    def start(self, flow: str, place: Place) -> str:
        """A run of a deployment for the worker."""
        served = self.serving.get(f"deployments/name/{flow}/shop")
        kept = {name: served[name] for name in ("flow_id", "parameters", "parameter_openapi_schema", "entrypoint")}
        self.serving.post("deployments/", kept | {"path": str(ROOT), "name": "pooled", "work_pool_name": POOL})
        return super().start(flow, place)

    def kill(self, what: str, run: str) -> tuple[str, str]:
        """Kill the worker, with or without the run; without, that one goes on, else a new one is made."""
        _kill_all([self.worker.pid, *([self._pid(run)] if what == "worker and flow" else [])])
        self.worker.wait()
        self.worker = self._work()
        state = self._state(run)
        if what == "worker":
            return run, f"went on ({state})"
        old = self.serving.get(f"flow_runs/{run}")
        asked = {"parameters": old["parameters"]}
        again = self.serving.post(f"deployments/{old['deployment_id']}/create_flow_run", asked)
        return str(again["id"]), f"{state}; a new run"

    def end(self) -> None:
        """End the worker too."""
        _kill_all([self.worker.pid])
        super().end()

    def _work(self) -> subprocess.Popen[bytes]:
        home = {"PREFECT_HOME": str(self.folder / "home"), "PREFECT_API_URL": f"{self.serving.url}/api"}
        more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        with (self.folder / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"],
                cwd=ROOT,
                env=os.environ | home | more,
                stdout=log,
                stderr=log,
            )


def _kill_all(pids: list[int]) -> None:
    """SIGKILL to processes at once."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
