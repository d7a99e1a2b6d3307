"""Serving the `train` deployment, on a Prefect server that is started where none is reachable."""

import os
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any, NoReturn

from flows.server import answers
from tsrec.config import Config
from tsrec.errors import TsrecError

_STARTUP_S = 180


def serve(defaults: Config | None = None, host: str = "127.0.0.1", port: int = 4200) -> None:
    """Serve until interrupted; a server that was started here ends with it.

    Args:
        defaults: what the form of a run starts from; without it, the demo.
        host: address that a new server listens on; 0.0.0.0 for all.
        port: its port. The server that PREFECT_API_URL names is used instead where it answers.

    Raises:
        TsrecError: no server can be reached or started.
    """
    signal.signal(signal.SIGTERM, _exit)  # so that `finally` runs while no flow is served yet
    local = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/api"
    configured = os.environ.get("PREFECT_API_URL")
    url = configured if configured and answers(configured) else local
    if configured and url != configured:
        print(f"PREFECT_API_URL={configured} does not answer; using {local}", file=sys.stderr)
    os.environ["PREFECT_API_URL"] = url  # before Prefect is imported: it reads its environment then
    server = None if answers(url) else _start_server(host, port)
    try:
        if server is not None:
            _wait_until_healthy(server, url)
        _serve_train(url.removesuffix("/api"), defaults)
    finally:
        if server is not None:
            server.terminate()
            server.wait()


def _serve_train(ui_url: str, defaults: Config | None) -> None:
    from prefect.types.entrypoint import EntrypointType

    from flows.train import train

    print(
        f"\nPrefect UI: {ui_url}\nOpen Deployments, train, Run; its form is the configuration. Ctrl-C ends.\n",
        flush=True,
    )
    parameters: dict[str, Any] = {} if defaults is None else {"config": defaults.model_dump(mode="json")}
    train.serve(
        name="train",
        description="The whole pipeline. Stages whose artifact exists show as Cached.",
        parameters=parameters,
        entrypoint_type=EntrypointType.MODULE_PATH,  # runs from any folder
        print_starting_message=False,
    )


def _start_server(host: str, port: int) -> "subprocess.Popen[bytes]":
    print(f"no Prefect server answers; starting one on {host}:{port}", flush=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    # A session of its own: Ctrl-C reaches this process alone, which then ends the server after the runner.
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def _wait_until_healthy(server: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _STARTUP_S
    while time.monotonic() < deadline:
        if answers(url):
            return
        if server.poll() is not None:
            raise TsrecError(f"the Prefect server ended at start (status {server.returncode}); is its port taken?")
        time.sleep(1)
    raise TsrecError(f"the Prefect server did not answer at {url} within {_STARTUP_S} s")


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
