"""What garbage collection keeps, removes and leaves alone."""

import os
import platform
import time
from pathlib import Path

import pytest

from tests.keys import key_of
from tsrec.store import Artifact, ArtifactStore, ArtifactWriter, locks, record_run
from tsrec.store.gc import collect, find_garbage
from tsrec.store.runs import recorded_runs


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
    assert _marks(find_garbage(store, keep=5).artifacts) == {"b0"}, "it belongs to no report"
    garbage = find_garbage(store, keep=1)
    assert _marks(garbage.artifacts) == {"b0", "i1", "f1", "r1"}
    assert len(store.list()) == 8, "finding removes nothing"
    collect(store, garbage)
    assert _marks(store.list()) == {"b1", "i2", "f2", "r2"}
    _artifact(store, "other", "finetune", "o1", backbone="b1")
    assert find_garbage(store, keep=1).artifacts == [], "a data set without a report is left alone"


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
    with locks.hold(partial.with_suffix("")):
        garbage = find_garbage(store, keep=1)
    assert (garbage.artifacts, garbage.leftovers, garbage.in_use) == ([], [], [partial])


def _content(writer: ArtifactWriter) -> None:
    writer.write_json("content", 1)


def _run(store: ArtifactStore, profile: str, marks: str, *, report: bool = True) -> None:
    """A recorded run of ingest (named by the first letter of `marks`), finetune and report."""
    ingest, finetune, page = (f"{kind}{mark}" for kind, mark in zip("ifr", marks, strict=True))
    keys = [
        key_of("ingest", ingest, "shop"),
        key_of("finetune", finetune, "shop", ingest=ingest),
        key_of("report", page, "shop", finetune=finetune),
    ]
    record_run(store, profile, keys)
    for key in keys if report else keys[:2]:
        store.build(key, _content)


def test_two_profiles_of_one_data_set_keep_their_own_newest_run(store: ArtifactStore) -> None:
    _run(store, "small", "111")
    _run(store, "large", "122")
    _run(store, "large", "133")
    garbage = find_garbage(store, keep=1)
    assert _marks(garbage.artifacts) == {"f2", "r2"}
    assert [(run.profile, run.goal) for run in garbage.old_runs] == [("large", "shop/report/r2")]
    collect(store, garbage)
    assert _marks(store.list()) == {"i1", "f1", "r1", "f3", "r3"}
    assert [run.goal for run in recorded_runs(store)[0]] == ["shop/report/r1", "shop/report/r3"]
    assert find_garbage(store, keep=1).artifacts == []


def test_a_run_of_old_settings_started_again_is_the_newest(store: ArtifactStore) -> None:
    _run(store, "shop", "111")
    _run(store, "shop", "222")
    _run(store, "shop", "111")  # all there already
    assert _marks(find_garbage(store, keep=1).artifacts) == {"i2", "f2", "r2"}
    assert find_garbage(store, keep=2).artifacts == []


def test_what_an_unfinished_run_uses_stays_until_newer_runs_are_finished(store: ArtifactStore) -> None:
    _run(store, "shop", "111")
    _run(store, "shop", "222", report=False)  # its report is still missing
    assert find_garbage(store, keep=1).artifacts == []
    _run(store, "shop", "333")
    assert _marks(find_garbage(store, keep=1).artifacts) == {"i1", "f1", "r1", "i2", "f2"}


def test_a_killed_run_keeps_its_checkpoints_until_a_newer_one_is_finished(store: ArtifactStore) -> None:
    _run(store, "shop", "111", report=False)
    partial = store.root / "shop" / "report" / "r1.partial"
    (partial / "work").mkdir(parents=True)
    (partial / "work" / "checkpoint").write_bytes(b"hours")
    garbage = find_garbage(store, keep=1)
    assert (garbage.to_resume, garbage.leftovers) == ([partial], [])
    _run(store, "shop", "222")
    assert find_garbage(store, keep=1).leftovers == [partial]


def test_an_unfinished_run_uses_what_an_old_run_made(store: ArtifactStore) -> None:
    _run(store, "shop", "111")
    _run(store, "shop", "222")
    record_run(store, "other", [key_of("finetune", "f1", "shop"), key_of("report", "r9", "shop")])
    assert _marks(find_garbage(store, keep=1).artifacts) == {"r1"}, "f1 and its parent i1 stay"


def test_work_outside_of_runs_stays_while_it_is_newer_than_every_report(store: ArtifactStore) -> None:
    _artifact(store, "shop", "finetune", "f0")
    _run(store, "shop", "111")
    _artifact(store, "shop", "finetune", "f9", ingest="i1")
    assert _marks(find_garbage(store, keep=1).artifacts) == {"f0"}


def test_what_comes_into_use_after_it_was_found_is_spared(store: ArtifactStore) -> None:
    _run(store, "shop", "111")
    _run(store, "shop", "222")
    leftover = store.root / "shop" / "embed" / "e1.partial"
    leftover.mkdir(parents=True)
    garbage = find_garbage(store, keep=1)
    assert _marks(garbage.artifacts) == {"i1", "f1", "r1"} and garbage.leftovers == [leftover]
    _run(store, "shop", "111")
    with locks.hold(leftover.with_suffix("")):
        spared = collect(store, garbage)
    assert {path.name for path in spared} == {"i1", "f1", "r1", "e1.partial"}
    assert _marks(store.list()) == {"i1", "f1", "r1", "i2", "f2", "r2"} and leftover.exists()
    assert len(recorded_runs(store)[0]) == 2


def test_what_another_machine_builds_in_a_network_folder_is_left_alone(store: ArtifactStore) -> None:
    """Its lock is not visible here; its note is. Whoever has not touched it for ten minutes is gone."""
    _two_reports(store)
    partial = store.root / "shop" / "embed" / "e1.partial"
    partial.mkdir(parents=True)
    note = partial.with_suffix(".holder")
    for host in ("a-container-that-is-gone", platform.node()):
        note.write_text(locks.Holder(pid=7, host=host, since="2025-11-25T03:00:00+00:00").model_dump_json())
        _touch(note, minutes_ago=9)
        garbage = find_garbage(store, keep=1)
        assert (garbage.in_use, garbage.leftovers, garbage.artifacts) == ([partial], [], [])
        _touch(note, minutes_ago=11)
        garbage = find_garbage(store, keep=1)
        assert (garbage.in_use, garbage.leftovers) == ([], [partial])
        assert _marks(garbage.artifacts) == {"b0", "i1", "f1", "r1"}
    _touch(note, minutes_ago=0)  # it comes to life between looking and removing
    assert partial in collect(store, garbage)
    assert partial.exists() and len(store.list()) == 8 - 4


def _touch(path: Path, minutes_ago: float) -> None:
    moment = time.time() - 60 * minutes_ago
    os.utime(path, (moment, moment))


def test_a_record_that_cannot_be_read_keeps_its_data_set(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture
) -> None:
    _run(store, "shop", "111")
    _run(store, "shop", "222")
    next((store.root / ".runs" / "shop").glob("*r1.json")).write_bytes(b"")
    assert find_garbage(store, keep=1).artifacts == []
    assert "r1.json: not a readable record of a run; run that profile again" in caplog.text
