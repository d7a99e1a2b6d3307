"""Repeats requests of a browser that the server answers with 503: no click is lost while its database is busy.

Prefect answers 503 where SQLite was locked and nothing was written. Its own clients ask again; browsers do not, and
show an unknown error. A middleware around the Prefect server that asks again for them.
"""

import asyncio
import re

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLICKED = re.compile(r"/api/(deployments|flow_runs)/[0-9a-fA-F-]{36}(/.*)?")
_ATTEMPTS = 6
_FIRST_PAUSE_S = 0.1  # doubled each time: three seconds in all


def with_retries(prefect: ASGIApp) -> ASGIApp:
    """`prefect`, asked several times for what changes one run, deployment or schedule before a 503 is passed on."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["type"] == "http" and scope["method"] in ("POST", "PATCH", "DELETE")
        if not (changes and _CLICKED.fullmatch(scope["path"])):
            await prefect(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        for attempt in range(_ATTEMPTS):
            answer: list[Message] = []
            raised: Exception | None = None
            try:
                await prefect(dict(scope), replayed_body(body, receive), _collecting(answer))
            except Exception as error:  # Prefect answers 503 or 500, and then raises what it was about
                raised = error
            if not (answer and answer[0].get("status") == 503):
                break
            await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt if attempt < _ATTEMPTS - 1 else 0)
        for message in answer:
            await send(message)
        if raised:
            raise raised  # as Prefect does: the server logs it

    return app


def replayed_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, and then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_replayed


def _collecting(messages: list[Message]) -> Send:
    async def collect(message: Message) -> None:
        messages.append(message)

    return collect
