"""A store in S3 that several machines share: processes with homes of their own, against a real S3 API on loopback."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from flows.ui_server import with_reports
from tests.flows.served import free_port
from tests.forked import PROCESSES
from tsrec.errors import ArtifactError
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter
from tsrec.store.gc import collect, find_garbage
from tsrec.store.runs import record_run, recorded_runs

from .conftest import Maker, key_of

pytest.importorskip("s3fs", reason="pip install -e '.[dev]'")
pytest.importorskip("moto", reason="pip install -e '.[dev]'")

from .s3_server import BUCKET, Answer, S3Server, environment, serve_s3

URL = f"s3://{BUCKET}/team/store"
Machine = Callable[[str], ArtifactStore]
Ask = Callable[[], Answer]


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    with serve_s3() as server:
        yield server


@pytest.fixture
def s3(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server with an empty bucket."""
    for name, value in environment(running).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tsrec.store.remote._FIRST_PAUSE_S", 0.0)
    fsspec.filesystem("s3").clear_instance_cache()
    filesystem = fsspec.filesystem("s3")
    filesystem.mkdir(BUCKET)
    running.requests.clear()
    yield running
    running.fault = None
    filesystem.rm(BUCKET, recursive=True)


@pytest.fixture
def machine(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The store as seen from another machine: another home, and so an empty mirror."""

    def move(name: str) -> ArtifactStore:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setenv("HOME", str(tmp_path / name))
        return ArtifactStore(URL)

    return move


def fail(out: ArtifactWriter) -> None:
    raise AssertionError("must be found, not built")


def objects() -> list[str]:
    filesystem = fsspec.filesystem("s3", use_listings_cache=False)
    return sorted(path.removeprefix(f"{BUCKET}/team/store/") for path in filesystem.find(URL))


def content(artifact: Artifact) -> dict[str, bytes]:
    return {name: (artifact.path / name).read_bytes() for name in artifact.manifest.files}


def test_what_one_machine_builds_another_reads_and_reading_removes_nothing(
    machine: Machine, make: Maker, s3: S3Server
) -> None:
    built = machine("first").build(key_of(), make)
    there = objects()
    other = machine("second")
    assert [artifact.fingerprint for artifact in other.list()] == [built.fingerprint]
    fetched = other.build(key_of(), fail)
    other.verify(fetched)
    assert content(other.open(built.fingerprint)) == content(built) and fetched.manifest == built.manifest
    assert other.find(key_of("ffff")) is None
    assert s3.asked("DELETE") == [] and not any("?delete" in request for request in s3.requests)
    assert objects() == there


def test_looking_during_an_upload_finds_nothing_and_harms_nothing(machine: Machine, make: Maker, s3: S3Server) -> None:
    first, second = machine("first"), machine("second")
    arrived, go_on = threading.Event(), threading.Event()

    def wait_half_way(method: str, path: str, ask: Ask) -> Answer:
        if method == "PUT" and path.endswith("weights.bin"):
            arrived.set()
            assert go_on.wait(300)
        return ask()

    s3.fault = wait_half_way
    uploading = threading.Thread(target=lambda: first.build(key_of(), make))
    uploading.start()
    assert arrived.wait(300)
    assert second.find(key_of()) is None and second.list() == []
    assert not find_garbage(second, keep=1).uploads, "another machine is at it"
    second.delete(key_of())
    half = objects()
    assert any(path.endswith("items.parquet") for path in half)
    go_on.set()
    uploading.join()
    assert set(half) < set(objects())
    assert second.build(key_of(), fail).counts == {"n_dropped": 2}


def test_two_machines_that_build_at_once_end_with_the_first_ones_files(s3: S3Server, tmp_path: Path) -> None:
    from . import two_machines

    barrier = PROCESSES.Barrier(2)
    processes = []
    for name in ("a", "b"):
        home = tmp_path / name
        home.mkdir()
        variables = {**environment(s3), "HOME": str(home)}
        processes.append(PROCESSES.Process(target=two_machines.build, args=(URL, name, variables, barrier)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=600)
    assert [process.exitcode for process in processes] == [0, 0]
    seen = {(tmp_path / name / "seen.txt").read_text() for name in ("a", "b")}
    assert len(seen) == 1 and seen < {"a a", "b b"}, "both files of one machine, the same for both"
    (tmp_path / "c").mkdir()
    os.environ["HOME"] = str(tmp_path / "c")
    third = ArtifactStore(URL).build(key_of(), fail)
    assert {f"{third.json('who')} {third.json('again')}"} == seen
    assert len({path.split("upload-")[1].split("/")[0] for path in objects() if "upload-" in path}) == 1


def test_a_killed_stage_goes_on_where_it_was_on_its_machine_and_anew_on_another(
    s3: S3Server, tmp_path: Path, machine: Machine
) -> None:
    from . import two_machines

    def on(name: str, dies_after: int = -1) -> str:
        """Build there; the shards that were made there until now."""
        (tmp_path / name).mkdir(exist_ok=True)
        variables = {**environment(s3), "HOME": str(tmp_path / name)}
        process = PROCESSES.Process(target=two_machines.build_in_shards, args=(URL, variables, dies_after))
        process.start()
        process.join()
        assert process.exitcode == (0 if dies_after < 0 else -signal.SIGKILL)
        made = tmp_path / name / "made.txt"
        return made.read_text() if made.exists() else ""

    assert on("a", dies_after=2) == "0 1 " and objects() == []
    assert on("b", dies_after=1) == "0 ", "what another machine has half done is its own"
    assert on("a") == "0 1 2 3 "
    there = objects()
    assert on("b") == "0 ", "finished by the other machine meanwhile"
    assert on("c") == ""
    assert objects() == there
    assert (
        machine("b").open(key_of().fingerprint).frame("whole")["shard"].tolist()
        == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    )


@pytest.mark.parametrize("kind", ["cut", "flipped", "500"])
def test_a_bad_transfer_is_tried_again(machine: Machine, make: Maker, s3: S3Server, kind: str) -> None:
    built = machine("first").build(key_of(), make)
    there, n_bad = objects(), []

    def spoil_once(method: str, path: str, ask: Ask) -> Answer:
        answer = ask()
        if method != "GET" or not path.endswith("weights.bin") or n_bad:
            return answer
        n_bad.append(1)
        if kind == "500":
            return Answer("500 Internal Server Error", [], b"")
        if kind == "cut":
            return Answer(answer.status, _of_length(answer.headers, 100), answer.body[:100])
        flipped = bytes([answer.body[0] ^ 1]) + answer.body[1:]
        return Answer(answer.status, _of_length(answer.headers, len(flipped)), flipped)

    s3.fault = spoil_once
    assert content(machine("second").build(key_of(), fail)) == content(built)
    assert n_bad and objects() == there


def _of_length(headers: list[tuple[str, str]], n_bytes: int) -> list[tuple[str, str]]:
    """Headers without checksums, so that only tsrec's own check can notice."""
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-length", "etag"}]
    return [*((n, v) for n, v in kept if "checksum" not in n.lower()), ("Content-Length", str(n_bytes))]


def test_a_machine_whose_downloads_all_break_takes_the_good_copy_from_nobody(
    machine: Machine, make: Maker, s3: S3Server
) -> None:
    built = machine("first").build(key_of(), make)
    there = objects()

    def spoil(method: str, path: str, ask: Ask) -> Answer:
        answer = ask()
        if method == "GET" and path.endswith("items.parquet"):
            return Answer(answer.status, _of_length(answer.headers, 9), b"<html>sor")
        return answer

    s3.fault = spoil
    behind_a_bad_proxy = machine("second")
    assert behind_a_bad_proxy.find(key_of()) is None
    with pytest.raises(ArtifactError, match="does not match"):
        behind_a_bad_proxy.verify(Artifact(behind_a_bad_proxy.root / key_of().path, built.manifest))
    assert objects() == there
    rebuilt = behind_a_bad_proxy.build(key_of(), make)
    assert make.calls == 2 and content(rebuilt) == content(built)
    assert set(there) < set(objects()), "its own copy stands beside the first one"
    s3.fault = None
    assert content(machine("third").build(key_of(), fail)) == content(built)


def test_what_is_really_damaged_is_built_again_once_for_all(machine: Machine, make: Maker) -> None:
    machine("first").build(key_of(), make)
    (table,) = [path for path in objects() if path.endswith("items.parquet")]
    fsspec.filesystem("s3").pipe_file(f"{URL}/{table}", b"rotten")
    machine("second").build(key_of(), make)
    assert make.calls == 2
    third = machine("third")
    assert third.build(key_of(), fail).counts == {"n_dropped": 2}
    third.delete(key_of())
    assert objects() == [] and third.list() == []


def test_an_upload_that_failed_is_made_up_for_without_building_again(
    machine: Machine, make: Maker, s3: S3Server
) -> None:
    first = machine("first")
    s3.fault = lambda method, path, ask: (
        Answer("403 Forbidden", [], b"") if method == "PUT" and path.endswith("manifest.json") else ask()
    )
    with pytest.raises(ArtifactError, match=r"writing the manifest of shop/ingest/.* failed: PermissionError"):
        first.build(key_of(), make)
    assert machine("second").find(key_of()) is None
    s3.fault = None
    machine("first").build(key_of(), fail)
    assert machine("second").build(key_of(), fail).counts == {"n_dropped": 2}


def test_a_manifest_whose_answer_was_lost_is_known_for_the_own_one(machine: Machine, make: Maker, s3: S3Server) -> None:
    def lose_the_answer(method: str, path: str, ask: Ask) -> Answer:
        answer = ask()
        lost = method == "PUT" and path.endswith("manifest.json")
        return Answer("403 Forbidden", [], b"") if lost else answer

    s3.fault = lose_the_answer
    machine("first").build(key_of(), make)
    s3.fault = None
    assert s3.asked("DELETE") == [] and len(objects()) == 4
    machine("second").build(key_of(), fail)


def test_collecting_leaves_what_another_machine_uploads_and_uses(machine: Machine, make: Maker) -> None:
    first, second = machine("first"), machine("second")
    finetune, report = key_of("f1", "finetune"), key_of("r1", "report")
    record_run(first, "shop", [finetune, report])
    first.build(finetune, make)  # and its report is still being made
    for number in range(2):
        old = key_of(f"r{number + 2}", "report")
        record_run(first, "other", [old])
        first.build(old, make)
    filesystem = fsspec.filesystem("s3")
    stale, fresh = (f"{finetune.path}/upload-{moment}-abc" for moment in ("20200101T000000", "21000101T000000"))
    for upload in (stale, fresh):
        filesystem.pipe_file(f"{URL}/{upload}/weights.bin", b"half")
    garbage = find_garbage(second, keep=1)
    assert {artifact.fingerprint for artifact in garbage.artifacts} == {"r2"} and garbage.uploads == [stale]
    assert collect(second, garbage) == []
    assert {artifact.fingerprint for artifact in second.list()} == {"f1", "r3"}
    assert f"{fresh}/weights.bin" in objects() and f"{stale}/weights.bin" not in objects()
    assert [run.goal for run in recorded_runs(second)[0]] == [report.path, key_of("r3", "report").path]


def test_a_store_that_refuses_is_said_in_words(machine: Machine, make: Maker, s3: S3Server) -> None:
    store = machine("first")
    s3.fault = lambda method, path, ask: Answer("403 Forbidden", [], b"")
    for ask in (store.list, lambda: store.find(key_of()), lambda: store.delete(key_of())):
        with pytest.raises(ArtifactError, match=f"store {URL}: PermissionError: .*Run the same command again"):
            ask()


def test_a_store_that_is_down_is_said_in_one_line_and_the_same_call_goes_on(
    machine: Machine, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("first")
    up = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(ArtifactError, match=rf"^store {URL}: [^\n]*Run the same command again to go on$"):
        machine("first").build(key_of(), make)
    with pytest.raises(ArtifactError, match=rf"^store {URL}: [^\n]*$"):
        record_run(machine("first"), "shop", [key_of()])
    monkeypatch.setenv("AWS_ENDPOINT_URL", up)
    fsspec.filesystem("s3").clear_instance_cache()
    assert machine("first").build(key_of(), make).counts == {"n_dropped": 2}


def test_a_report_that_another_machine_made_is_served(machine: Machine) -> None:
    def page(out: ArtifactWriter) -> None:
        (out.path / "report.html").write_text("<html>made elsewhere</html>")

    machine("first").build(key_of("abcdef12", "report"), page)
    machine("second")
    client = TestClient(with_reports(Starlette(), [URL], ""))
    assert client.get("/reports/shop/abcdef12").text == "<html>made elsewhere</html>"
    assert client.get("/reports/shop/abcdef13").status_code == 404


def test_the_age_of_an_abandoned_upload_is_in_its_name(machine: Machine, make: Maker) -> None:
    first = machine("first")
    first.build(key_of(), make)
    assert first.remote and first.remote.abandoned_uploads(timedelta(0)) == [], "a manifest names it"
    fsspec.filesystem("s3").rm_file(f"{URL}/{key_of().path}/manifest.json")
    assert len(first.remote.abandoned_uploads(timedelta(0))) == 1
    assert first.remote.abandoned_uploads(timedelta(days=1)) == []
