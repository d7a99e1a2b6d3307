"""A real S3 API on loopback (moto's server), with a log of requests and with faults that a test asks for."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "bucket"
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@dataclass
class S3Server:
    """`requests` holds "METHOD path" of everything asked; `fault` may answer a request in place of the server.

    A fault is handed the method, the path and a function that has the server do what was asked, and gets its answer.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    fault: Callable[[str, str, Callable[[], "Answer"]], "Answer"] | None = None

    def asked(self, method: str) -> list[str]:
        return [request for request in self.requests if request.startswith(f"{method} ")]


def environment(server: S3Server) -> dict[str, str]:
    """What tells every S3 client of this machine to use the server."""
    return {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@dataclass
class Answer:
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, *_: Any, **__: Any) -> None:
        pass


@contextmanager
def serve_s3() -> Iterator[S3Server]:
    """Serve one empty bucket until the end of the block."""
    server = S3Server()
    moto = DomainDispatcherApplication(create_backend_app)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        server.requests.append(f"{method} {path}")
        if server.fault is None:
            return moto(environ, start_response)

        def ask() -> Answer:
            kept: list[Any] = []
            body = b"".join(moto(environ, lambda status, headers, *_: kept.append((status, headers))))
            return Answer(*kept[0], body)

        answer = server.fault(method, path, ask)
        start_response(answer.status, answer.headers)
        return [answer.body]

    http = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_QuietHandler)
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
