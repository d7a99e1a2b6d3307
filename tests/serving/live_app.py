"""An app whose model is open, asked without a network, or at an address of this machine."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.flows.served import free_port
from tsrec.serving import create_app

URL = "http://127.0.0.1:8000"


@contextmanager
def asking(app: FastAPI) -> Iterator[TestClient]:
    """A client of an app that has started; an error of the server's is an answer."""
    with TestClient(app, base_url=URL, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def open_app(store: Path, **more: Any) -> Iterator[TestClient]:
    """The same, once the model is open."""
    with asking(create_app(store, "shop", **more)) as client:
        wait_until_ready(client)
        yield client


def wait_until_ready(client: TestClient) -> dict[str, Any]:
    """What `/readyz` says once a model is open."""
    end = time.monotonic() + 60
    while (answer := client.get("/readyz")).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.05)
    ready: dict[str, Any] = answer.json()
    return ready


@contextmanager
def at_an_address(store: Path, **more: Any) -> Iterator[str]:
    """The URL of an app that a thread of this process serves; its model may not be open yet."""
    port = free_port()
    app = create_app(store, "shop", **more)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join()
