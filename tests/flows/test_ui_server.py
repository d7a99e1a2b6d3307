"""The server's pages stay at home, reports are the only part of a store that is served, and nobody is asked in vain."""

import json
from pathlib import Path

import pytest
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from flows.server import AUTH, STORES, check_exposure
from flows.ui_server import create_app, with_reports
from tests.keys import key_of
from tsrec.errors import ConfigError
from tsrec.store import Artifact, ArtifactStore

PAGES = Starlette(routes=[Route("/", lambda request: HTMLResponse("the UI"))])


def _write(store: Path, stage: str, fingerprint: str) -> Artifact:
    def make(writer: object) -> None:
        path = writer.path / "report.html"  # type: ignore[attr-defined]
        path.write_text("<html>bought together</html>")

    return ArtifactStore(store).build(key_of(stage, fingerprint, "shop"), make)


@pytest.fixture
def report(tmp_path: Path) -> Artifact:
    return _write(tmp_path, "report", "abcdef12")


def _client(store: Path, auth: str = "", api_url: str = "/api") -> TestClient:
    return TestClient(with_reports(PAGES, [str(store)], auth, api_url))


def test_pages_may_reach_their_own_server_alone(tmp_path: Path) -> None:
    policy = _client(tmp_path).get("/").headers["Content-Security-Policy"]
    connect = next(part for part in policy.split("; ") if part.startswith("connect-src"))
    assert connect == "connect-src 'self' ws: wss:"
    assert "amplitude" not in policy and "https:" not in policy
    elsewhere = _client(tmp_path, api_url="https://api.shop.example/api").get("/").headers["Content-Security-Policy"]
    assert "wss: https://api.shop.example;" in elsewhere


def test_a_report_is_served_without_an_origin(report: Artifact, tmp_path: Path) -> None:
    answer = _client(tmp_path).get("/reports/shop/abcdef12")
    assert answer.text == "<html>bought together</html>"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")


@pytest.mark.parametrize(
    "path",
    [
        "shop/abcdef13",
        "other/abcdef12",
        "..%2fshop/abcdef12",
        "shop/..%2f..%2fingest%2fabcdef12",
        "shop/abcdef12/x",
        "shop",
    ],
)
def test_nothing_else_is_served(report: Artifact, tmp_path: Path, path: str) -> None:
    assert _client(tmp_path).get(f"/reports/{path}").status_code == 404


def test_other_stages_links_and_damaged_pages_are_not_served(report: Artifact, tmp_path: Path) -> None:
    ingest = _write(tmp_path, "ingest", "aaaaaa11")
    ingest.path.rename(report.path.parent / "aaaaaa11")  # put where reports lie
    assert _client(tmp_path).get("/reports/shop/aaaaaa11").status_code == 404
    report.file("report.html").write_text("<html>changed</html>")
    assert _client(tmp_path).get("/reports/shop/abcdef12").status_code == 404
    secret = tmp_path.parent / f"{tmp_path.name}-secret.html"
    secret.write_text("secret")
    report.file("report.html").unlink()
    (report.path / "report.html").symlink_to(secret)
    assert _client(tmp_path).get("/reports/shop/abcdef12").status_code == 404


def test_reports_are_behind_the_servers_password(report: Artifact, tmp_path: Path) -> None:
    client = _client(tmp_path, auth="ops:pass:word")
    refused = client.get("/reports/shop/abcdef12")
    assert refused.status_code == 401 and refused.headers["WWW-Authenticate"].startswith("Basic")
    assert client.get("/reports/shop/abcdef12", auth=("ops", "wrong")).status_code == 401
    assert client.get("/reports/shop/abcdef12", auth=("ops", "pass:word")).status_code == 200


def test_the_password_is_prefects_setting_wherever_that_comes_from(
    report: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(AUTH, raising=False)
    monkeypatch.setenv(STORES, json.dumps([str(tmp_path)]))
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "ops:secret"}):
        client = TestClient(create_app())
    assert client.get("/reports/shop/abcdef12").status_code == 401
    assert client.get("/reports/shop/abcdef12", auth=("ops", "secret")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example"])
def test_listening_to_others_needs_a_password(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"{AUTH}=USER:PASSWORD.*--without-auth"):
        check_exposure(host, without_auth=False)
    check_exposure(host, without_auth=True)
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "ops:secret"}):
        check_exposure(host, without_auth=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_alone_needs_none(host: str) -> None:
    check_exposure(host, without_auth=False)
