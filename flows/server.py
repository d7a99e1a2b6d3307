"""The Prefect server: is there one, and the one that `tsrec serve` starts, guards and ends.

Asked without Prefect, whose own attempts take long and end in a traceback.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from tasks.masking import masked, masked_in_one_line
from tsrec.errors import ConfigError, TsrecError
from tsrec.machine.addresses import is_loopback, url_host

STORES = "TSREC_REPORT_STORES"
HOST = "TSREC_SERVER_HOST"  # what the server listens on
AUTH = "PREFECT_SERVER_API_AUTH_STRING"
_STARTUP_S = 180
_AGAIN_S = 10.0
_WAIT_S = 1.0
_END_S = 5.0


def answers(url: str) -> bool:
    """Whether a Prefect server answers at `url` (which ends in /api); that of another program is no answer."""
    health = _health(url)
    return health is not None and _is_of_prefect(url, health)


def configured_url() -> str | None:
    """The server that Prefect is told to use, by the environment or a profile of its own; None where there is none."""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or None


def check_configured() -> None:
    """Raise TsrecError where Prefect is told to use a server that does not answer, or cannot have one of its own."""
    check_home()
    url = configured_url()
    if url and not answers(url):
        named = _named(url)
        _check_is_prefect(url, named)
        raise TsrecError(
            f"{named} does not answer; start it, take the setting out (a run brings a server of its own), or give "
            "--no-prefect"
        )


def check_home() -> None:
    """Raise TsrecError where Prefect cannot read its settings, or not write to its home, in which a server of ours has
    its database."""
    home, said = None, io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # Prefect warns of such a home, and says less
            from prefect.settings import get_current_settings

        if not configured_url():  # else the database is another's, and nothing is written here
            home = get_current_settings().home
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=home):
                pass
    except OSError as error:  # also of the import, where Prefect may not look into its home
        raise TsrecError(
            f"Prefect's home cannot be written ({error.strerror}: {home or error.filename}); set PREFECT_HOME to a "
            "folder that this user can write to, in a container to a volume"
        ) from None
    except ValueError as error:  # pydantic's and tomllib's are such
        why = masked_in_one_line(error).split(" [type=")[0]
        raise TsrecError(
            f"Prefect's settings cannot be read ({why}); look at the environment variables that begin with PREFECT_, "
            "and at profiles.toml in Prefect's home"
        ) from None
    print(said.getvalue(), end="", file=sys.stderr)


def check_exposure(host: str, without_auth: bool) -> None:
    """Raise ConfigError where a server would listen to other machines and ask nobody who they are."""
    if without_auth or server_password() or is_loopback(host):
        return
    raise ConfigError(
        f"--host {host}: whoever reaches this address could start runs and read every result; set "
        f"{AUTH}=USER:PASSWORD, which the UI then asks for, or give --without-auth where something in front of it asks"
    )


def server_password() -> str:
    """USER:PASSWORD that a server of ours asks for; empty: it asks nobody."""
    from prefect.settings import get_current_settings

    password = get_current_settings().server.api.auth_string
    return password.get_secret_value() if password else ""


def share_password() -> None:
    """Let the runs of this process, and its own client, know the password that its server asks for."""
    from prefect.settings import get_current_settings

    if (password := server_password()) and not get_current_settings().api.auth_string:
        os.environ["PREFECT_API_AUTH_STRING"] = password


class Server:
    """The server that a `tsrec serve` works with: the one that Prefect is told to use, which is waited for. Where it is
    told nothing: the one at `host` and `port`, which is started where none answers."""

    def __init__(self, host: str, port: int, stores: Sequence[str]) -> None:
        """`stores` are those whose reports a server of its own shows."""
        self.host, self.port, self.stores = host, port, stores
        configured = configured_url()
        self.url = configured or f"http://{url_host(host)}:{port}/api"
        self.may_start = configured is None
        self._name = f"--port {port}: {self.url}" if configured is None else _named(configured)
        self.process: subprocess.Popen[bytes] | None = None
        self._started = float("-inf")

    @property
    def ui_url(self) -> str:
        """Where browsers of this machine find the UI."""
        return self.url.rstrip("/").removesuffix("/api")

    def start(self) -> None:
        """Make sure that a server answers; one that was named is waited for, however long. Raises TsrecError."""
        if answers(self.url):
            return
        _check_is_prefect(self.url, self._name)
        if not self.may_start:
            self._wait()
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

    def _wait(self) -> None:
        """Two servers would share nothing: runs asked for at one never start at the other."""
        began = time.monotonic()
        say(f"{self._name} does not answer; waiting for it (without the setting, a server is started here)")
        while not answers(self.url):
            _check_is_prefect(self.url, self._name)
            time.sleep(_WAIT_S)
        say(f"the Prefect server answers after {time.monotonic() - began:.0f} s")

    def _start(self) -> None:
        from prefect.settings import get_current_settings

        settings = get_current_settings().server
        print(f"no Prefect server answers; starting one on {self.host}:{self.port}", flush=True)
        self._started = time.monotonic()
        ours = {STORES: json.dumps(list(self.stores)), HOST: self.host}
        if "api_url" not in settings.ui.model_fields_set:
            ours["PREFECT_SERVER_UI_API_URL"] = "/api"  # browsers elsewhere have no 127.0.0.1
        if "cors_allowed_origins" not in settings.api.model_fields_set:
            # Pages of other sites have no business here; the UI is of the same origin.
            ours["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = self.ui_url
        # A session of its own: Ctrl-C reaches `tsrec serve` alone, which ends the server after the runs.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.child_process", str(os.getpid()), "server", self.host, str(self.port)],
            env=os.environ | ours,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


def _health(url: str) -> httpx.Response | None:
    """What is answered at `url`; None where nothing is, or a server that is not ready."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=5)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return None if answer.is_server_error else answer


def _is_of_prefect(url: str, health: httpx.Response) -> bool:
    """Whether that is a Prefect API's. Without `/api` its UI answers with a page, whatever is asked for."""
    if health.is_success:
        return health.text.strip() == "true"
    if health.status_code == httpx.codes.NOT_FOUND:
        return "/workspaces/" in url  # Prefect Cloud, which has no such page
    return health.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)  # Prefect's client brings the key


def _check_is_prefect(url: str, named: str) -> None:
    """Raise TsrecError where `url`, `named` so in messages, is no address, or another program answers there."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TsrecError(f"{named} is no address of a server; one has this form: http://HOST:4200/api")
    health = _health(url)
    if health is None or _is_of_prefect(url, health):
        return
    if parts.path.rstrip("/").endswith("/api"):
        raise TsrecError(f"{named} answers, but is no Prefect API: another program listens there; give another")
    raise TsrecError(f"{named} answers, but is no Prefect API; the address ends in /api, e.g. http://HOST:4200/api")


def _named(url: str) -> str:
    """How messages begin that are about the server that Prefect is told to use."""
    where = "PREFECT_API_URL" if "PREFECT_API_URL" in os.environ else "Prefect's profile"
    return f"{where} names the server {masked(url)}, which"


def say(line: str) -> None:
    """Print a line of `tsrec serve`, beside what its processes print."""
    print(f"tsrec serve: {line}", file=sys.stderr, flush=True)
