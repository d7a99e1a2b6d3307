"""Wrong settings are refused when a run is asked for, before it exists: also what a form's schema cannot say.

A middleware around the Prefect server. The schema of a deployment says what each field may hold; rules across fields
(`tsrec.config.rules`) are known to the configuration alone. A schedule, on the other hand, may set single fields. Runs
of other flows, and parameters that hold variables or templates, pass: the flow itself checks again.
"""

import json
import re
from typing import Any

import httpx
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.form import MARK, without_required
from flows.masking import masked
from flows.patience import again
from tsrec.config import Ablation, Config, Section, Wish
from tsrec.config.profiles import refusal

_ASKED = re.compile(r"/api(/deployments/[0-9a-fA-F-]{36})/create_flow_run(/bulk)?")
_SECTIONS: dict[str, type[Section]] = {"config": Config, "wish": Wish, "ablation": Ablation}
_NOT_KNOWN_HERE = ("workspace_variable", "jinja")
_CHECKED = "/api/ui/schemas/validate"
TAG = "tsrec"
"""The tag of deployments whose parameters are sections of the configuration."""


def with_checked_parameters(prefect: ASGIApp) -> ASGIApp:
    """`prefect`, which answers 409 and what is wrong where a run of ours is asked for with wrong settings."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["type"] == "http" and scope["method"] == "POST"
        asked = _ASKED.fullmatch(scope["path"]) if posted else None
        if not asked and not (posted and scope["path"] == _CHECKED):
            await prefect(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        if asked is None:
            body = _leniently(body)
        elif refused := await _refusal(prefect, request, asked[1], body):
            await refused(scope, receive, send)
            return
        await prefect(scope, again(body, receive), send)

    return app


async def _refusal(prefect: ASGIApp, request: Request, deployment: str, body: bytes) -> Response | None:
    """The answer where a run that `body` asks for is not to be, or nobody can tell now; None where all is well."""
    try:
        asked = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None  # Prefect says so
    headers = {name: value for name in ("Authorization",) if (value := request.headers.get(name))}
    # An error of Prefect's is an answer: 503 where SQLite is locked, which Prefect's own client takes for "ask again".
    transport = httpx.ASGITransport(prefect, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.get(f"/api{deployment}", headers=headers)
    if answer.is_server_error:
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("Content-Type"))
    if not answer.is_success or TAG not in answer.json().get("tags", ()):
        return None
    for run in asked if isinstance(asked, list) else [asked]:
        given = run.get("parameters") if isinstance(run, dict) else None
        try:
            problem = _problem_of(answer.json()["parameters"] | (given if isinstance(given, dict) else {}))
        except RecursionError:
            problem = "the parameters are nested too deep"
        if problem:
            return JSONResponse({"detail": problem}, 409)
    return None


def _leniently(body: bytes) -> bytes:
    """What the UI asks while a form of ours is filled in: a schedule's may hold single fields. Runs are checked whole
    when they are asked for."""
    try:
        question = json.loads(body)
        if question["schema"]["$comment"] != MARK:
            return body
    except (ValueError, RecursionError, KeyError, TypeError):
        return body
    return json.dumps(question | {"schema": without_required(question["schema"])}).encode()


def _problem_of(parameters: dict[str, Any]) -> str | None:
    if any(f'"__prefect_kind": "{kind}"' in json.dumps(parameters) for kind in _NOT_KNOWN_HERE):
        return None
    lines: list[str] = []
    for name, value in hydrate(parameters, HydrationContext()).items():
        if name not in _SECTIONS:
            continue
        try:
            _SECTIONS[name].model_validate(value)
        except ValidationError as error:
            lines.append(str(refusal(error, "")))
    return masked("\n".join(lines)) or None
