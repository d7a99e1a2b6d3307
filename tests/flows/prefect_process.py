"""Prefect's own command line in tests: a server, other processes that are started and ended, and `prefect deploy`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.flows.prefect_api import PrefectApi
from tests.flows.served import ROOT, free_port


def own_home(folder: Path, **more: str) -> dict[str, str]:
    """An environment with a Prefect home of its own in `folder`, and the address of a server to be."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    own = {
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
        "PWD": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    return inherited | own | more


def start(arguments: list[str], environment: dict[str, str], log: Path, folder: Path) -> "subprocess.Popen[bytes]":
    """`prefect ARGUMENTS` in `folder`, in a session of its own; what it prints lies in `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop(process: "subprocess.Popen[bytes]") -> None:
    """A worker that was idle for long may ignore the signal."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def serve_api(environment: dict[str, str], folder: Path) -> Iterator[PrefectApi]:
    """A real server on loopback, where `PREFECT_API_URL` says; what it prints lies in `folder`."""
    url, log = environment["PREFECT_API_URL"].removesuffix("/api"), folder / "server.log"
    arguments = ["server", "start", "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    server = start(arguments, environment, log, folder)
    try:
        api = PrefectApi(url, log.read_text)
        api.process = server
        api.wait(lambda: api.get("health"), "the server")
        yield api
    finally:
        stop(server)


def deploy_all(environment: dict[str, str], folder: Path) -> None:
    """Deploy what the folder's prefect.yaml names."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
