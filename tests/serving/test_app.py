"""Who is answered at all, what is refused before it costs anything, and what the app says of itself."""

import asyncio
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from tests.serving.live_app import URL, asking, open_app, wait_until_ready
from tsrec.errors import ConfigError
from tsrec.serving import create_app, service
from tsrec.serving.access import MAX_BODY_BYTES, check_exposure, keys_of_environment, with_bounded_load

KEYS = ("first-key", "zweiter Schlüssel")


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[TestClient]:
    with open_app(store) as client:
        yield client


@pytest.fixture(scope="module")
def guarded(store: Path) -> Iterator[TestClient]:
    with open_app(store, keys=KEYS, listens_on="0.0.0.0") as client:
        yield client


def _samples(app: FastAPI) -> list[tuple[str, str, dict[str, Any] | None]]:
    """A sound request of every endpoint that the API documents."""
    bodies = {"/recommend": {"history": ["i1"]}, "/new-item": {"title": "glue stick"}}
    found = []
    for path, operations in app.openapi()["paths"].items():
        filled = path.replace("{item_id}", "i1").replace("{user_id}", "u1").replace("{token}", "a_0")
        found += [(method.upper(), filled, bodies.get(path)) for method in operations]
    return found


def test_every_endpoint_answers_as_documented_and_writes_nothing(client: TestClient, store: Path) -> None:
    before = _hashes(store)
    samples = _samples(client.app)
    assert len(samples) == 16
    for method, path, body in samples:
        answer = client.request(method, path, json=body)
        assert answer.status_code == 200, f"{method} {path}: {answer.text}"
        assert "server" not in answer.headers
        assert "default-src '" in answer.headers["Content-Security-Policy"]
    assert _hashes(store) == before


def _hashes(store: Path) -> dict[str, str]:
    files = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_probes_may_ask_for_the_head_alone(client: TestClient) -> None:
    for path in ("/healthz", "/readyz"):
        assert client.head(path).status_code == 200 and not client.head(path).content


def test_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")
        assert not re.search(r"(src|href)=\"?(https?:)?//", answer.text)
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", answer.text), "the policy would not let it run"
        for link in re.findall(r"(?:src|href)=\"([^\"#]+)\"", answer.text):
            assert client.get(f"/{link}").status_code == 200, link
    docs = client.get("/docs").text
    for path in client.app.openapi()["paths"]:
        assert f" {path}</code>" in docs
    for anchor in re.findall(r"href=\"#(\w+)\"", docs):
        assert f'id="{anchor}"' in docs


def test_every_refusal_is_documented_as_a_problem(client: TestClient) -> None:
    for operations in client.app.openapi()["paths"].values():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["422"]["content"]


def test_what_was_counted(client: TestClient) -> None:
    client.post("/recommend", json={"history": ["i1"]})
    client.get("/items/i1")
    client.get("/items/gone")
    text = client.get("/metrics").text
    assert 'tsrec_requests_total{method="POST",route="/recommend",status="200"}' in text
    assert 'tsrec_requests_total{method="GET",route="/items/{item_id:path}",status="404"}' in text
    assert "gone" not in text, "ids are no labels"
    assert 'tsrec_request_seconds_count{route="/recommend"}' in text
    for name in ("stage_seconds_count", "batch_lists_count"):
        assert re.search(rf'tsrec_{name}\{{stage="decode"\}} [1-9]', text)
        assert re.search(rf'tsrec_{name}\{{stage="rank"\}} [1-9]', text)
    assert 'tsrec_list_cache_total{result="miss"}' in text and "tsrec_lists_cut_total" in text


@pytest.mark.parametrize(
    ("header", "value"),
    [("X-API-Key", KEYS[0]), ("Authorization", f"Bearer {KEYS[0]}"), ("Authorization", f"bearer  {KEYS[0]} ")],
)
def test_who_brings_a_key_is_answered(guarded: TestClient, header: str, value: str) -> None:
    headers = {"Host": "api.shop.example", header: value}
    for method, path, body in _samples(guarded.app):
        assert guarded.request(method, path, json=body, headers=headers).status_code == 200


def test_a_key_may_hold_any_letters(guarded: TestClient) -> None:
    assert guarded.get("/popular", headers={"X-API-Key": KEYS[1].encode()}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "first"},
        {"X-API-Key": KEYS[0] + "x"},
        {"X-API-Key": ",".join(KEYS).encode()},
        {"X-API-Key": b"\xff\xfe"},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong", "X-API-Key": KEYS[0]},
    ],
)
def test_without_a_key_the_data_are_closed(guarded: TestClient, headers: dict[str, Any]) -> None:
    open_paths = {"/healthz", "/readyz"}
    for method, path, body in _samples(guarded.app):
        answer = guarded.request(method, path, json=body, headers=headers)
        assert answer.status_code == (200 if path in open_paths else 401), path
        if path not in open_paths:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["status"] == 401 and KEYS[0] not in answer.text
    for path in ("/", "/docs", "/openapi.json", "/page/docs.css"):
        assert guarded.get(path, headers=headers).status_code == 200, path
    for path in ("/page/../items/i1", "//items/i1", "/page/%2e%2e/items/i1"):
        assert guarded.get(path, headers=headers).status_code in (401, 404), path


def test_nothing_is_read_of_a_body_without_a_key(guarded: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    assert guarded.post("/recommend", content=endless()).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "evil.example:8000"}, 421),
        ({"Origin": URL}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_without_keys_no_page_of_another_site_is_answered(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    for method, path, body in _samples(client.app):
        answer = client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, path
        assert "Access-Control-Allow-Origin" not in answer.headers
        if status != 200:
            assert "TSREC_API_KEYS" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("host", "keys", "without_auth", "fits"),
    [
        ("127.0.0.1", "", False, True),
        ("::1", "", False, True),
        ("localhost", "", False, True),
        ("0.0.0.0", "", False, False),
        ("0.0.0.0", " , ", False, False),
        ("shop.example", "", False, False),
        ("0.0.0.0", "a, b", False, True),
        ("0.0.0.0", "", True, True),
    ],
)
def test_other_machines_are_asked_for_keys(
    host: str, keys: str, without_auth: bool, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSREC_API_KEYS", keys)
    if fits:
        check_exposure(host, keys_of_environment(), without_auth)
        return
    with pytest.raises(ConfigError, match=r"set TSREC_API_KEYS=KEY .* or give --without-auth"):
        check_exposure(host, keys_of_environment(), without_auth)


def test_a_long_body_is_refused_however_it_is_sent(client: TestClient) -> None:
    body = b'{"history": ["' + b"x" * MAX_BODY_BYTES + b'"]}'

    def chunks() -> Iterator[bytes]:  # no Content-Length
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    for content in (body, chunks()):
        answer = client.post("/recommend", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
    lying = {"Content-Type": "application/json", "Content-Length": "2"}
    assert client.post("/recommend", content=b"{}", headers=lying).status_code == 200
    huge = {"Content-Type": "application/json", "Content-Length": str(MAX_BODY_BYTES + 1)}
    assert client.post("/recommend", content=b"{}", headers=huge).status_code == 413


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b'{"k": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b'{"k": NaN}', "application/json", 422),
        (b'{"k": 1e999}', "application/json", 422),
        (b"[" * 100_000, "application/json", 400),
        (b'{"history": ["\\ud800"]}', "application/json", 422),
        (b'{"\\ud800": 1}', "application/json", 422),
        (b"[" + b"[]," * 500_000 + b"[]]", "application/json", 422),
        (b'{"allow": [' + b"[]," * 500_000 + b"[]]}", "application/json", 422),
        (json.dumps({str(number): 1 for number in range(100_000)}).encode(), "application/json", 422),
        (json.dumps({"requests": [{str(n): 1 for n in range(20)}] * 100}).encode(), "application/json", 422),
        (b"{}", "text/plain", 415),  # as a page of another site may send it unasked
        (b"k=3", "application/x-www-form-urlencoded", 415),
        (b"{}", "", 415),
    ],
)
def test_broken_bodies_are_refused_briefly(client: TestClient, content: bytes, kind: str, status: int) -> None:
    answer = client.post("/recommend", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["detail"] and len(answer.content) < 4_000


_text = st.text(st.characters(exclude_categories=()), max_size=8)  # halves of characters among them
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
_ids = st.lists(st.sampled_from(["i0", "i1", "i47", "", "gone", "\x00", "é", "i1 "]), max_size=6)
_request = st.fixed_dictionaries(
    {},
    optional={
        "history": _ids | _json,
        "user_id": st.sampled_from(["u0", "u59", "", "nobody"]) | _json,
        "k": st.integers(-2, 60) | _json,
        "method": st.sampled_from(["fused", "tsrec", "popular", "sasrec", "text-similarity", "bpr"]) | _json,
        "allow": _ids | _json,
        "deny": _ids | _json,
        "where": st.dictionaries(st.sampled_from(["brand", "description", "x"]), st.text(max_size=3)) | _json,
        "no_repeats": st.booleans() | _json,
        "explain": st.booleans() | _json,
        "more": _json,
    },
)
_bodies = _request | _json | st.fixed_dictionaries({"requests": st.lists(_request, max_size=3) | _json})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_bodies)
def test_whatever_is_sent_is_answered_or_refused(client: TestClient, body: Any) -> None:
    content = json.dumps(body).encode()
    for path in ("/recommend", "/new-item"):
        if path == "/new-item" and isinstance(body, dict) and set(body) <= {"title", "text"}:
            continue  # sound ones are asked for elsewhere: each is encoded
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 422), f"{answer.status_code} for {body!r}: {answer.text}"
        if answer.status_code == 200:
            requests = body.get("requests", [body])
            assert len(answer.json()["answers"]) == len(requests)
        else:
            assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["detail"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=20), number=st.integers() | st.text(max_size=4))
def test_whatever_is_looked_for_is_answered_or_refused(client: TestClient, query: str, number: Any) -> None:
    for path, parameters in (
        ("/items", {"query": query, "limit": number}),
        ("/tokens", {"query": query}),
        ("/tokens/a_0", {"under": query}),
        ("/items/i1/similar", {"by": query or "sid", "k": number}),
    ):
        assert client.get(path, params=parameters).status_code in (200, 404, 422)


def test_too_many_requests_are_told_when_to_ask_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.app.state.service.engine, "max_waiting", 0)
    answer = client.post("/recommend", json={})
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    assert "too many requests" in answer.json()["detail"]


def test_requests_under_way_are_bounded_and_probes_are_not() -> None:
    release = asyncio.Event()
    seen: list[int] = []
    told: list[bytes] = []

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/healthz":
            await release.wait()
        await PlainTextResponse("done")(scope, receive, send)

    app = with_bounded_load(slow, 2, lambda: 7)

    async def ask(path: str) -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                seen.append(message["status"])
                told.extend(value for name, value in message["headers"] if name == b"retry-after")

        await app({"type": "http", "method": "GET", "path": path, "headers": []}, asyncio.Queue().get, send)

    async def all_of_them() -> None:
        running = [asyncio.create_task(ask("/items")) for _ in range(2)]
        await asyncio.sleep(0)
        await ask("/items")
        await ask("/healthz")
        assert seen == [503, 200] and told == [b"7"]
        release.set()
        await asyncio.gather(*running)
        await ask("/items")

    asyncio.run(all_of_them())
    assert seen == [503, 200, 200, 200, 200]


def test_who_sends_a_body_slowly_does_not_hold_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tsrec.serving.app.BODY_S", 0.05)
    sent: list[Any] = []
    pieces = [{"type": "http.request", "body": b'{"k"', "more_body": True}]

    async def receive() -> Any:
        if pieces:
            return pieces.pop()
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/recommend", "query_string": b"", "headers": headers}
    asyncio.run(create_app(tmp_path, "shop")(scope, receive, send))
    assert sent[0]["status"] == 408 and b"nothing more of the body" in sent[1]["body"]


def test_without_a_model_it_lives_says_why_and_waits_for_one(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_AGAIN_S", 0.1)
    with asking(create_app(tmp_path, "shop")) as client:
        assert client.get("/healthz").status_code == 200
        for method, path, body in _samples(client.app):
            if path in ("/healthz", "/metrics"):
                continue
            answer = client.request(method, path, json=body)
            assert answer.status_code == 503, path
            assert path == "/readyz" or answer.headers["Retry-After"]
        assert client.get("/").status_code == client.get("/docs").status_code == 200
        _wait_for(lambda: "no finished recommender of 'shop'" in client.get("/readyz").json()["problem"])
        shutil.copytree(store, tmp_path, dirs_exist_ok=True)
        assert wait_until_ready(client)["ready"]
        assert client.post("/recommend", json={}).status_code == 200


def _wait_for(holds: Any) -> None:
    for _ in range(600):
        if holds():
            return
        asyncio.run(asyncio.sleep(0.05))
    raise AssertionError("it never came true")


def test_it_can_be_mounted_in_another_app(store: Path) -> None:
    live = create_app(store, "shop", listens_on=None, keys=["key"])
    shop = FastAPI(lifespan=live.router.lifespan_context)
    shop.mount("/recommender", live)
    with TestClient(shop, base_url="https://shop.example/recommender", headers={"X-API-Key": "key"}) as client:
        wait_until_ready(client)
        assert client.post("/recommend", json={"history": ["i1"]}).status_code == 200
        assert client.get("/items/i1").json()["item_id"] == "i1"
        assert client.get("/", headers={"X-API-Key": ""}).status_code == 200
        assert client.get("/page/docs.css", headers={"X-API-Key": ""}).status_code == 200
        assert client.get("/items/i1", headers={"X-API-Key": ""}).status_code == 401
