"""A remote store behind a local mirror, over fsspec's in-memory file system; `test_s3` has more."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from tsrec.store import ArtifactStore, ArtifactWriter

from .conftest import FRAME, Maker, key_of


@pytest.fixture
def url() -> Iterator[str]:
    yield f"memory://bucket-{uuid4().hex}/store"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Move to another machine: another home, and so an empty mirror."""

    def move(name: str) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setenv("HOME", str(tmp_path / name))

    move("first")
    return move


def stored(url: str, name: str) -> str:
    """Where the remote holds a file of the one artifact."""
    (path,) = [path for path in fsspec.filesystem("memory").find(url) if path.endswith(f"/{name}")]
    return str(path)


def fail(out: ArtifactWriter) -> None:
    raise AssertionError("must be found, not built")


def test_damage_in_the_mirror_is_repaired_from_the_remote(
    url: str, machine: Callable[[str], None], make: Maker, flip_byte: Callable[[Path], None]
) -> None:
    artifact = ArtifactStore(url).build(key_of(), make)
    flip_byte(artifact.path / "items.parquet")
    assert ArtifactStore(url).build(key_of(), fail).frame("items").equals(FRAME)


@pytest.mark.parametrize("lost", ["items.parquet", "manifest.json"])
def test_half_an_upload_does_not_exist(url: str, machine: Callable[[str], None], make: Maker, lost: str) -> None:
    ArtifactStore(url).build(key_of(), make)
    fsspec.filesystem("memory").rm_file(stored(url, lost))
    machine("second")
    assert ArtifactStore(url).find(key_of()) is None


def test_a_store_that_ignores_conditions_is_read_back(
    url: str, machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines create one manifest, and the store overwrites the first: the first goes on with the second's."""
    memory, path = fsspec.filesystem("memory"), f"{url}/{key_of().path}/manifest.json"
    ArtifactStore(url).build(key_of(), lambda out: out.write_json("who", "second"))
    second = memory.cat_file(path)
    memory.rm_file(path)  # not yet written when the first one looks
    machine("other")
    create = type(memory).pipe_file

    def overwritten(self: Any, target: str, content: bytes, mode: str = "overwrite") -> None:
        create(self, target, content)
        if target.endswith("manifest.json"):
            create(self, target, second)

    monkeypatch.setattr(type(memory), "pipe_file", overwritten)
    built = ArtifactStore(url).build(key_of(), lambda out: out.write_json("who", "first"))
    assert built.json("who") == "second"
    assert {name.split("/upload-")[1].split("/")[0] for name in memory.find(url) if "/upload-" in name} == {
        json.loads(second)["upload"].removeprefix("upload-")
    }, "the first one's own upload is gone"
