"""An app whose model is open, asked without a network."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

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
