"""A store that others may write to: no name in it leads out of it, when it is fetched, collected or forgotten."""

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from tests.keys import key_of
from tsrec.errors import ArtifactError, ConfigError
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter, Lineage, Manifest, record_run
from tsrec.store.champions import champion_of, promote
from tsrec.store.gc import collect, find_garbage
from tsrec.store.runs import recorded_runs
from tsrec.store.work_files import write_whole

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


def _precious(tmp_path: Path, *folders: str) -> Path:
    """A folder outside the store, that a link in the store may lead to."""
    outside = tmp_path / "outside"
    for folder in ("", *folders):
        (outside / folder).mkdir(parents=True)
    (outside / "precious").write_text("x")
    return outside


def _linked(store: ArtifactStore, name: str, to: Path) -> Path:
    link = store.root / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(to)
    return link


@pytest.mark.parametrize("name", ["i1", "i1.partial", "i1.corrupt", "i1.partial/work", "i1.partial/half"])
def test_a_link_where_something_is_built_is_not_followed(store: ArtifactStore, tmp_path: Path, name: str) -> None:
    outside = _precious(tmp_path, "folder")
    _linked(store, f"shop/ingest/{name}", outside)

    def make(out: ArtifactWriter) -> None:
        (out.work / "shard").write_text("1")
        out.write_json("content", 1)

    artifact = store.build(key_of("ingest", "i1", "shop"), make)
    assert artifact.json("content") == 1 and not artifact.path.is_symlink()
    artifact.path.joinpath("content.json").write_text("damaged")
    assert store.build(key_of("ingest", "i1", "shop"), make).json("content") == 1
    collect(store, find_garbage(store, keep=1))
    assert {path.name for path in outside.rglob("*")} == {"precious", "folder"}


def test_a_temporary_file_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    precious = _precious(tmp_path) / "precious"
    (tmp_path / "shard.tmp").symlink_to(precious)
    write_whole(tmp_path / "shard", lambda temporary: temporary.write_text("new"))
    assert (precious.read_text(), (tmp_path / "shard").read_text()) == ("x", "new")


def test_deleting_a_link_leaves_what_it_leads_to(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = _build(store, "ingest", "i1")
    artifact.path.rename(_precious(tmp_path) / "i1")
    artifact.path.symlink_to(tmp_path / "outside" / "i1")
    store.delete(artifact.manifest.key)
    assert store.list() == [] and (tmp_path / "outside" / "i1" / "manifest.json").exists()


def test_what_only_ends_as_a_leftover_does_is_none(store: ArtifactStore, tmp_path: Path) -> None:
    """A store may be a folder of other things too, and a link in it lead to some."""
    outside = _precious(tmp_path, "docs/thesis.partial", "docs/e1.partial")
    _linked(store, "linked", outside)
    for leftover in ("shop/embed/e1.partial", "My/films/film 1.partial", "my/films/film.part.corrupt"):
        (store.root / leftover).mkdir(parents=True)
    garbage = find_garbage(store, keep=1)
    assert garbage.leftovers == [store.root / "shop" / "embed" / "e1.partial"]
    collect(store, garbage)
    left = {path.name for path in [*store.root.rglob("*"), *outside.rglob("*")]}
    assert {"film 1.partial", "film.part.corrupt", "thesis.partial", "e1.partial", "precious"} <= left


@pytest.mark.parametrize("note", [".runs/shop/x.json", ".champions/shop/000001-x.json"])
def test_a_note_that_cannot_be_read_ends_nothing_and_keeps_its_data_set(store: ArtifactStore, note: str) -> None:
    for number in "12":
        record_run(store, "shop", [_build(store, "report", f"r{number}").manifest.key])
    (store.root / note).mkdir(parents=True)  # a folder where a file is expected
    assert find_garbage(store, keep=1).artifacts == []
    (store.root / note).rmdir()
    (store.root / note).symlink_to("gone")  # as one that is removed while notes are read
    assert [artifact.fingerprint for artifact in find_garbage(store, keep=1).artifacts] == ["r1"]


def test_manifests_that_lead_in_a_circle_are_followed_once(store: ArtifactStore) -> None:
    _build(store, "ingest", "i1", ingest="i2")
    child = _build(store, "ingest", "i2", ingest="i1")
    with pytest.raises(ArtifactError, match="goes back to no backbone"):
        Lineage(store).ancestor(child, "backbone")


def test_names_in_a_remote_are_no_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may only add to a bucket must not have another's collection remove what lies beside."""
    memory, url = fsspec.filesystem("memory"), f"memory://{uuid4().hex}"
    monkeypatch.setenv("HOME", str(tmp_path))
    store = ArtifactStore(url)
    _build(store, "ingest", "i1")
    whole = set(memory.find(url))
    memory.pipe_file(f"{url}/shop/ingest/i1/upload-old/half", b"1")  # an abandoned one, of an ordinary name
    hostile = [f"{url}/shop/ingest/i1/upload-*/x", f"{url}/*/*/*/upload-*/x", f"{url}/shop/ingest/*/upload-2/x"]
    for name in hostile:
        memory.pipe_file(name, b"1")
    garbage = find_garbage(store, keep=1)
    assert garbage.uploads == ["shop/ingest/i1/upload-old"]
    collect(store, garbage)
    assert set(memory.find(url)) == whole | {name.removeprefix("memory:/") for name in hostile}
    content = json.loads(memory.cat_file(f"{url}/shop/ingest/i1/manifest.json"))
    named = content["files"]["content.json"]
    old = content | {"key": content["key"] | {"fingerprint": "i2"}, "files": {"*": named, "gone": named}, "upload": ""}
    folder = f"{url}/shop/ingest/i2"
    for name, text in (("manifest.json", json.dumps(old)), ("*", "1"), ("upload-2/anothers", "1")):
        memory.pipe_file(f"{folder}/{name}", text.encode())
    store.delete(next(one.manifest.key for one in store.list() if one.fingerprint == "i2"))
    assert memory.find(folder) == [f"{folder.removeprefix('memory:/')}/upload-2/anothers"]
    with pytest.raises(ConfigError, match=r"^store: memory://team-\*/x: "):
        ArtifactStore("memory://team-*/x")
