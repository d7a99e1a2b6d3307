"""Users and their histories, one after the other in order of their ids: memory does not grow with their number."""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tsrec.columns import Columns as C
from tsrec.errors import ArtifactError, DataError
from tsrec.store import Artifact

User = tuple[str, list[str]]
"""A user's id, and the ids of all their items, oldest first."""

_ROWS = 65_536


def all_users(ingest: Artifact) -> Iterator[User]:
    """Every user with an event, in order of their ids.

    Raises:
        ArtifactError: the interactions are not in that order.
    """
    open_user: str | None = None
    history: list[str] = []
    for users, items in _batches(ingest):
        starts = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
        for start, end in itertools.pairwise([*starts.tolist(), len(users)]):
            if users[start] != open_user:
                if open_user is not None:
                    if users[start] < open_user:
                        raise ArtifactError(f"{ingest.path}: interactions are not in order of users; run ingest again")
                    yield open_user, history
                open_user, history = users[start], []
            history.extend(items[start:end])
    if open_user is not None:
        yield open_user, history


def chosen_users(ingest: Artifact, file: Path, work: Path) -> Iterator[User]:
    """The users of a text file (one id a line), each once, in order of their ids; those without events too.

    Args:
        ingest: whose interactions are the histories.
        file: UTF-8; empty lines do not count.
        work: a folder for the sorted ids, which may be too many for the memory.

    Raises:
        DataError: the file cannot be read.
    """
    there = all_users(ingest)
    user, history = next(there, (None, []))
    for wanted in _sorted_ids(file, work / "users.sqlite"):
        while user is not None and user < wanted:
            user, history = next(there, (None, []))
        yield wanted, history if user == wanted else []


def read_ids(file: Path) -> list[str]:
    """The ids of a text file, one a line.

    Raises:
        DataError: the file cannot be read, or holds none.
    """
    ids = list(_lines(file))
    if not ids:
        raise DataError(f"{file}: holds no id; expected one a line")
    return ids


def _batches(ingest: Artifact) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    parquet = pq.ParquetFile(ingest.file("interactions.parquet"))
    for batch in parquet.iter_batches(_ROWS, columns=[C.USER, C.ITEM]):
        if batch.num_rows:
            yield batch[C.USER].to_numpy(zero_copy_only=False), batch[C.ITEM].to_numpy(zero_copy_only=False)


def _sorted_ids(file: Path, path: Path) -> Iterator[str]:
    """Sorted on the disk; SQLite compares UTF-8 byte by byte, which is the order of Python's strings."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE users (id TEXT PRIMARY KEY) WITHOUT ROWID")
        database.executemany("INSERT OR IGNORE INTO users VALUES (?)", ((line,) for line in _lines(file)))
        database.commit()
        for (user,) in database.execute("SELECT id FROM users ORDER BY id"):
            yield user
    path.unlink()


def _lines(file: Path) -> Iterator[str]:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for line in stream:
                if text := line.strip():
                    yield text
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not readable as a text file with one id a line: {error}") from None
