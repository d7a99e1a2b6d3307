"""Raw files by URL, from a real server on loopback: fetched once, again where they changed, and nothing the operator
does not allow."""

import bz2
import gzip
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.conftest import EVENTS, ITEMS, Ingest
from tsrec import pipeline
from tsrec.config import Config, IngestConfig, InteractionColumns
from tsrec.data import STAGE
from tsrec.data.fetching import fetch
from tsrec.errors import ConfigError, DataError


@dataclass
class Files:
    """What a server has: path -> content; `served` counts the bytes of each that left it; `encodings` are announced."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    encodings: dict[str, str] = field(default_factory=dict)
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
            if self.path in state.encodings:
                self.send_header("Content-Encoding", state.encodings[self.path])
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


@pytest.mark.parametrize("name", ["/log/events.csv", "/log/events.csv.bz2"])
def test_files_by_url_are_read_as_files_are(ingest: Ingest, server: Files, name: str) -> None:
    server.files["/log/events.csv.bz2"] = bz2.compress(EVENTS.encode())
    there, here = ingest({}, path=None, **_named(server, name)), ingest()
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


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_gzipped_file_is_read_however_often_the_server_packs_it(ingest: Ingest, server: Files, times: int) -> None:
    """0: sent as it is, 1: as it is and called an encoding, 2: packed once more on its way."""
    content = gzip.compress(EVENTS.encode())
    server.files["/log/events.csv.gz"] = gzip.compress(content) if times == 2 else content
    if times:
        server.encodings["/log/events.csv.gz"] = "gzip"
    for _ in range(2):  # fetched, and found
        artifact = ingest({}, path=None, **_named(server, "/log/events.csv.gz"))
        assert artifact.table("interactions").equals(ingest().table("interactions"))


@settings(max_examples=30)
@given(st.text(alphabet=st.sampled_from("%2fFeE5c.\\ a:\n\0~*ü=-"), min_size=1, max_size=40))
def test_no_name_leads_out_of_the_cache(key: str) -> None:
    """Whoever may upload below an allowed pattern chooses names, and nothing else."""
    memory = fsspec.filesystem("memory")
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", home)
        patch.setenv("TSREC_READ_URLS", "memory://names")
        memory.pipe(f"/names/{key}.csv", b"a,b\n")
        try:
            copies = [copy for copy, _ in fetch("memory://names/*.csv", "ingest.items_file")]
        finally:
            memory.rm("/names", recursive=True)
        cache = (Path(home) / ".cache" / "tsrec" / "raw").resolve()
        for copy in copies:
            assert copy.resolve().parent.parent == cache and copy.read_bytes() == b"a,b\n" and copy.suffix == ".csv"
        assert copies or any(letter in key for letter in "\n*")  # names that a pattern does not find


@pytest.mark.parametrize("name", ["%2Ftmp%2Fx.csv", "%2e%2e%2F%2e%2e%2Fx.csv", "..%5Cx.csv", ".marks.json", "a" * 300])
def test_names_in_addresses_stay_names(server: Files, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TSREC_READ_URLS", "memory://strange")
    fsspec.filesystem("memory").pipe(f"/strange/{name}", b"a,b\n")
    ((copy, named),) = fetch("memory://strange/*", "ingest.items_file")
    fsspec.filesystem("memory").rm("/strange", recursive=True)
    assert copy.read_bytes() == b"a,b\n" and named == name
    assert copy.resolve().parents[1] == (Path.home() / ".cache" / "tsrec" / "raw").resolve()


@pytest.mark.parametrize("scheme", ["http", "HTTP", "Https"])
def test_an_address_with_a_password_is_refused_whatever_the_case_of_its_scheme(
    server: Files, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSREC_READ_URLS", f"{scheme}://user:pw@host.example")
    with pytest.raises(ConfigError, match=r"^ingest\.items_file: the address must not hold a user name") as error:
        fetch(f"{scheme}://user:pw@host.example/x.csv", "ingest.items_file")
    assert "pw" not in str(error.value)


@pytest.mark.parametrize("url", ["s3://bucket:x/y", "nowhere://x/y", "gs://bucket/x", "memory://none/x", "sftp://h/x"])
def test_addresses_that_lead_nowhere_are_one_line(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("TSREC_READ_URLS", url)
    with pytest.raises((ConfigError, DataError), match=url) as error:
        fetch(url, "ingest.items_file")
    assert "ingest.items_file" in str(error.value) and len(str(error.value).splitlines()) == 1


def test_copies_of_one_path_at_two_addresses_are_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a file system calls a path may lack the host, or the scheme that it was reached by."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.csv").write_text("a,b\n")
    monkeypatch.setenv("TSREC_READ_URLS", f"file://{tmp_path},local://{tmp_path}")
    copies = {fetch(f"{scheme}://{tmp_path}/x.csv", "ingest.items_file")[0][0] for scheme in ("file", "local")}
    assert len(copies) == 2


def _planned(monkeypatch: pytest.MonkeyPatch, roots: Path, tmp_path: Path, **named: Any) -> None:
    monkeypatch.setenv("TSREC_READ_ROOTS", str(roots))
    config = {"dataset": "shop", "store": str(tmp_path / "store"), "ingest": {"source": "tables", **named}}
    pipeline.plan(Config.model_validate(config), goal=STAGE)


def test_an_allowed_address_is_read_beside_roots_that_its_copy_lies_outside_of(
    server: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _planned(monkeypatch, tmp_path / "data", tmp_path, **_named(server))


def test_a_copy_that_a_person_names_is_a_file_like_any_other(
    server: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ((copy, _),) = fetch(f"{server.url}/log/items.csv", "ingest.items_file")
    data = tmp_path / "data"
    data.mkdir()
    (data / "interactions.csv").write_text(EVENTS)
    (data / "link.csv").symlink_to(copy)
    for named in (copy, Path("~", *copy.parts[len(Path.home().parts) :]), "link.csv", f"../home/{copy.name}/../x"):
        with pytest.raises((ConfigError, DataError), match=r"outside the folders|no such file"):
            _planned(monkeypatch, data, tmp_path, path=str(data), items_file=str(named))
    with pytest.raises(ConfigError, match=r"^ingest\.path: .* outside the folders"):
        _planned(monkeypatch, data, tmp_path, path=str(copy.parent), items_file=copy.name)
    _planned(
        monkeypatch, Path.home(), tmp_path, path=str(copy.parent), items_file=copy.name, interactions_file=copy.name
    )


def test_a_pattern_on_this_machine_finds_no_link_that_leads_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("data", "outside"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text("a,b\n")
    monkeypatch.setenv("TSREC_READ_URLS", f"file://{tmp_path}/data")
    assert len(fetch(f"file://{tmp_path}/data/*.csv", "ingest.items_file")) == 1
    (tmp_path / "data" / "y.csv").symlink_to(tmp_path / "outside" / "x.csv")
    with pytest.raises(ConfigError, match=r"y\.csv; .*TSREC_READ_URLS"):
        fetch(f"file://{tmp_path}/data/*.csv", "ingest.items_file")
