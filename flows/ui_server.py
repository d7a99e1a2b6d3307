"""The Prefect server as `tsrec serve` starts it: Prefect's own, with reports beside it, and pages that stay at home.

Prefect's UI calls an analytics host whatever its settings say; a Content-Security-Policy lets browsers reach nothing
but this server. Reports are looked up by data set and fingerprint, in the stores that were served, and nothing else of
a store can be asked for.
"""

import base64
import contextlib
import hmac
import json
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.parameter_checks import with_checked_parameters
from flows.request_retries import with_retries
from flows.server import AUTH, HOST, STORES, server_password
from tsrec.errors import ArtifactError
from tsrec.machine.request_checks import with_bounded_bodies, with_known_hosts
from tsrec.report import PAGE_POLICY
from tsrec.store import Artifact, ArtifactStore, Manifest
from tsrec.store.manifest import is_artifact_path

REPORTS = "/reports"
MAX_BODY_BYTES = 16 * 1024 * 1024
"""Of one request: four times what Prefect sends at once (logs, in batches of 4,000,000 bytes)."""


def create_app() -> ASGIApp:
    """The application that uvicorn runs; its settings are Prefect's, and in the environment."""
    from prefect.server.api.server import create_app as create_prefect
    from prefect.settings import PREFECT_UI_API_URL, get_current_settings

    password = server_password()
    app = with_reports(
        with_bounded_bodies(with_checked_parameters(with_retries(create_prefect(final=True))), MAX_BODY_BYTES),
        json.loads(os.environ.get(STORES, "[]")),
        password,
        str(PREFECT_UI_API_URL.value() or ""),
    )
    if password:
        return app
    origins = get_current_settings().server.api.cors_allowed_origins.split(",")
    remedy = f"set {AUTH}=USER:PASSWORD"
    return with_known_hosts(
        app,
        os.environ.get(HOST, ""),
        remedy,
        origins={origin.strip().rstrip("/") for origin in origins},
        origins_remedy=f"name that site in PREFECT_SERVER_CORS_ALLOWED_ORIGINS, or {remedy}",
    )


def with_reports(prefect: ASGIApp, stores: Sequence[str], auth: str, api_url: str = "/api") -> ASGIApp:
    """`prefect` with the reports of `stores` below /reports, for who knows `auth` (USER:PASSWORD; empty: anybody).

    Pages of `prefect` may reach their own server and the one of `api_url`.
    """

    def report(request: Request) -> Response:
        if auth and not _knows(request, auth):
            return PlainTextResponse("Unauthorized", 401, {"WWW-Authenticate": 'Basic realm="tsrec", charset="UTF-8"'})
        page = _find_report(stores, request.path_params["dataset"], request.path_params["fingerprint"])
        if page is None:
            return PlainTextResponse("no such report", 404)
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"})

    reports = Starlette(routes=[Route(f"{REPORTS}/{{dataset}}/{{fingerprint}}", report)])
    policy = _page_policy(api_url)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Content-Security-Policy", policy)
            await send(message)

        if scope["type"] != "http":
            await prefect(scope, receive, send)
        elif scope["path"].startswith(f"{REPORTS}/"):
            await reports(scope, receive, send)
        else:
            await prefect(scope, receive, send_with_policy)

    return app


def _find_report(stores: Sequence[str], dataset: str, fingerprint: str) -> str | None:
    """The page of a sound report artifact of one of the stores."""
    path = f"{dataset}/report/{fingerprint}"
    if not is_artifact_path(path):
        return None
    for name in stores:
        store = ArtifactStore(name)
        folder = store.root / path
        page = folder / "report.html"
        if store.remote and not page.exists():  # another machine made it
            with contextlib.suppress(ArtifactError):  # an S3 store that does not answer shows what is here
                if published := store.remote.newest(path):
                    store.find(published.key)
        if not page.is_file() or not page.resolve().is_relative_to(store.root.resolve()):
            continue
        try:
            artifact = Artifact(folder, Manifest.read(folder / "manifest.json"))
            artifact.verify()
        except (ArtifactError, OSError):
            continue
        return page.read_text(encoding="utf-8")
    return None


def _knows(request: Request, auth: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    expected = base64.b64encode(auth.encode()).decode()
    return scheme.lower() == "basic" and hmac.compare_digest(given.strip().encode(), expected.encode())


def _page_policy(api_url: str) -> str:
    parts = urlsplit(api_url)
    other = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return (
        f"default-src 'self'; connect-src 'self' ws: wss:{other}; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
    )
