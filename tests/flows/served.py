"""A real `tsrec serve` on loopback for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.flows.prefect_api import PrefectApi
from tsrec.config import load_config

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def write_profile(path: Path, settings: list[str]) -> Path:
    """A profile that says the same as these overrides."""
    values = load_config(None, settings).model_dump(mode="json", exclude_defaults=True)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


class Serving(PrefectApi):
    """`tsrec serve` in a Prefect home of its own; what it prints lies in `log`."""

    def __init__(self, folder: Path, port: int, arguments: list[str], **environment: str) -> None:
        super().__init__(f"http://127.0.0.1:{port}", lambda: self.printed)
        self.log = folder / f"serve-{time.monotonic_ns()}.log"
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

    def start(self, deployment: str, flow: str = "train", **config: Any) -> str:
        """The id of a run, made as the form makes it: with every field of its configuration."""
        known = self.deployments(flow)[deployment]
        return self.create_run(known, {"config": known["parameters"]["config"] | config})

    def server_pid(self) -> int:
        """The process of the server that was started, found among the children."""
        children = subprocess.run(
            ["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="], capture_output=True, text=True, check=False
        ).stdout.splitlines()
        return int(next(line for line in children if " server " in line).split()[0])

    def end(self) -> None:
        """Kill what is left of it; its children end with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it, and return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(300)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
