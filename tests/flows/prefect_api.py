"""The API of a Prefect server, as an operator's scripts would ask it; a busy server is asked again."""

import subprocess
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

PATIENCE_S = 300
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def wait_for(look: Callable[[], Any], what: str, told: Callable[[], str] = str, patience_s: float = PATIENCE_S) -> Any:
    """What `look` gives, once it gives anything; else the end of what was `told` meanwhile."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.3)
    raise AssertionError(f"{what} did not come within {patience_s} s:\n{told()[-3000:]}")


class PrefectApi:
    """That of the server at `url`; `told` is what its processes print, shown where waiting is in vain."""

    process: "subprocess.Popen[bytes]"  # the server's, where a test has started it

    def __init__(self, url: str, told: Callable[[], str] = str, auth: tuple[str, str] | None = None) -> None:
        self.url, self.told, self.auth = url, told, auth

    def ask(self, method: str, what: str, body: Any = None) -> httpx.Response | None:
        """The server's answer; None where it is starting or has no time (SQLite is locked while a flow writes)."""
        try:
            answer = httpx.request(method, f"{self.url}/api/{what}", json=body, auth=self.auth, timeout=60)
        except httpx.HTTPError:
            return None
        return None if answer.is_server_error else answer

    def get(self, what: str) -> Any:
        """What is there, or None where there is nothing, or no answer yet."""
        return _content(self.ask("GET", what))

    def post(self, what: str, body: Any = None) -> Any:
        """What is found, or None where there is no answer yet."""
        return _content(self.ask("POST", what, {} if body is None else body))

    def insist(self, method: str, what: str, body: Any = None) -> Any:
        """Ask until the server has time, as Prefect's own client does; what it answers.

        Raises:
            AssertionError: the server refuses, or never answers.
        """
        (answer,) = self.wait(lambda: (found := self.ask(method, what, body)) is not None and (found,), what)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def deployments(self, flow: str = "train") -> dict[str, Any]:
        """Those of a flow by name."""
        found = self.insist("POST", "deployments/filter", {"flows": {"name": {"any_": [flow]}}})
        return {deployment["name"]: deployment for deployment in found}

    def create_run(self, deployment: dict[str, Any], parameters: dict[str, Any]) -> str:
        """The id of a run of a deployment, one however often the server has to be asked."""
        body = {"parameters": parameters, "idempotency_key": str(uuid.uuid4())}
        return str(self.insist("POST", f"deployments/{deployment['id']}/create_flow_run", body)["id"])

    def run(self, run_id: str) -> Any:
        """A run as it stands."""
        return self.insist("GET", f"flow_runs/{run_id}")

    def started_runs(self) -> list[Any]:
        """All that have started, the newest last."""
        found = self.insist("POST", "flow_runs/filter", {})
        return sorted((run for run in found if run["start_time"]), key=lambda run: str(run["start_time"]))

    def tasks(self, run_id: str) -> dict[str, str]:
        """The states of a run's tasks by name; they come some seconds after the run's own."""
        found = self.insist("POST", "task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {task["name"]: task["state_name"] for task in found}

    def logged(self, run_id: str) -> str:
        """What a run's log says."""
        wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"}
        return "\n".join(line["message"] for line in self.insist("POST", "logs/filter", wanted))

    def cancel(self, run_id: str) -> None:
        """As the UI's button does."""
        self.insist("POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def pid(self, run_id: str) -> int:
        """The process of a run."""
        pid = self.wait(lambda: self.run(run_id).get("infrastructure_pid"), "the process")
        return int(pid.rpartition(":")[2])

    def wait(self, look: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """What `look` gives, once it gives anything."""
        return wait_for(look, what, self.told, patience_s)

    def wait_state(self, run_id: str, *names: str, patience_s: float = PATIENCE_S) -> Any:
        """The run, once its state has one of these names."""
        return self.wait(lambda: (run := self.run(run_id))["state_name"] in names and run, f"{names}", patience_s)

    def wait_ended(self, run_id: str) -> Any:
        """The run, once it has ended in whatever way."""
        return self.wait(lambda: (run := self.run(run_id))["state_type"] in ENDED and run, "the run's end")


def _content(answer: httpx.Response | None) -> Any:
    return answer.json() if answer is not None and answer.is_success and answer.content else None
