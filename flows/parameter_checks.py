"""Refuses runs with wrong settings, and schedules with a wrong cron expression, when they are asked for.

A middleware around the Prefect server. Prefect checks each field by the schema of its deployment; this one checks the
rules across fields (`tsrec.config.rules`) too. A schedule may set single fields; of it, the cron expression is checked.
Other flows' runs and schedules pass. So do parameters that hold variables or templates: the flow checks them later.
"""

import asyncio
import json
import re
from typing import Any

import httpx
from prefect.utilities.schema_tools.hydration import HydrationContext, hydrate
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.form_schema import MARK, without_required_fields
from flows.request_retries import replayed_body
from flows.schedules import check_cron
from tasks.masking import masked
from tsrec.config import Ablation, BatchRequest, Config, Section
from tsrec.config.profiles import refusal
from tsrec.errors import ConfigError

_DEPLOYMENT = r"/api(/deployments/[0-9a-fA-F-]{32,36})"
_RUNS = re.compile(rf"POST {_DEPLOYMENT}/create_flow_run(/bulk)?")
_SCHEDULES = re.compile(rf"(?:POST|PATCH) {_DEPLOYMENT}(/schedules(/[0-9a-fA-F-]+)?)?|POST /api/deployments/")
_SECTIONS: dict[str, type[Section]] = {"config": Config, "wish": BatchRequest, "ablation": Ablation}
_RESOLVED_BY_THE_FLOW = ("workspace_variable", "jinja")
_UI_FORM_CHECK = "POST /api/ui/schemas/validate"
TAG = "tsrec"
"""The tag of deployments whose parameters are sections of the configuration."""


def with_checked_parameters(prefect: ASGIApp) -> ASGIApp:
    """`prefect`, which answers 409 and what is wrong where a run or a schedule of ours is asked for with wrong
    settings."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_line = f"{scope['method']} {scope['path']}" if scope["type"] == "http" else ""
        runs, schedules = _RUNS.fullmatch(request_line), _SCHEDULES.fullmatch(request_line)
        if not (runs or schedules or request_line == _UI_FORM_CHECK):
            await prefect(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        refused = None
        if runs:
            refused = await _refusal(prefect, request, runs[1], body)
        elif schedules:
            refused = await _schedule_refusal(prefect, request, schedules[1], body)
        else:
            body = _without_required_fields(body)
        await (refused or prefect)(scope, replayed_body(body, receive), send)

    return app


async def _refusal(prefect: ASGIApp, request: Request, deployment: str, body: bytes) -> Response | None:
    """The answer that refuses the run that `body` asks for, or says to ask again; None where the run may be made."""
    if (asked := _parsed(body)) is None:
        return None
    found = await _deployment_of(prefect, request, deployment)
    if isinstance(found, Response):
        return found
    if found is None or TAG not in found.get("tags", ()):
        return None
    for run in asked if isinstance(asked, list) else [asked]:
        given = run.get("parameters") if isinstance(run, dict) else None
        try:
            problem = _parameter_error(found["parameters"] | (given if isinstance(given, dict) else {}))
        except RecursionError:
            problem = "the parameters are nested too deep"
        if problem:
            return JSONResponse({"detail": problem}, 409)
    return None


async def _schedule_refusal(prefect: ASGIApp, request: Request, deployment: str | None, body: bytes) -> Response | None:
    """The answer that refuses a schedule in `body`; None where all are fine. `deployment` is None for a new one."""
    asked = _parsed(body)
    made = asked.get("schedules", asked) if isinstance(asked, dict) else asked
    crons = [cron for each in (made if isinstance(made, list) else [made]) if (cron := _cron_of(each)) is not None]
    try:
        for cron in crons:
            await asyncio.to_thread(check_cron, cron)
    except ConfigError as error:
        found = asked if deployment is None else await _deployment_of(prefect, request, deployment)
        if isinstance(found, Response):
            return found
        if found and TAG in (found.get("tags") or ()):
            return JSONResponse({"detail": str(error)}, 409)
    return None


def _parsed(body: bytes) -> Any:
    """What was sent; None where that is no JSON, which Prefect says."""
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None


async def _deployment_of(prefect: ASGIApp, request: Request, deployment: str) -> dict[str, Any] | Response | None:
    """A deployment, asked for with the request's own rights; an answer where the server is busy; None: not found."""
    headers = {name: value for name in ("Authorization",) if (value := request.headers.get(name))}
    # An error of Prefect's is an answer: 503 where SQLite is locked, which Prefect's own client takes for "ask again".
    transport = httpx.ASGITransport(prefect, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.get(f"/api{deployment}", headers=headers)
    if answer.is_server_error:
        return Response(answer.content, answer.status_code, media_type=answer.headers.get("Content-Type"))
    found: dict[str, Any] | None = answer.json() if answer.is_success else None
    return found


def _cron_of(made: Any) -> str | None:
    """The cron expression of a schedule as it is sent; None where it has none."""
    schedule = made.get("schedule") if isinstance(made, dict) else None
    cron = schedule.get("cron") if isinstance(schedule, dict) else None
    return cron if isinstance(cron, str) else None


def _without_required_fields(body: bytes) -> bytes:
    """What the UI asks while a form of ours is filled in: a schedule's may hold single fields. Runs are checked whole
    when they are asked for."""
    try:
        question = json.loads(body)
        if question["schema"]["$comment"] != MARK:
            return body
    except (ValueError, RecursionError, KeyError, TypeError):
        return body
    return json.dumps(question | {"schema": without_required_fields(question["schema"])}).encode()


def _parameter_error(parameters: dict[str, Any]) -> str | None:
    if any(f'"__prefect_kind": "{kind}"' in json.dumps(parameters) for kind in _RESOLVED_BY_THE_FLOW):
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
