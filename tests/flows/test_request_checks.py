"""A server without a password answers to its own names alone, and no server reads a body that fills its memory."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_SERVER_CORS_ALLOWED_ORIGINS, temporary_settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from flows.parameter_checks import with_checked_parameters
from flows.request_retries import with_retries
from flows.server import AUTH, HOST, STORES
from flows.ui_server import MAX_BODY_BYTES, create_app
from tsrec.machine.request_checks import with_bounded_bodies, with_known_hosts

ID = "00000000-0000-0000-0000-000000000000"
SMALL = 1000


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


def _answer(client: TestClient, headers: dict[str, str], known: bool) -> httpx.Response:
    """The answer to a request, after a websocket that is opened or refused alike."""
    with (
        contextlib.nullcontext() if known else pytest.raises(WebSocketDenialResponse),
        client.websocket_connect("/events", headers=headers),
    ):
        pass
    return client.get("/", headers=headers)


PAGES = Starlette(routes=[Route("/", lambda _: HTMLResponse("the UI")), WebSocketRoute("/events", _socket)])


@pytest.mark.parametrize(
    ("listens_on", "host", "known"),
    [
        ("127.0.0.1", "127.0.0.1:4200", True),
        ("127.0.0.1", "localhost:4200", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "tsrec.localhost:4200", True),
        ("127.0.0.1", "[::1]:4200", True),
        ("::1", "127.0.0.1", True),
        ("192.168.1.5", "192.168.1.5:4200", True),
        ("shop.example", "Shop.example:4200", True),
        ("0.0.0.0", "192.168.1.5:4200", True),
        ("::", "[fd00::5]:4200", True),
        ("127.0.0.1", "evil.example:4200", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "127.0.0.1@evil.example", False),
        ("127.0.0.1", "192.168.1.5", False),
        ("192.168.1.5", "192.168.1.6", False),
        ("shop.example", "evil.shop.example", False),
        ("0.0.0.0", "evil.example", False),
        ("", "evil.example", False),
        ("", "", False),
        ("127.0.0.1", "[::1", False),
    ],
)
def test_only_names_of_this_machine_are_answered(listens_on: str, host: str, known: bool) -> None:
    client = TestClient(with_known_hosts(PAGES, listens_on, AUTH))
    answer = _answer(client, {"Host": host}, known)
    assert answer.status_code == (200 if known else 421)
    assert ("the UI" if known else AUTH) in answer.text


def test_the_server_checks_names_where_it_asks_for_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORES, json.dumps([str(tmp_path)]))
    monkeypatch.setenv(HOST, "shop.example")
    client = TestClient(create_app())
    for path in ("/api/health", "/reports/shop/abcdef12"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 421
        assert client.get(path, headers={"Host": "shop.example:4200"}).status_code in (200, 404)


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def served() -> ASGIApp:
    """The middlewares as the server has them, with a small bound."""
    echo = Starlette(routes=[Route("/{path:path}", _echo, methods=["GET", "POST"])])
    return with_bounded_bodies(with_checked_parameters(with_retries(echo)), SMALL)


@pytest.mark.parametrize(
    "path",
    [
        f"/api/deployments/{ID}/create_flow_run",
        f"/api/flow_runs/{ID}/set_state",
        "/api/ui/schemas/validate",
        "/api/logs/",
    ],
)
def test_a_body_beyond_the_bound_is_refused(served: ASGIApp, path: str) -> None:
    client = TestClient(served)

    def chunks() -> Iterator[bytes]:  # no Content-Length
        yield from [b"x" * SMALL] * 10

    for body in (b"x" * (SMALL + 1), chunks()):
        answer = client.post(path, content=body)
        assert (answer.status_code, answer.text) == (
            httpx.codes.REQUEST_ENTITY_TOO_LARGE,
            "a request has at most 1,000 bytes\n",
        )


def test_a_body_within_the_bound_arrives_whole(served: ASGIApp) -> None:
    answer = TestClient(served).post("/api/logs/", content=iter([b"x" * (SMALL - 1), b"x"]))
    assert (answer.status_code, answer.text) == (200, str(SMALL))
    assert TestClient(served).get("/").status_code == 200
    assert MAX_BODY_BYTES > 2 * 4_000_000, "Prefect sends logs in batches of four million bytes"


@pytest.mark.parametrize(
    ("origin", "headers", "known"),
    [
        (None, {}, True),  # a program
        ("http://127.0.0.1:4200", {}, True),
        ("HTTP://127.0.0.1:4200", {}, True),
        ("https://evil.example", {}, False),
        ("http://127.0.0.1:8888", {}, False),  # another program's page on this machine
        ("http://127.0.0.1:4200.evil.example", {}, False),
        ("null", {}, False),  # a page without an origin, as reports are
        ("", {}, False),
        ("https://evil.example", {"Sec-Fetch-Site": "cross-site"}, False),
        ("https://shop.example", {"Sec-Fetch-Site": "same-origin"}, True),  # behind a proxy
        ("https://named.example", {}, True),
    ],
)
def test_pages_of_other_sites_change_and_hear_nothing(origin: str | None, headers: dict[str, str], known: bool) -> None:
    """They may send what they want to 127.0.0.1, and browsers let them read what comes through a websocket."""
    headers = {"Host": "127.0.0.1:4200", **headers} | ({} if origin is None else {"Origin": origin})
    client = TestClient(with_known_hosts(PAGES, "127.0.0.1", AUTH, origins={"https://named.example"}))
    assert _answer(client, headers, known).status_code == (200 if known else 403)


def test_the_server_answers_its_own_pages_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORES, json.dumps([str(tmp_path)]))
    monkeypatch.setenv(HOST, "127.0.0.1")
    with temporary_settings({PREFECT_SERVER_CORS_ALLOWED_ORIGINS: "http://127.0.0.1:4200, https://named.example/"}):
        client = TestClient(create_app())
    for origin, status in (("https://evil.example", 403), ("https://named.example", 200)):
        answer = client.get("/api/health", headers={"Host": "localhost:4200", "Origin": origin})
        assert answer.status_code == status
