"""Which Prefect server is used: one that Prefect is told of is waited for; what is none is named."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)

from flows import server
from flows.cli import main
from flows.server import AUTH, Server, answers
from tests.flows.prefect_api import wait_for
from tests.flows.served import ROOT, free_port
from tsrec.errors import TsrecError


class _Health(BaseHTTPRequestHandler):
    """What a Prefect server answers at /api/health, and a page of its UI elsewhere."""

    def do_GET(self) -> None:
        body = b"true" if self.path == "/api/health" else b"<html>the UI</html>"
        found = self.path != "/other/api/health"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listen() -> Iterator[Callable[[int], str]]:
    """Start such a server on a port, and give its address."""
    started: list[ThreadingHTTPServer] = []

    def start(port: int) -> str:
        started.append(ThreadingHTTPServer(("127.0.0.1", port), _Health))
        threading.Thread(target=started[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{port}"

    yield start
    for running in started:
        running.shutdown()
        running.server_close()


def test_a_server_that_prefect_is_told_of_is_waited_for_and_none_is_started(
    listen: Callable[[int], str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_WAIT_S", 0.05)
    port, printed = free_port(), list[str]()

    def says(words: str) -> bool:
        printed.append(capsys.readouterr().err)
        return words in "".join(printed)

    with temporary_settings({PREFECT_API_URL: f"http://me:secret@127.0.0.1:{port}/api"}):
        waiting = Server("127.0.0.1", free_port(), [])
        thread = threading.Thread(target=waiting.start, daemon=True)
        thread.start()
        wait_for(lambda: says("waiting for it"), "the line")
        assert thread.is_alive() and waiting.process is None
        listen(port)
        thread.join(60)
        assert not thread.is_alive() and waiting.process is None
        assert waiting.revive()
    says("")
    first, last = "".join(printed).splitlines()
    assert f"http://***@127.0.0.1:{port}/api, which does not answer; waiting for it" in first
    assert "answers after" in last


def test_one_that_is_lost_later_is_not_replaced_by_one_of_our_own() -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        lost = Server("127.0.0.1", free_port(), [])
        assert not lost.revive() and lost.process is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", r"answers, but is no Prefect API; the address ends in /api"),
        ("/", r"answers, but is no Prefect API; the address ends in /api"),
        ("/other/api", r"answers, but is no Prefect API: another program listens there"),
    ],
)
def test_what_answers_and_is_no_prefect_api_is_said(listen: Callable[[int], str], path: str, message: str) -> None:
    url = listen(free_port())
    assert answers(f"{url}/api") and answers(f"{url}/api/")
    assert not answers(f"{url}{path}")
    with temporary_settings({PREFECT_API_URL: f"{url}{path}"}):
        with pytest.raises(TsrecError, match=message):
            server.check_configured()
        with pytest.raises(TsrecError, match=message):
            Server("127.0.0.1", free_port(), []).start()


def test_a_port_that_another_program_has_is_said_and_nothing_is_started(listen: Callable[[int], str]) -> None:
    url = listen(port := free_port())
    ours = Server("127.0.0.1", port, [])
    ours.url = f"{url}/other/api"
    with pytest.raises(TsrecError, match=rf"--port {port}.*another program"):
        ours.start()
    assert ours.process is None


@pytest.mark.parametrize("url", ["127.0.0.1:4200/api", "localhost:4200/api", "http:///api"])
def test_what_is_no_address_is_not_waited_for(url: str) -> None:
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(TsrecError, match=r"no address of a server.*http://HOST:4200/api"),
    ):
        Server("127.0.0.1", free_port(), []).start()


def test_settings_are_also_read_from_prefects_profile(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        'active = "shop"\n\n[profiles.shop]\nPREFECT_API_URL = "http://prefect.example:4200/api"\n'
        f'{AUTH} = "ops:secret"\nPREFECT_API_AUTH_STRING = "me:own"\n'
    )
    code = (
        "import os\n"
        "from flows import server\n"
        "server.check_exposure('0.0.0.0', without_auth=False)\n"
        "server.share_password()\n"
        "ours = server.Server('127.0.0.1', 4200, [])\n"
        "print(ours.url, ours.may_start, server.server_password(), os.environ.get('PREFECT_API_AUTH_STRING'))"
    )
    environment = {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["http://prefect.example:4200/api", "False", "ops:secret", "None"]


def test_runs_know_the_password_of_their_server_unless_they_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "ops:secret"}):
        with temporary_settings({PREFECT_API_AUTH_STRING: "me:own"}):
            server.share_password()
        assert os.environ["PREFECT_API_AUTH_STRING"] == ""
        server.share_password()
        assert os.environ["PREFECT_API_AUTH_STRING"] == "ops:secret"


@pytest.mark.parametrize("command", ["run", "refresh", "serve"])
def test_a_home_that_cannot_be_written_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with temporary_settings({PREFECT_HOME: tmp_path / "file" / "home"}):
        assert main([command, "--set", f"store={tmp_path / 'store'}"]) == 1
    error = capsys.readouterr().err
    assert "Prefect's home cannot be written (Not a directory" in error and "set PREFECT_HOME" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("variable", ["PREFECT_CLIENT_MAX_RETRIES=abc", "PREFECT_API_URL=http://[bad/api"])
def test_settings_of_prefect_that_cannot_be_read_are_one_line(variable: str, tmp_path: Path) -> None:
    name, _, value = variable.partition("=")
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "serve", "--set", f"store={tmp_path / 'store'}"],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "home"), name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Prefect's settings cannot be read" in done.stderr and "Traceback" not in done.stderr
