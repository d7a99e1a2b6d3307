"""A store that others may write to: no name in it leads out of it, when it is fetched, collected or forgotten."""

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from tests.keys import key_of
from tsrec.errors import ArtifactError
from tsrec.store import Artifact, ArtifactStore, Manifest, record_run
from tsrec.store.champions import champion_of, promote
from tsrec.store.gc import collect, find_garbage
from tsrec.store.runs import recorded_runs

OUTSIDE = ("../escaped", "model/../../escaped", "/tmp/escaped", "..", ".", "", "a//b", "a\\..\\b", "a\nb")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def _build(store: ArtifactStore, stage: str, mark: str, **parents: str) -> Artifact:
    return store.build(key_of(stage, mark, "shop", **parents), lambda out: out.write_json("content", mark))


def _forge(path: Path, **key: str) -> None:
    content = json.loads(path.read_text())
    content["key"].update(key)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_file_name_that_leads_out_is_refused(store: ArtifactStore, name: str) -> None:
    path = _build(store, "ingest", "i1").path / "manifest.json"
    content = json.loads(path.read_text())
    content["files"][name] = content["files"]["content.json"]
    path.write_text(json.dumps(content))
    with pytest.raises(
        ArtifactError, match=r"(?s)manifest.json: not a valid manifest: files\..*no path to a file inside"
    ):
        Manifest.read(path)
    assert store.find(key_of("ingest", "i1", "shop")) is None and store.list() == []


@pytest.mark.parametrize(
    "key",
    [
        {"dataset": "/home/shop"},
        {"dataset": ".."},
        {"dataset": "../shop"},
        {"stage": ".."},
        {"stage": "ingest.partial"},
        {"fingerprint": "../i1"},
        {"fingerprint": "i1.corrupt"},
        {"dataset": "other"},  # a good name, and not where it lies
        {"stage": "embed"},
        {"fingerprint": "i2"},
    ],
)
def test_a_manifest_speaks_for_its_own_folder_alone(store: ArtifactStore, key: dict[str, str]) -> None:
    path = _build(store, "ingest", "i1").path / "manifest.json"
    _forge(path, **key)
    with pytest.raises(ArtifactError, match=r"not a valid manifest: key\.|says that it is .*; move it there"):
        Manifest.read(path)
    assert store.list() == []


def test_collecting_removes_nothing_outside_the_store(store: ArtifactStore, tmp_path: Path) -> None:
    precious = tmp_path / "home" / "ingest" / "v1"
    precious.mkdir(parents=True)
    for number in "12":
        keys = [key_of("ingest", f"i{number}", "shop"), key_of("report", f"r{number}", "shop", ingest=f"i{number}")]
        record_run(store, "shop", keys)
        for key in keys:
            store.build(key, lambda out: out.write_json("content", 1))
    (record,) = (store.root / ".runs" / "shop").glob("*r1.json")
    record.write_text(record.read_text().replace("shop/ingest/i1", f"{tmp_path}/home/ingest/v1"))
    _forge(store.root / "shop" / "ingest" / "i1" / "manifest.json", dataset=f"{tmp_path}/home", fingerprint="v1")
    collect(store, find_garbage(store, keep=1))
    assert precious.is_dir()
    assert {artifact.fingerprint for artifact in store.list()} == {"r1", "i2", "r2"}, "a record is damaged: all stay"


def test_a_record_of_a_run_that_names_another_file_is_not_followed(store: ArtifactStore) -> None:
    for number in "12":
        record_run(store, "shop", [_build(store, "report", f"r{number}").manifest.key])
    first = store.root / ".runs" / "shop" / "shop-r1.json"
    other = store.root / "precious" / "shop-r1.json"
    other.parent.mkdir()
    other.write_text("{}")
    first.write_text(first.read_text().replace('"dataset": "shop"', '"dataset": "../precious"'))
    runs, unreadable = recorded_runs(store)
    assert [run.goal for run in runs] == ["shop/report/r2"] and unreadable == {"shop"}
    first.write_text(first.read_text().replace('"dataset": "../precious"', '"dataset": "other"'))
    assert recorded_runs(store)[1] == {"shop"}
    collect(store, find_garbage(store, keep=1))
    assert other.exists()


@pytest.mark.parametrize("change", [{"dataset": "other"}, {"number": 7}, {"to": "../../f1"}, {"to": "f2"}])
def test_a_move_that_lies_elsewhere_does_not_count(store: ArtifactStore, change: dict[str, Any]) -> None:
    path = store.root / promote(store, "shop", "f1", "", {}).path
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert champion_of(store, "shop") is None


def test_a_remote_manifest_writes_nothing_outside_the_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory, url = fsspec.filesystem("memory"), f"memory://{uuid4().hex}"
    monkeypatch.setenv("HOME", str(tmp_path / "one"))
    _build(ArtifactStore(url), "ingest", "i1")
    folder = f"{url}/shop/ingest/i1"
    path = f"{folder}/manifest.json"
    good = json.loads(memory.cat_file(path))
    evil = {"sha256": hashlib.sha256(b"evil").hexdigest(), "n_bytes": 4}
    forged: list[tuple[dict[str, Any], str]] = [
        ({"files": {"../../../../escaped": evil}}, f"{folder}/{good['upload']}/../../../../escaped"),
        ({"files": {"escaped": evil}, "upload": "../../../.."}, f"{folder}/../../../../escaped"),
        ({"files": {"escaped": evil}, "key": good["key"] | {"dataset": ".."}}, f"{folder}/{good['upload']}/escaped"),
    ]
    for number, (change, source) in enumerate(forged):
        memory.pipe_file(source, b"evil")  # so that whoever follows the name finds something
        memory.pipe_file(path, json.dumps(good | change).encode())
        monkeypatch.setenv("HOME", str(tmp_path / f"two{number}"))
        store = ArtifactStore(url)
        assert store.list() == [] and store.find(key_of("ingest", "i1", "shop")) is None
    assert not list(tmp_path.rglob("escaped*"))
