"""Serving the `train` deployment, on a Prefect server that is started where none is reachable."""

import flows.settings  # noqa: F401, I001

import os
import subprocess
import sys
import time

import httpx

from tsrec.errors import TsrecError

_STARTUP_S = 180


def serve(host: str = "127.0.0.1", port: int = 4200) -> None:
    """Serve until interrupted. Raises TsrecError where no server can be reached or started."""
    url = os.environ.get("PREFECT_API_URL", f"http://{host}:{port}/api")
    os.environ["PREFECT_API_URL"] = url
    server = None if _healthy(url) else _start_server(host, port, url)
    try:
        from flows.train import train  # reads PREFECT_API_URL at import

        print(f"\nPrefect UI: {url.removesuffix('/api')}/deployments\nRun the deployment train/train from its form.\n")
        train.serve(name="train", description="The whole pipeline; the form's defaults are the demo.")
    finally:
        if server is not None:
            server.terminate()
            server.wait()


def _start_server(host: str, port: int, url: str) -> "subprocess.Popen[bytes]":
    print(f"no Prefect server at {url}: starting one", flush=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + _STARTUP_S
    while time.monotonic() < deadline:
        if _healthy(url):
            return server
        if server.poll() is not None:
            raise TsrecError(f"the Prefect server ended at start (status {server.returncode}); is port {port} taken?")
        time.sleep(1)
    server.terminate()
    raise TsrecError(f"the Prefect server did not answer at {url} within {_STARTUP_S} s")


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
