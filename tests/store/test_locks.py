"""Locks of artifacts: who waits says so, and for whom; who is killed holds nothing."""

import logging
import os
import platform
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flows.prefect_api import wait_for
from tests.forked import PROCESSES
from tsrec.store import ArtifactStore, ArtifactWriter, locks

from .conftest import Maker, key_of


def _hold(folder: Path, held: Any, let_go: Any) -> None:
    with locks.hold(folder):
        held.set()
        let_go.wait(600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shop" / "ingest" / "abc"


def _start(folder: Path) -> tuple[Any, Any]:
    """A process that holds the lock, and the event that ends it."""
    held, let_go = PROCESSES.Event(), PROCESSES.Event()
    process = PROCESSES.Process(target=_hold, args=(folder, held, let_go))
    process.start()
    assert held.wait(300)
    return process, let_go


def test_a_wait_is_said_with_whom_it_is_for(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    process, let_go = _start(folder)
    with locks.hold_if_free(folder) as free:
        assert not free
    threading.Thread(target=lambda: wait_for(lambda: caplog.records, "the line") and let_go.set()).start()
    with locks.hold(folder):
        mine = locks.holder(folder)
        assert mine and (mine.pid, mine.host) == (os.getpid(), platform.node())
    process.join()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"waiting for {folder}: held by process {process.pid} on {platform.node()}, since 20")
    assert locks.holder(folder) is None


def test_who_waits_is_told_the_run_that_it_waits_for(folder: Path) -> None:
    token = locks.RUN.set("train-shop (0123abcd)")
    try:
        with locks.hold(folder):
            known = locks.holder(folder)
    finally:
        locks.RUN.reset(token)
    assert known and known.words.startswith(f"run train-shop (0123abcd), process {os.getpid()} on ")


def test_a_lock_that_is_free_is_taken_without_a_word(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with locks.hold(folder):
            pass
    with locks.hold_if_free(folder) as free:
        assert free
    assert caplog.text == ""


def test_the_lock_of_a_killed_holder_is_free_whatever_its_note_says(folder: Path) -> None:
    process, _ = _start(folder)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert locks.holder(folder) is not None  # nobody took it back
    with locks.hold(folder):
        mine = locks.holder(folder)
        assert mine and mine.pid == os.getpid()


def test_a_holder_shows_signs_of_life_by_the_clock_of_the_file_system(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another machine sees it, which cannot see the lock: here by its note alone."""
    monkeypatch.setattr(locks, "_BEAT_S", 0.02)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # this machine's clock is decades off
    with locks.hold(folder):
        note = folder.with_suffix(".holder")
        os.utime(note, (1e9, 1e9))  # as old as if it had never been touched
        for _ in range(500):
            if locks._is_alive(folder):
                break
            threading.Event().wait(0.02)
        assert locks._is_alive(folder)
    assert not locks._is_alive(folder) and not note.exists()


@pytest.mark.parametrize(("age_s", "free"), [(0, False), (590, False), (610, True), (-590, False), (-610, True)])
def test_a_lock_is_free_once_its_holder_shows_no_sign_of_life(folder: Path, age_s: float, free: bool) -> None:
    """Whatever host and process its note names: here those of a process that is alive."""
    with locks.hold(folder):
        note = folder.with_suffix(".holder")
        content = note.read_bytes()
    note.write_bytes(content)
    os.utime(note, (time.time() - age_s, time.time() - age_s))
    with locks.hold_if_free(folder) as is_free:
        assert is_free == free


@pytest.mark.parametrize("note", ["", "{", '{"pid": 1}', "[]"])
def test_a_damaged_note_is_no_note(folder: Path, note: str) -> None:
    folder.parent.mkdir(parents=True)
    folder.with_suffix(".holder").write_text(note)
    assert locks.holder(folder) is None
    with locks.hold(folder):
        assert locks.holder(folder) is not None


def test_looking_at_a_corrupt_artifact_takes_no_fresh_rebuild_away(
    store: ArtifactStore, make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    """`find` has seen the damage; before it does anything about it, another run has rebuilt the artifact."""
    key = key_of()
    artifact = store.build(key, make)
    artifact.file("items.parquet").write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        assert store.find(key) is None
    assert artifact.file("items.parquet").read_bytes() == b"damaged", "looking changes nothing"
    building, go_on = threading.Event(), threading.Event()

    def slowly(out: ArtifactWriter) -> None:
        building.set()
        assert go_on.wait(300)
        make(out)

    rebuild = threading.Thread(target=lambda: store.build(key, slowly))
    rebuild.start()
    assert building.wait(300)
    assert store.find(key) is None
    go_on.set()
    rebuild.join()
    for _ in range(3):
        found = store.find(key)
        assert found and found.frame("items").shape == (3, 2)
    assert [path.name for path in store.leftovers()] == ["0123456789abcdef.corrupt"]
