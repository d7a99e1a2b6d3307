"""Users with their histories, read one after the other in order of ids: memory does not grow with their number."""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.columns import Columns as C
from tsrec.errors import ArtifactError, DataError
from tsrec.recommenders.id_lists import SAMPLE, check_unknown_ids, likely_header, read_lines, warn_header
from tsrec.store import Artifact
from tsrec.store.parquet_file import open_parquet
from tsrec.store.work_files import remove, seal, write_whole

User = tuple[str, list[str]]
"""A user's id, and the ids of all their items, oldest first."""

_ROWS = 65_536


def all_users(ingest: Artifact) -> Iterator[User]:
    """Every user with an event, in order of their ids.

    Raises:
        ArtifactError: the interactions are not in that order.
    """
    current_user: str | None = None
    history: list[str] = []
    for users, items in _batches(ingest):
        starts = np.flatnonzero(np.append(True, users[1:] != users[:-1]))
        for start, end in itertools.pairwise([*starts.tolist(), len(users)]):
            if users[start] != current_user:
                if current_user is not None:
                    if users[start] < current_user:
                        raise ArtifactError(f"{ingest.path}: interactions are not in order of users; run ingest again")
                    yield current_user, history
                current_user, history = users[start], []
            history.extend(items[start:end])
    if current_user is not None:
        yield current_user, history


def write_ids(ingest: Artifact, file: Path, path: Path, max_unknown: float) -> None:
    """Write the user ids of a text file (one id a line), each once and in order, as a sealed work file.

    Args:
        ingest: knows which users have events.
        file: UTF-8; empty lines do not count, nor does a header.
        path: the Parquet file that `listed_users` reads. Ids are sorted on disk: they may be too many for the memory.
        max_unknown: the largest share of ids without events.

    Raises:
        DataError: the file cannot be read, holds no id, or more than `max_unknown` of them are not known.
    """
    database_path = path.with_suffix(".sqlite")
    database_path.unlink(missing_ok=True)

    def write(temporary: Path) -> None:
        schema = pa.schema([(C.USER, pa.string())])
        with contextlib.closing(sqlite3.connect(database_path)) as database, pq.ParquetWriter(temporary, schema) as out:
            _sort_ids(database, ingest, file, max_unknown)
            # SQLite compares UTF-8 byte by byte, which is the order of Python's strings.
            rows = database.execute("SELECT id FROM users ORDER BY id")
            while ids := [user for (user,) in rows.fetchmany(_ROWS)]:
                out.write_table(pa.table({C.USER: ids}, schema))

    remove(path)
    write_whole(path, write)
    seal(path)
    database_path.unlink()


def listed_users(ingest: Artifact, ids: Path) -> Iterator[User]:
    """The users that `write_ids` wrote to the file `ids`, in order; those without events too."""
    with_events = all_users(ingest)
    user, history = next(with_events, (None, []))
    for batch in open_parquet(ids).iter_batches(_ROWS):
        for listed in batch[C.USER].to_pylist():
            while user is not None and user < listed:
                user, history = next(with_events, (None, []))
            yield listed, history if user == listed else []


def _sort_ids(database: sqlite3.Connection, ingest: Artifact, file: Path, max_unknown: float) -> None:
    """Fill the table `users` on disk. Unknown ids are logged, or raised where they are many."""
    database.execute("CREATE TABLE users (id TEXT PRIMARY KEY, known INTEGER DEFAULT 0) WITHOUT ROWID")
    database.executemany("INSERT OR IGNORE INTO users (id) VALUES (?)", ((line,) for line in read_lines(file)))
    database.executemany("UPDATE users SET known = 1 WHERE id = ?", ((user,) for user in _user_ids(ingest)))
    header = likely_header(file, (ingest.manifest.key.config.get("interaction_columns") or {}).get(C.USER))
    if database.execute("DELETE FROM users WHERE id = ? AND NOT known", (header,)).rowcount:
        warn_header("users", file, str(header))
    database.commit()
    ((n_ids, n_known),) = database.execute("SELECT COUNT(*), TOTAL(known) FROM users")
    if not n_ids:
        raise DataError(f"users: {file}: holds no id; expected one a line")
    unknown = [user for (user,) in database.execute(f"SELECT id FROM users WHERE NOT known ORDER BY id LIMIT {SAMPLE}")]
    check_unknown_ids("users", file, unknown, n_ids - int(n_known), n_ids, _user_ids(ingest), max_unknown)


def _user_ids(ingest: Artifact) -> Iterator[str]:
    """The id of every user with an event; some may come twice."""
    for batch in open_parquet(ingest.file("interactions.parquet")).iter_batches(_ROWS, columns=[C.USER]):
        yield from batch[C.USER].unique().to_pylist()


def _batches(ingest: Artifact) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    parquet = open_parquet(ingest.file("interactions.parquet"))
    for batch in parquet.iter_batches(_ROWS, columns=[C.USER, C.ITEM]):
        if batch.num_rows:
            yield batch[C.USER].to_numpy(zero_copy_only=False), batch[C.ITEM].to_numpy(zero_copy_only=False)
