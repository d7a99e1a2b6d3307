"""A run with wrong settings is refused when it is asked for, by a real Prefect server: it does not come to exist."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.server.api.server import create_app
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_HOME, temporary_settings
from starlette.testclient import TestClient

from flows.deployments import FLOWS, ServedFlow
from flows.form import form_of, parameters_of, values_of
from flows.submission import TAG, with_checked_parameters
from tsrec.config import Config

VALUES = values_of(Config())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("prefect")
    database = f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    with (
        temporary_settings({PREFECT_HOME: home, PREFECT_API_DATABASE_CONNECTION_URL: database}),
        TestClient(with_checked_parameters(create_app(ephemeral=True, ignore_cache=True))) as client,
    ):
        yield client


def _deploy(server: TestClient, name: str, **fields: Any) -> str:
    flow = server.post("/api/flows/", json={"name": "train"}).json()["id"]
    made = server.post("/api/deployments/", json={"flow_id": flow, "name": name, "paused": False, **fields})
    assert made.is_success, made.text
    return str(made.json()["id"])


@pytest.fixture(scope="module")
def deployment(server: TestClient) -> str:
    form = form_of(FLOWS[0].load())
    fields = {"parameters": {"config": VALUES}, "parameter_openapi_schema": form, "enforce_parameter_schema": True}
    return _deploy(server, "ours", tags=[TAG], **fields)


def _ask(server: TestClient, deployment: str, **changes: Any) -> Any:
    config = VALUES | {name: VALUES[name] | change for name, change in changes.items()}
    return server.post(f"/api/deployments/{deployment}/create_flow_run", json={"parameters": {"config": config}})


def test_what_is_right_becomes_a_run(server: TestClient, deployment: str) -> None:
    assert _ask(server, deployment, finetune={"epochs": 1}).status_code == 201
    assert server.post(f"/api/deployments/{deployment}/create_flow_run", json={}).status_code == 201


@pytest.mark.parametrize("served", FLOWS, ids=lambda served: served.entrypoint)
def test_every_flow_runs_as_it_was_deployed_and_with_a_configuration_alone(
    server: TestClient, served: ServedFlow
) -> None:
    flow = served.load()
    fields = {"parameters": parameters_of(flow, Config()), "parameter_openapi_schema": form_of(flow, served.first)}
    mine = _deploy(server, served.entrypoint, tags=[TAG], enforce_parameter_schema=True, **fields)
    assert server.post(f"/api/deployments/{mine}/create_flow_run", json={}).status_code == 201
    assert _ask(server, mine, finetune={"epochs": 1}).status_code == 201
    refused = server.post(f"/api/deployments/{mine}/create_flow_run", json={"parameters": {"config": {"dataset": "A"}}})
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
    before = server.post("/api/flow_runs/count", json={}).json()
    answer = _ask(server, deployment, **changes)
    assert answer.status_code == 409
    assert message.removeprefix("config.") in answer.json()["detail"]
    assert "secret" not in answer.text
    assert server.post("/api/flow_runs/count", json={}).json() == before


def test_json_of_the_form_is_read_and_templates_are_left_to_the_flow(server: TestClient, deployment: str) -> None:
    def ask(kind: str, value: dict[str, str]) -> Any:
        parameters = {"config": {"__prefect_kind": kind, **value}}
        return server.post(f"/api/deployments/{deployment}/create_flow_run", json={"parameters": parameters})

    assert "dataset" in ask("json", {"value": '{"dataset": "Not A Name"}'}).json()["detail"]
    assert "nowhere" in ask("workspace_variable", {"variable_name": "nowhere"}).text  # Prefect's own answer


def test_other_flows_and_requests_are_none_of_its_business(server: TestClient) -> None:
    other = _deploy(server, "theirs", enforce_parameter_schema=False)
    parameters = {"parameters": {"config": {"epochs": "theirs"}}}
    assert server.post(f"/api/deployments/{other}/create_flow_run", json=parameters).status_code == 201
    nobody = "00000000-0000-0000-0000-000000000000"
    assert server.post(f"/api/deployments/{nobody}/create_flow_run", json=parameters).status_code == 404
    assert server.post(f"/api/deployments/{other}/create_flow_run", content=b"{").status_code == 422


def test_a_schedule_s_form_may_hold_single_fields(server: TestClient) -> None:
    def ask(form: dict[str, Any], epochs: int) -> Any:
        values = {"config": {"finetune": {"epochs": epochs}}}
        return server.post("/api/ui/schemas/validate", json={"schema": form, "values": values}).json()

    form = form_of(FLOWS[0].load())
    assert ask(form, 1)["valid"] is True
    assert "epochs" in str(ask(form, 0)["errors"])
    theirs = {key: value for key, value in form.items() if key != "$comment"}
    assert ask(theirs, 1)["valid"] is False
