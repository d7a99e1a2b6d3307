"""Raw files by URL, from a real server on loopback: fetched once, again where they changed, and nothing the operator
does not allow."""

import bz2
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.data.conftest import EVENTS, ITEMS, Ingest
from tsrec.config import IngestConfig, InteractionColumns
from tsrec.data import STAGE
from tsrec.errors import ConfigError, DataError


@dataclass
class Files:
    """What a server has: path -> content; `served` counts the bytes of each that left it."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: int = 0  # bytes that are announced and never come
    with_marks: bool = True
    served: list[str] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    state = Files(files={"/log/items.csv": ITEMS.encode(), "/log/events.csv": EVENTS.encode()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = state.files.get(self.path)
            if self.path == "/log/moved.csv":
                self.send_response(302)
                self.send_header("Location", f"{state.url}/private/secrets.csv")
                self.end_headers()
                return
            self.send_response(200 if content is not None else 404)
            if state.with_marks and content is not None:
                self.send_header("ETag", f'"{hash(content)}"')
            self.send_header("Content-Length", str(len(content or b"") + state.cut))
            self.end_headers()
            try:
                self.wfile.write(content or b"")
                state.served.append(self.path)
            except OSError:  # the client has what it wants
                pass

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TSREC_READ_URLS", f"{state.url}/log")
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def _named(server: Files, events: str = "/log/events.csv") -> dict[str, str]:
    return {"items_file": f"{server.url}/log/items.csv", "interactions_file": server.url + events}


def test_packed_files_by_url(ingest: Ingest, server: Files) -> None:
    server.files["/log/events.csv.bz2"] = bz2.compress(EVENTS.encode())
    there = ingest({}, path=None, **_named(server, "/log/events.csv.bz2"))
    assert there.table("interactions").equals(ingest().table("interactions"))


def test_files_by_url_are_read_as_files_are(ingest: Ingest, server: Files) -> None:
    there, here = ingest({}, path=None, **_named(server)), ingest()
    for table in ("items", "interactions"):
        assert there.table(table).equals(here.table(table))


def test_what_changed_there_is_fetched_again(ingest: Ingest, server: Files) -> None:
    ingest({}, path=None, **_named(server))
    server.files["/log/events.csv"] += b"u,b,9\n"
    assert len(ingest({}, path=None, **_named(server)).table("interactions")) == 5


def test_a_server_that_gives_no_marks_is_read_every_time(ingest: Ingest, server: Files) -> None:
    server.with_marks = False
    ingest({}, path=None, **_named(server))
    server.files["/log/events.csv"] = server.files["/log/events.csv"].replace(b"u,a,3", b"u,b,3")  # as long as before
    assert ingest({}, path=None, **_named(server)).table("interactions")["item_id"].to_pylist()[-1] == "b"


@pytest.mark.parametrize(
    "path", ["/private/secrets.csv", "/logs.csv", "/log/../private/secrets.csv", "/log/%2e%2e/private/secrets.csv"]
)
def test_other_addresses_are_refused_and_never_asked(ingest: Ingest, server: Files, path: str) -> None:
    server.files["/private/secrets.csv"] = server.files["/logs.csv"] = EVENTS.encode()
    with pytest.raises(ConfigError, match=r"ingest\.interactions_file: "):
        ingest({}, path=None, **_named(server, path))
    assert path not in server.served


def test_without_the_operators_word_no_address_is_read(
    ingest: Ingest, server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TSREC_READ_URLS")
    with pytest.raises(ConfigError, match=r"below no address, not http.*TSREC_READ_URLS"):
        ingest({}, path=None, **_named(server))
    assert not server.served


def test_an_allowed_address_leads_nowhere_else(ingest: Ingest, server: Files) -> None:
    with pytest.raises(DataError, match=r"leads on to .*/private/secrets\.csv"):
        ingest({}, path=None, **_named(server, "/log/moved.csv"))


def test_missing_and_half_sent_files_are_refused_and_fetched_again(ingest: Ingest, server: Files) -> None:
    with pytest.raises(DataError, match=r"other\.csv: the server answers 404"):
        ingest({}, path=None, **_named(server, "/log/other.csv"))
    server.cut = 10
    with pytest.raises(DataError, match=r"items\.csv: "):
        ingest({}, path=None, **_named(server))
    server.cut = 0
    assert len(ingest({}, path=None, **_named(server)).table("interactions")) == 4


def test_parts_through_fsspec(ingest: Ingest, server: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """`memory://` is read by the same code as `s3://`."""
    import fsspec

    memory = fsspec.filesystem("memory")
    lines = EVENTS.splitlines(keepends=True)
    memory.pipe("/bucket/log-1.csv", "".join(lines[:3]).encode())
    memory.pipe("/bucket/log-2.csv", "".join([lines[0], *lines[3:]]).encode())
    monkeypatch.setenv("TSREC_READ_URLS", f"{server.url}/log,memory://bucket")
    named = {**_named(server), "interactions_file": "memory://bucket/log-*.csv"}
    assert ingest({}, path=None, **named).table("interactions").equals(ingest().table("interactions"))
    with pytest.raises(DataError, match="no file fits this pattern"):
        ingest({}, path=None, **named | {"interactions_file": "memory://bucket/nothing-*.csv"})


def test_parts_of_one_name_in_folders_that_name_a_column(
    ingest: Ingest, server: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import fsspec

    for day, item in ((24, "a"), (25, "b")):
        rows = f"user_id,item_id\nu,{item}\nu,c\n".encode()
        fsspec.filesystem("memory").pipe(f"/days/log/day=2026-11-{day}/part-0.csv", rows)
    monkeypatch.setenv("TSREC_READ_URLS", f"{server.url}/log,memory://days")
    named = {**_named(server), "interactions_file": "memory://days/log/day=*/*.csv"}
    columns = {"timestamp": "day"}
    artifact = ingest({}, path=None, interaction_columns=columns, **named)
    assert artifact.table("interactions")["item_id"].to_pylist() == ["a", "c", "b", "c"]
    config = IngestConfig(source="tables", interaction_columns=InteractionColumns(timestamp="day"), **named)
    assert [name for name in STAGE.raw_inputs(config) if name.startswith("interactions")] == [
        "interactions/day=2026-11-24/part-0.csv",
        "interactions/day=2026-11-25/part-0.csv",
    ]
