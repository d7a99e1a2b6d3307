"""A real `tsrec serve` on loopback for tests, and its API as an operator's scripts would ask it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE_S = 240


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(look: Callable[[], Any], what: str, told: Callable[[], str] = str, patience_s: float = PATIENCE_S) -> Any:
    """What `look` gives, once it gives anything; else the end of what was `told` meanwhile."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError(f"{what} did not come within {patience_s} s:\n{told()[-3000:]}")


class Serving:
    """`tsrec serve` in a Prefect home of its own; what it prints lies in `log`."""

    def __init__(self, folder: Path, port: int, arguments: list[str], **environment: str) -> None:
        self.url, self.log = f"http://127.0.0.1:{port}", folder / f"serve-{time.monotonic_ns()}.log"
        own = {"PREFECT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "serve", *arguments, "--port", str(port)],
                cwd=folder,
                env=inherited | own | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def started(self) -> "Serving":
        """Once the deployments are served."""
        self.wait(lambda: "Prefect UI:" in self.printed or self.process.poll() is not None, "`tsrec serve`")
        assert self.process.poll() is None, self.printed
        return self

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def post(self, what: str, body: Any = None) -> Any:
        """The answer of the API, or None where there is none yet."""
        try:
            answer = httpx.post(f"{self.url}/api/{what}", json={} if body is None else body, timeout=30)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success and answer.content else None

    def get(self, what: str) -> Any:
        """The answer of the API, or None where there is none."""
        try:
            answer = httpx.get(f"{self.url}/api/{what}", timeout=30)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success and answer.content else None

    def deployments(self, flow: str = "train") -> dict[str, Any]:
        """Those of a flow by name."""
        found = self.post("deployments/filter", {"flows": {"name": {"any_": [flow]}}})
        return {deployment["name"]: deployment for deployment in found}

    def start(self, deployment: str, flow: str = "train", **config: Any) -> str:
        """The id of a run, made as the form makes it: with every field of its configuration."""
        known = self.deployments(flow)[deployment]
        parameters = {"config": known["parameters"]["config"] | config}
        place = f"{self.url}/api/deployments/{known['id']}/create_flow_run"
        answer = httpx.post(place, json={"parameters": parameters}, timeout=60)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def run(self, run_id: str) -> Any:
        return httpx.get(f"{self.url}/api/flow_runs/{run_id}", timeout=30).json()

    def tasks(self, run_id: str) -> dict[str, str]:
        """The states of a run's tasks by name."""
        found = self.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {task["name"]: task["state_name"] for task in found}

    def logged(self, run_id: str) -> str:
        found = self.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(line["message"] for line in found)

    def cancel(self, run_id: str) -> None:
        """As the UI's button does."""
        self.post(f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def pid(self, run_id: str) -> int:
        """The process of a run."""
        pid = self.wait(lambda: self.run(run_id).get("infrastructure_pid"), "the process")
        return int(pid.rpartition(":")[2])

    def server_pid(self) -> int:
        """The process of the server that was started, found among the children."""
        children = subprocess.run(
            ["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="], capture_output=True, text=True, check=False
        ).stdout.splitlines()
        return int(next(line for line in children if " server " in line).split()[0])

    def wait(self, look: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """What `look` gives, once it gives anything."""
        return wait_for(look, what, lambda: self.printed, patience_s)

    def wait_state(self, run_id: str, *names: str, patience_s: float = PATIENCE_S) -> Any:
        """The run, once its state has one of these names."""
        return self.wait(lambda: (run := self.run(run_id))["state_name"] in names and run, f"{names}", patience_s)

    def end(self) -> None:
        """Kill what is left of it; its children end with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
