"""The Prefect server: is there one, and the one that `tsrec serve` starts, guards and ends.

Asked without Prefect, whose own attempts take long and end in a traceback.
"""

import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import httpx

from flows.masking import masked
from tsrec.errors import ConfigError, TsrecError

STORES = "TSREC_REPORT_STORES"
AUTH = "PREFECT_SERVER_API_AUTH_STRING"
_STARTUP_S = 180
_AGAIN_S = 10.0
_END_S = 5.0


def answers(url: str) -> bool:
    """Whether a Prefect server answers at `url` (which ends in /api)."""
    try:
        # Anything below 500 is a server: Prefect Cloud answers 401 or 404 here, and its client brings the key.
        return httpx.get(f"{url.rstrip('/')}/health", timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def check_configured() -> None:
    """Raise TsrecError where Prefect is told to use a server that does not answer."""
    import flows.settings  # noqa: F401  (before prefect)

    from prefect.settings import PREFECT_API_URL  # isort: skip

    url = PREFECT_API_URL.value()
    if url and not answers(str(url)):
        where = "PREFECT_API_URL" if "PREFECT_API_URL" in os.environ else "Prefect's profile"
        raise TsrecError(
            f"{where} names the server {masked(str(url))}, which does not answer; start it, take the setting out "
            "(a run brings a server of its own), or give --no-prefect"
        )


def check_exposure(host: str, without_auth: bool) -> None:
    """Raise ConfigError where a server would listen to other machines and ask nobody who they are."""
    if without_auth or os.environ.get(AUTH) or _is_loopback(host):
        return
    raise ConfigError(
        f"--host {host}: whoever reaches this address could start runs and read every result; set "
        f"{AUTH}=USER:PASSWORD, which the UI then asks for, or give --without-auth where something in front of it asks"
    )


class Server:
    """The server that a `tsrec serve` works with: another's, or, where none answers at `host` and `port`, its own."""

    def __init__(self, host: str, port: int, stores: Sequence[str]) -> None:
        """`stores` are those whose reports a server of its own shows. PREFECT_API_URL wins where it answers."""
        self.host, self.port, self.stores = host, port, stores
        local = f"http://{_address(host)}:{port}/api"
        configured = os.environ.get("PREFECT_API_URL")
        if configured and not answers(configured):
            print(f"PREFECT_API_URL={masked(configured)} does not answer; using {local}", file=sys.stderr)
        self.url = configured if configured and answers(configured) else local
        self.may_start = self.url == local
        self.process: subprocess.Popen[bytes] | None = None
        self._started = float("-inf")

    @property
    def ui_url(self) -> str:
        """Where browsers of this machine find the UI."""
        return self.url.removesuffix("/api")

    def start(self) -> None:
        """Make sure that a server answers. Raises TsrecError."""
        if answers(self.url):
            return
        self._start()
        deadline = time.monotonic() + _STARTUP_S
        while time.monotonic() < deadline:
            if answers(self.url):
                return
            if self.process and self.process.poll() is not None:
                raise TsrecError(
                    f"the Prefect server ended at start (status {self.process.returncode}); is port {self.port} taken?"
                )
            time.sleep(0.5)
        raise TsrecError(f"the Prefect server did not answer at {self.url} within {_STARTUP_S} s")

    def revive(self) -> bool:
        """Whether it answers; where none does, and it may be one of ours, one is started, without waiting for it."""
        if answers(self.url):
            return True
        dead = self.process is None or self.process.poll() is not None
        if self.may_start and dead and time.monotonic() - self._started > _AGAIN_S:
            self._start()
        return False

    def stop(self) -> None:
        """End the server where it is ours."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _start(self) -> None:
        print(f"no Prefect server answers; starting one on {self.host}:{self.port}", flush=True)
        self._started = time.monotonic()
        ours = {
            STORES: json.dumps(list(self.stores)),
            "PREFECT_UI_API_URL": os.environ.get("PREFECT_UI_API_URL", "/api"),  # browsers elsewhere have no 127.0.0.1
            # Pages of other sites have no business here; the UI is of the same origin.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": os.environ.get("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", self.ui_url),
        }
        # A session of its own: Ctrl-C reaches `tsrec serve` alone, which ends the server after the runs.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.child", str(os.getpid()), "server", self.host, str(self.port)],
            env=os.environ | ours,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _address(host: str) -> str:
    """What this machine reaches a server by that listens on `host`, as a URL has it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
