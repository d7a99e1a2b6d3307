"""What a person clicks is asked again while the database is busy, and nothing else is."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from flows import patience
from flows.patience import with_patience

ID = "00000000-0000-0000-0000-000000000000"


class LockedError(Exception):
    """The database is."""


class Busy:
    """A server whose database is locked for the first requests; it keeps the bodies that it was sent.

    As Prefect's, it answers 503 by Starlette's handler of errors, which answers and then raises the error again.
    """

    def __init__(self, n_busy: int) -> None:
        self.n_busy, self.bodies = n_busy, list[bytes]()
        route = Route("/{path:path}", self.answer, methods=["GET", "POST", "PATCH", "DELETE"])
        prefect = Starlette(routes=[route], exception_handlers={Exception: self.refuse})
        self.client = TestClient(with_patience(prefect), raise_server_exceptions=False)

    async def answer(self, request: Request) -> JSONResponse:
        self.bodies.append(await request.body())
        if len(self.bodies) <= self.n_busy:
            raise LockedError
        return JSONResponse({"busy": False}, 201, {"X-Kept": "yes"})

    async def refuse(self, request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"busy": True}, 503, {"X-Kept": "no"})


@pytest.mark.parametrize("path", [f"deployments/{ID}/create_flow_run", f"flow_runs/{ID}/set_state"])
def test_a_click_is_asked_again_with_its_body(path: str) -> None:
    server = Busy(2)
    answer = server.client.post(f"/api/{path}", json={"name": "x" * 100_000})
    assert (answer.status_code, answer.json(), answer.headers["X-Kept"]) == (201, {"busy": False}, "yes")
    assert len(server.bodies) == 3 and len(set(server.bodies)) == 1


def test_a_schedule_is_removed_and_a_deployment_paused_in_the_end() -> None:
    assert Busy(1).client.delete(f"/api/deployments/{ID}/schedules/{ID}").status_code == 201
    assert Busy(1).client.patch(f"/api/deployments/{ID}", json={"paused": True}).status_code == 201


def test_a_server_that_stays_busy_says_so_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.001)
    server = Busy(100)
    answer = server.client.post(f"/api/flow_runs/{ID}/set_state")
    assert (answer.status_code, answer.json()) == (503, {"busy": True})
    assert len(server.bodies) == 6
    with pytest.raises(LockedError):  # so that the server logs what it was about
        TestClient(server.client.app).post(f"/api/flow_runs/{ID}/set_state")


@pytest.mark.parametrize(("method", "path"), [("GET", f"/api/deployments/{ID}"), ("POST", "/api/logs/")])
def test_what_is_only_looked_at_or_sent_by_runs_is_not_asked_again(method: str, path: str) -> None:
    server = Busy(1)
    assert server.client.request(method, path).status_code == 503
    assert len(server.bodies) == 1
