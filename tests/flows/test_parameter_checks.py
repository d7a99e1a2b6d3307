"""Runs with wrong settings, and wrong schedules, are refused by a real Prefect server: they do not come to exist."""

from collections.abc import Iterator
from typing import Any

import pytest
from httpx import codes
from prefect.server.api.server import create_app
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME, temporary_settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from flows.deployments import FLOWS, ServedFlow
from flows.form_schema import default_parameters, form_schema, form_values
from flows.parameter_checks import TAG, with_checked_parameters
from tests.flows.prefect_api import wait_for
from tsrec.config import Config

VALUES = form_values(Config())
_AS_SERVED: dict[str, Any] = {"raise_server_exceptions": False}  # an error is what the server answers, as by a socket


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("prefect")
    database = f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    with (
        temporary_settings({PREFECT_HOME: home, PREFECT_API_DATABASE_CONNECTION_URL: database}),
        TestClient(with_checked_parameters(create_app(ephemeral=True, ignore_cache=True)), **_AS_SERVED) as client,
    ):
        yield client


def _post(server: TestClient, what: str, body: Any) -> Any:
    """What a server with time answers. One of which something else is just written refuses (SQLite is locked, and a
    transaction that has read what is changed meanwhile cannot wait), and is asked again, as Prefect's client does."""
    (answer,) = wait_for(
        lambda: (found := server.post(what, json=body)).status_code != codes.SERVICE_UNAVAILABLE and (found,), what
    )
    return answer


def _deploy(server: TestClient, name: str, **fields: Any) -> str:
    flow = _post(server, "/api/flows/", {"name": "train"}).json()["id"]
    made = _post(server, "/api/deployments/", {"flow_id": flow, "name": name, "paused": False, **fields})
    assert made.is_success, made.text
    return str(made.json()["id"])


@pytest.fixture(scope="module")
def deployment(server: TestClient) -> str:
    form = form_schema(FLOWS[0].load(), Config())
    fields = {"parameters": {"config": VALUES}, "parameter_openapi_schema": form, "enforce_parameter_schema": True}
    return _deploy(server, "ours", tags=[TAG], **fields)


def _ask(server: TestClient, deployment: str, **changes: Any) -> Any:
    config = VALUES | {name: VALUES[name] | change for name, change in changes.items()}
    return _post(server, f"/api/deployments/{deployment}/create_flow_run", {"parameters": {"config": config}})


@pytest.mark.parametrize("served", FLOWS, ids=lambda served: served.entrypoint)
def test_every_flow_runs_as_it_was_deployed_and_with_a_configuration_alone(
    server: TestClient, served: ServedFlow
) -> None:
    flow = served.load()
    fields = {
        "parameters": default_parameters(flow, Config()),
        "parameter_openapi_schema": form_schema(flow, Config(), served.first),
    }
    mine = _deploy(server, served.entrypoint, tags=[TAG], enforce_parameter_schema=True, **fields)
    assert _post(server, f"/api/deployments/{mine}/create_flow_run", {}).status_code == 201
    assert _ask(server, mine, finetune={"epochs": 1}).status_code == 201
    refused = _post(server, f"/api/deployments/{mine}/create_flow_run", {"parameters": {"config": {"dataset": "A"}}})
    assert refused.status_code == 409


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finetune": {"window_items": 4, "window_overlap": 4}}, "config.finetune: window_overlap (4) must be less"),
        ({"decode": {"beams": 2}}, "decode.beams = 2 is less than evaluate.k = 10"),
        ({"finetune": {"epochs": 0}}, "finetune.epochs"),
        ({"keywords": {"openai": {"base_url": "http://me:secret@host/v1"}}}, "must not hold a user name"),
    ],
)
def test_what_is_wrong_becomes_none_and_its_fields_are_named(
    server: TestClient, deployment: str, changes: dict[str, Any], message: str
) -> None:
    before = _post(server, "/api/flow_runs/count", {}).json()
    answer = _ask(server, deployment, **changes)
    assert answer.status_code == 409
    assert message.removeprefix("config.") in answer.json()["detail"]
    assert "secret" not in answer.text
    assert _post(server, "/api/flow_runs/count", {}).json() == before


def test_json_of_the_form_is_read_and_templates_are_left_to_the_flow(server: TestClient, deployment: str) -> None:
    def ask(kind: str, value: dict[str, str]) -> Any:
        parameters = {"config": {"__prefect_kind": kind, **value}}
        return _post(server, f"/api/deployments/{deployment}/create_flow_run", {"parameters": parameters})

    assert "dataset" in ask("json", {"value": '{"dataset": "Not A Name"}'}).json()["detail"]
    assert "nowhere" in ask("workspace_variable", {"variable_name": "nowhere"}).text  # Prefect's own answer


def test_other_flows_and_requests_are_none_of_its_business(server: TestClient) -> None:
    other = _deploy(server, "theirs", enforce_parameter_schema=False)
    parameters = {"parameters": {"config": {"epochs": "theirs"}}}
    assert _post(server, f"/api/deployments/{other}/create_flow_run", parameters).status_code == 201
    nobody = "00000000-0000-0000-0000-000000000000"
    assert _post(server, f"/api/deployments/{nobody}/create_flow_run", parameters).status_code == 404
    assert server.post(f"/api/deployments/{other}/create_flow_run", content=b"{").status_code == 422


def test_a_server_without_time_to_look_the_deployment_up_has_the_asker_come_again_and_makes_no_run() -> None:
    made = []

    def locked(_: Request) -> JSONResponse:
        raise TimeoutError("database is locked")

    def make(request: Request) -> JSONResponse:
        made.append(request)
        return JSONResponse({}, codes.CREATED)

    def busy(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"exception_message": "Service Unavailable"}, codes.SERVICE_UNAVAILABLE)

    deployment = "/api/deployments/00000000-0000-0000-0000-000000000000"
    routes = [Route(deployment, locked), Route(f"{deployment}/create_flow_run", make, methods=["POST"])]
    prefect = Starlette(routes=routes, exception_handlers={Exception: busy})
    answer = TestClient(with_checked_parameters(prefect), **_AS_SERVED).post(f"{deployment}/create_flow_run", json={})
    assert answer.status_code == codes.SERVICE_UNAVAILABLE
    assert answer.json() == {"exception_message": "Service Unavailable"}
    assert not made


def test_a_schedule_s_form_may_hold_single_fields(server: TestClient) -> None:
    def ask(form: dict[str, Any], epochs: int) -> Any:
        values = {"config": {"finetune": {"epochs": epochs}}}
        return _post(server, "/api/ui/schemas/validate", {"schema": form, "values": values}).json()

    form = form_schema(FLOWS[0].load(), Config())
    assert ask(form, 1)["valid"] is True
    assert "epochs" in str(ask(form, 0)["errors"])
    theirs = {key: value for key, value in form.items() if key != "$comment"}
    assert ask(theirs, 1)["valid"] is False


def test_a_wrong_schedule_is_refused_when_it_is_made_or_changed(server: TestClient, deployment: str) -> None:
    mine, wrong = f"/api/deployments/{deployment}", {"schedule": {"cron": "0 0 3 * * *"}, "active": True}
    (made,) = _post(server, f"{mine}/schedules", [{"schedule": {"cron": "@daily"}, "active": False}]).json()
    before = server.get(mine).json()["schedules"]
    new = {"flow_id": server.get(mine).json()["flow_id"], "name": "wrong", "tags": [TAG], "schedules": [wrong]}
    for method, what, body in (
        ("POST", f"{mine}/schedules", [{"schedule": {"cron": "0 3 * * *"}}, wrong]),
        ("PATCH", f"{mine}/schedules/{made['id']}", wrong),
        ("PATCH", mine.replace("-", ""), {"schedules": [wrong]}),
        ("POST", "/api/deployments/", new),
    ):
        answer = server.request(method, what, json=body)
        assert answer.status_code == 409 and "has 6 fields; write five" in answer.json()["detail"], (method, what)
    assert server.get(mine).json()["schedules"] == before
    assert server.get("/api/deployments/name/train/wrong").status_code == 404


def test_other_schedules_are_made_and_those_of_other_flows_are_none_of_its_business(
    server: TestClient, deployment: str
) -> None:
    crons = ("@daily", "0 3 * * mon-fri")
    good = [{"schedule": {"interval": 3600}}, *({"schedule": {"cron": cron}} for cron in crons)]
    assert _post(server, f"/api/deployments/{deployment}/schedules", good).status_code == 201
    assert _post(server, f"/api/deployments/{deployment}/schedules", [1]).status_code == 422  # Prefect's own answer
    every_second = [{"schedule": {"cron": "0 3 * * * 0"}, "active": False}]
    other = _deploy(server, "theirs too", enforce_parameter_schema=False, schedules=every_second)
    assert _post(server, f"/api/deployments/{other}/schedules", every_second).status_code == 201


def test_what_is_nested_without_end_is_refused(server: TestClient, deployment: str) -> None:
    for depth in (400, 100_000):
        body = b'{"parameters": {"config": ' + b'{"a": ' * depth + b"1" + b"}" * depth + b"}}"
        answer = server.post(f"/api/deployments/{deployment}/create_flow_run", content=body)
        assert answer.is_client_error, (depth, answer.status_code)
