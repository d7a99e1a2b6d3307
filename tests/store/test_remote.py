"""A remote store behind a local mirror, over fsspec's in-memory file system."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from tsrec.errors import ConfigError, CorruptArtifactError
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


def test_what_one_machine_builds_another_reads(url: str, machine: Callable[[str], None], make: Maker) -> None:
    built = ArtifactStore(url).build(key_of(), make)
    machine("second")
    other = ArtifactStore(url)
    assert other.root != built.path.parents[2]
    assert [artifact.fingerprint for artifact in other.list()] == [key_of().fingerprint]
    fetched = other.build(key_of(), fail)
    assert fetched.frame("items").equals(FRAME)
    assert (fetched.path / "model" / "weights.bin").read_bytes() == bytes(range(256))
    assert fetched.manifest == built.manifest


def test_listing_or_opening_on_a_fresh_machine_harms_nothing(
    url: str, machine: Callable[[str], None], make: Maker
) -> None:
    ArtifactStore(url).build(key_of(), make)
    machine("second")
    store = ArtifactStore(url)
    (listed,) = store.list()
    store.verify(listed)
    machine("third")
    assert ArtifactStore(url).open(key_of().fingerprint[:6]).frame("items").equals(FRAME)


def test_work_folders_stay_on_the_machine(url: str, machine: Callable[[str], None], make: Maker) -> None:
    ArtifactStore(url).build(key_of(), make)
    names = [name.split(key_of().fingerprint + "/")[1] for name in fsspec.filesystem("memory").find(url)]
    assert sorted(name.split("/", 1)[-1] for name in names) == [
        "items.parquet",
        "manifest.json",
        "model/weights.bin",
        "space.json",
    ]


def test_damage_in_the_mirror_is_repaired_from_the_remote(
    url: str, machine: Callable[[str], None], make: Maker, flip_byte: Callable[[Path], None]
) -> None:
    artifact = ArtifactStore(url).build(key_of(), make)
    flip_byte(artifact.path / "items.parquet")
    assert ArtifactStore(url).build(key_of(), fail).frame("items").equals(FRAME)


def test_damage_in_the_remote_is_noticed_and_rebuilt(url: str, machine: Callable[[str], None], make: Maker) -> None:
    ArtifactStore(url).build(key_of(), make)
    fsspec.filesystem("memory").pipe_file(stored(url, "items.parquet"), b"damaged")
    machine("second")
    store = ArtifactStore(url)
    with pytest.raises(CorruptArtifactError):
        store.verify(store.list()[0])
    store.build(key_of(), make)
    assert make.calls == 2
    machine("third")
    assert ArtifactStore(url).build(key_of(), fail).frame("items").equals(FRAME)
    assert fsspec.filesystem("memory").cat_file(f"{url}/{key_of().path}/manifest.json"), "nothing is overwritten"


@pytest.mark.parametrize("lost", ["items.parquet", "manifest.json"])
def test_half_an_upload_does_not_exist(url: str, machine: Callable[[str], None], make: Maker, lost: str) -> None:
    ArtifactStore(url).build(key_of(), make)
    fsspec.filesystem("memory").rm_file(stored(url, lost))
    machine("second")
    assert ArtifactStore(url).find(key_of()) is None


def test_an_upload_that_was_killed_is_made_up_for(url: str, machine: Callable[[str], None], make: Maker) -> None:
    ArtifactStore(url).build(key_of(), make)
    fsspec.filesystem("memory").rm_file(f"{url}/{key_of().path}/manifest.json")
    assert ArtifactStore(url).find(key_of()) is not None
    machine("second")
    assert ArtifactStore(url).build(key_of(), fail).frame("items").equals(FRAME)


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


def test_deleting_deletes_everywhere(url: str, machine: Callable[[str], None], make: Maker) -> None:
    store = ArtifactStore(url)
    store.build(key_of(), make)
    store.delete(key_of())
    assert store.list() == [] and store.find(key_of()) is None
    machine("second")
    assert ArtifactStore(url).find(key_of()) is None


def test_an_unknown_kind_of_url_says_what_to_do(machine: Callable[[str], None]) -> None:
    with pytest.raises(ConfigError, match="store: nowhere://x"):
        ArtifactStore("nowhere://x")
