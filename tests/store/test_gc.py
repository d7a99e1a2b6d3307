"""What garbage collection keeps, removes and leaves alone."""

from pathlib import Path

import pytest
from filelock import FileLock

from tests.keys import key_of
from tsrec.store import Artifact, ArtifactStore
from tsrec.store.gc import collect, find_garbage


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def _artifact(store: ArtifactStore, dataset: str, stage: str, mark: str, **parents: str) -> Artifact:
    return store.build(key_of(stage, mark, dataset, **parents), lambda writer: writer.write_json("content", mark))


def _two_reports(store: ArtifactStore) -> None:
    _artifact(store, "shared", "backbone", "b1")
    _artifact(store, "shared", "backbone", "b0")
    for number in "12":
        _artifact(store, "shop", "ingest", f"i{number}")
        _artifact(store, "shop", "finetune", f"f{number}", ingest=f"i{number}", backbone="b1")
        _artifact(store, "shop", "report", f"r{number}", finetune=f"f{number}")


def _marks(artifacts: list[Artifact]) -> set[str]:
    return {artifact.fingerprint for artifact in artifacts}


def test_the_newest_report_keeps_its_ancestors_and_nothing_else_stays(store: ArtifactStore) -> None:
    _two_reports(store)
    garbage = find_garbage(store, keep=1)
    assert _marks(garbage.artifacts) == {"b0", "i1", "f1", "r1"}
    assert len(store.list()) == 8, "finding removes nothing"
    collect(store, garbage)
    assert _marks(store.list()) == {"b1", "i2", "f2", "r2"}


def test_keeping_as_many_reports_as_there_are_removes_orphans_only(store: ArtifactStore) -> None:
    _two_reports(store)
    assert _marks(find_garbage(store, keep=5).artifacts) == {"b0"}


def test_a_data_set_without_a_report_is_left_alone(store: ArtifactStore) -> None:
    _two_reports(store)
    _artifact(store, "other", "finetune", "o1", backbone="b0")
    assert _marks(find_garbage(store, keep=1).artifacts) == {"i1", "f1", "r1"}


def test_leftovers_of_killed_runs_go_and_free_their_bytes(store: ArtifactStore) -> None:
    for suffix in (".partial", ".corrupt"):
        folder = store.root / "shop" / "embed" / f"e1{suffix}"
        folder.mkdir(parents=True)
        (folder / "half").write_bytes(b"12345")
    garbage = find_garbage(store, keep=1)
    assert garbage.n_bytes == 10
    collect(store, garbage)
    assert list(store.leftovers()) == []


def test_while_something_is_built_it_and_all_finished_artifacts_stay(store: ArtifactStore) -> None:
    _two_reports(store)
    partial = store.root / "shop" / "embed" / "e1.partial"
    partial.mkdir(parents=True)
    with FileLock(partial.with_suffix(".lock")):
        garbage = find_garbage(store, keep=1)
    assert (garbage.artifacts, garbage.leftovers, garbage.in_use) == ([], [], [partial])
