"""Hashes that are remembered: never another than the file's own."""

import os
import time
from pathlib import Path

import pytest

from tsrec.store import cached_sha256, file_sha256, hash_cache

BIG = b"x" * (1 << 20)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if some time had passed since the last change."""
    monkeypatch.setattr(hash_cache, "_SETTLED_NS", -1)


def _poison(home: Path) -> None:
    """Let every cached hash say something that no file has: whoever believes it shows it."""
    for file in (home / "home").rglob("*.json"):
        file.write_text(file.read_text().replace('"sha256": "', '"sha256": "remembered '))


def test_an_untouched_large_file_is_hashed_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _settle(monkeypatch)
    path = _written(home / "model", BIG)
    digest = cached_sha256(path)
    assert digest == file_sha256(path)
    _poison(home)
    assert cached_sha256(path) == f"remembered {digest}"


@pytest.mark.parametrize("change", ["content", "same times", "other file", "grown"])
def test_a_changed_file_is_hashed_again(home: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    _settle(monkeypatch)
    path = _written(home / "model", BIG)
    before = path.stat()
    cached_sha256(path)
    time.sleep(0.02)
    if change == "grown":
        path.write_bytes(BIG + b"y")
    elif change == "other file":
        _written(home / "other", b"y" + BIG[1:]).replace(path)
    else:
        path.write_bytes(b"y" + BIG[1:])
    if change != "content":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cached_sha256(path) == file_sha256(path)


def test_a_file_changed_a_moment_ago_is_not_remembered(home: Path) -> None:
    cached_sha256(_written(home / "model", BIG))
    assert not list((home / "home").rglob("*.json"))


def test_small_files_folders_and_damaged_memories_are_just_hashed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _settle(monkeypatch)
    small = _written(home / "small", b"x")
    assert cached_sha256(small) == file_sha256(small)
    assert not list((home / "home").rglob("*.json"))
    path = _written(home / "model", BIG)
    cached_sha256(path)
    for file in (home / "home").rglob("*.json"):
        file.write_bytes(b"{")
    assert cached_sha256(path) == file_sha256(path)


def test_where_nothing_can_be_remembered_it_is_hashed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _settle(monkeypatch)
    _written(home / "home", b"a file, where a folder should be")
    path = _written(home / "model", BIG)
    assert cached_sha256(path) == file_sha256(path)
