"""Local stores: atomic, resumable, verified, safe for two processes."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.forked import PROCESSES
from tsrec.errors import ArtifactError, CorruptArtifactError
from tsrec.store import ArtifactStore, ArtifactWriter

from .conftest import FRAME, Maker, key_of


def test_builds_once_and_finds_it_again(store: ArtifactStore, make: Maker) -> None:
    assert store.find(key_of()) is None
    built = store.build(key_of(), make)
    again = store.build(key_of(), make)
    assert make.calls == 1
    assert again.manifest == built.manifest
    assert again.frame("items").equals(FRAME)
    assert again.frame("items", ["score"]).columns.tolist() == ["score"]
    assert again.json("space") == {"sizes": [4, 4]}
    assert again.file("model").is_dir() and again.has("items") and again.has("model") and not again.has("other")
    assert again.counts == {"n_dropped": 2}


def test_the_manifest_says_what_there_is_and_what_it_was_made_from(store: ArtifactStore, make: Maker) -> None:
    artifact = store.build(key_of(), make)
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    assert artifact.path == store.root / "shop" / "ingest" / "0123456789abcdef"
    assert manifest["key"]["dataset"] == "shop"
    assert sorted(manifest["files"]) == ["items.parquet", "model/weights.bin", "space.json"]
    assert manifest["files"]["items.parquet"]["n_rows"] == 3
    assert set(manifest["files"]["items.parquet"]["columns"]) == {"item_id", "score"}
    assert manifest["libraries"]["pyarrow"] and manifest["host"] and manifest["seconds"] >= 0


def test_matrix_reads_a_list_column_part_by_part(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(out: ArtifactWriter) -> None:
        out.write_table("t", pa.table({"codes": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int16()))}))

    built = store.build(key_of(), make)
    for at_once in (100, 2, 1):
        monkeypatch.setattr("tsrec.store.artifact._ROWS_AT_ONCE", at_once)
        matrix = built.matrix("t", "codes")
        assert matrix.dtype == np.int16 and matrix.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_asking_for_what_is_not_there_names_what_is(store: ArtifactStore, make: Maker) -> None:
    with pytest.raises(ArtifactError, match=r"holds no 'users.parquet'; it has items.parquet"):
        store.build(key_of(), make).table("users")


def test_nothing_appears_when_a_stage_fails_and_its_work_survives(store: ArtifactStore, make: Maker) -> None:
    def fail(out: ArtifactWriter) -> None:
        make(out)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.build(key_of(), fail)
    assert store.find(key_of()) is None and store.list() == []

    def resume(out: ArtifactWriter) -> None:
        assert (out.work / "shard.txt").read_text() == "half done"
        assert [path.name for path in out.path.iterdir()] == ["work"]  # half-written results are gone
        make(out)

    artifact = store.build(key_of(), resume)
    assert not (artifact.path / "work").exists()
    assert not any(name.startswith("work") for name in artifact.manifest.files)
    assert list(store.leftovers()) == []


def test_a_folder_without_a_valid_manifest_does_not_exist(store: ArtifactStore, make: Maker) -> None:
    folder = store.root / key_of().path
    folder.mkdir(parents=True)
    (folder / "items.parquet").write_bytes(b"")
    assert store.find(key_of()) is None
    store.build(key_of(), make)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text()[:-30])
    assert store.list() == []
    assert store.build(key_of(), make).frame("items").equals(FRAME)
    assert make.calls == 2


@pytest.mark.parametrize("name", ["items.parquet", "space.json", "model/weights.bin"])
def test_one_flipped_byte_is_noticed_reported_and_rebuilt(
    store: ArtifactStore, make: Maker, name: str, flip_byte: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    artifact = store.build(key_of(), make)
    flip_byte(artifact.path / name)
    with pytest.raises(CorruptArtifactError, match=f"{name}: does not match the hash"):
        artifact.verify()
    with caplog.at_level(logging.WARNING):
        rebuilt = store.build(key_of(), make)
    assert make.calls == 2
    assert name in caplog.text and "it will be rebuilt, the damaged copy set aside" in caplog.text
    assert rebuilt.manifest.files == artifact.manifest.files
    assert [path.suffix for path in store.leftovers()] == [".corrupt"]


def test_a_missing_file_is_noticed(store: ArtifactStore, make: Maker) -> None:
    (store.build(key_of(), make).path / "space.json").unlink()
    assert store.find(key_of()) is None


def test_artifacts_are_opened_by_the_start_of_their_fingerprint(store: ArtifactStore, make: Maker) -> None:
    store.build(key_of("aa11"), make)
    store.build(key_of("aa22"), make)
    assert store.open("aa2").fingerprint == "aa22"
    assert {artifact.fingerprint for artifact in store.list()} == {"aa11", "aa22"}
    with pytest.raises(ArtifactError, match=r"2 artifacts in .* start with 'aa'"):
        store.open("aa")
    with pytest.raises(ArtifactError, match="no artifact"):
        store.open("bb")
    store.delete(key_of("aa11"))
    assert store.find(key_of("aa11")) is None and len(store.list()) == 1


def _slow_make(out: ArtifactWriter) -> None:
    with (out.path.parent / "calls.txt").open("a") as stream:
        stream.write("call\n")
    time.sleep(0.5)
    out.write_table("items", FRAME)


def _build_in_process(root: Path, barrier: Any) -> None:
    barrier.wait(timeout=300)
    assert ArtifactStore(root).build(key_of(), _slow_make).frame("items").equals(FRAME)


def test_two_processes_that_want_the_same_artifact_build_it_once(store: ArtifactStore) -> None:
    barrier = PROCESSES.Barrier(2)
    processes = [PROCESSES.Process(target=_build_in_process, args=(store.root, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=600)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (store.root / "shop" / "ingest" / "calls.txt").read_text() == "call\n"
    assert len(store.list()) == 1 and list(store.leftovers()) == []
