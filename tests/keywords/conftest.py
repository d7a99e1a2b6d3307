"""A real chat-completions server on loopback that answers by script, and a tiny catalogue."""

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tsrec.config import KeywordsConfig
from tsrec.keywords.keyless import KeylessTeacher
from tsrec.keywords.openai_teacher import OpenAITeacher
from tsrec.keywords.teacher import ItemKeywords

KEY = "sk-secret-0123456789"


@dataclass
class Reply:
    """What the server does with one request: a status, a body, after a while."""

    status: int = 200
    content: Any = None
    body: Any = None  # instead of a completion or an error: JSON, or the text itself
    choice: dict[str, Any] = field(default_factory=dict)  # more fields of the choice
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110})
    error_code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


def answer(item_id: str, *keywords: str) -> Reply:
    return Reply(content=said(item_id, *keywords))


def said(item_id: str, *keywords: str) -> str:
    return json.dumps({"item_id": item_id, "keywords": list(keywords or (f"word of {item_id}",))})


@dataclass
class ChatServer:
    """`script[item_id]` are the replies to that item's requests, in order; after them, good answers."""

    url: str = ""
    script: dict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    always: Callable[[str], Reply | None] = lambda _: None
    refuse: Callable[[dict[str, Any]], Reply | None] = lambda _: None  # by what a request holds
    requests: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)
    name_field: str = "item_id"  # of what a request is about
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def asked(self) -> Counter[str]:
        """How often each item was asked."""
        return Counter(item_of(request)["item_id"] for request in self.requests)

    def reply(self, request: dict[str, Any]) -> Reply:
        item_id = item_of(request)[self.name_field]
        with self.lock:
            self.requests.append(request)
            self.times.append(time.monotonic())
            scripted = self.script[item_id].pop(0) if self.script[item_id] else None
        return self.refuse(request) or self.always(item_id) or scripted or answer(item_id)


def item_of(request: dict[str, Any]) -> dict[str, Any]:
    """The fenced item of a request: its first user message is one JSON object and nothing else."""
    return json.loads(request["messages"][1]["content"])


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/chat/completions"
            server.headers.update(name.lower() for name in self.headers)
            server.keys.add(self.headers["Authorization"].removeprefix("Bearer "))
            with server.lock:
                server.under_way += 1
                server.most_under_way = max(server.most_under_way, server.under_way)
            reply = server.reply(request)
            time.sleep(reply.delay_s)
            with server.lock:
                server.under_way -= 1
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            data = _body(reply).encode("utf-8", "surrogatepass")
            try:
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # the client has given up
                pass

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _body(reply: Reply) -> str:
    if reply.body is not None:
        return reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
    if reply.status != 200:  # as real endpoints do, the message repeats the key
        error = {"message": f"no, {KEY}", "code": reply.error_code, "type": "x", "param": None}
        return json.dumps({"error": error})
    message = {"role": "assistant", "content": reply.content}
    choice = {"index": 0, "finish_reason": "stop", "message": message, **reply.choice}
    completion = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]}
    return json.dumps(completion | {"usage": reply.usage})


@pytest.fixture
def server() -> Iterator[ChatServer]:
    chat = ChatServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(chat))
    http.daemon_threads = True
    chat.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield chat
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def items() -> pd.DataFrame:
    titles = ["Wood glue", "Steel hammer", "Copper wire", "Paper towel", "Oil filter", "Wood hammer"]
    return pd.DataFrame(
        {
            "item_id": [f"i{index}" for index in range(6)],
            "title": titles,
            "text": [f"{title}. For wood and steel, at home and at work." for title in titles],
        }
    )


@pytest.fixture
def allowed(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator lets runs ask the server, with a key."""
    monkeypatch.setenv("TEACHER_KEY", KEY)
    monkeypatch.setenv("TSREC_TEACHER_KEY_ENV", "TEACHER_KEY")
    monkeypatch.setenv("TSREC_TEACHER_URLS", server.url)


def teacher_of(server: ChatServer, items: pd.DataFrame, paid: Path | None = None, **settings: Any) -> OpenAITeacher:
    endpoint = {"base_url": server.url, "model": "tiny", "max_retries": 2, "concurrency": 4, **settings}
    config = KeywordsConfig.model_validate({"teacher": "openai", "openai": endpoint})
    return OpenAITeacher(config, KeylessTeacher(items), paid)


def draw(server: ChatServer, items: pd.DataFrame, **settings: Any) -> ItemKeywords:
    return teacher_of(server, items, **settings).draw(items)
