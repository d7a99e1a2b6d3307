"""Files that outlive a kill or a power cut: written whole or not at all, and checked before they are used again.

A file is written to a temporary sibling, flushed to the disk and renamed. What the next attempt at a stage reuses (a
shard, a checkpoint) is also *sealed*: a JSON beside it holds its size and SHA-256. A work file that does not match its
seal, for whatever reason, is reported, removed and made again, so a damaged one costs time and nothing else.

Knows nothing of stages or artifacts.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.store.fingerprint import file_sha256

logger = logging.getLogger(__name__)

FOLDER_SEAL = "complete.json"
_TEMPORARY = ".tmp"
_FILE_SEAL = ".seal"


def write_whole(path: Path, write: Callable[[Path], object], *, shared: bool = False) -> None:
    """Have `write` fill a temporary sibling of `path`, flush it and rename it: `path` is never seen half written.

    Args:
        path: what is written.
        write: fills the file that it is given.
        shared: another process may write `path` at the same moment. Otherwise one process at a time does, and a
            sibling that a killed one left is written over.
    """
    own = f".{uuid4().hex[:8]}" if shared else ""
    temporary = path.with_name(f"{path.name}{own}{_TEMPORARY}")
    if temporary.is_symlink():  # somebody's, in a store that others write to: not written through
        temporary.unlink()
    write(temporary)
    flush(temporary)
    temporary.replace(path)
    flush(path.parent)


def write_text_whole(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all, whoever else writes it at the same moment."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), shared=True)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write one Parquet file: the same table gives the same bytes."""
    pq.write_table(table, path, compression="zstd")


def kept_table(path: Path, make: Callable[[], pa.Table]) -> pa.Table:
    """The table that an earlier attempt kept at `path`, or, where there is none that is whole, a newly made one.

    Args:
        path: a Parquet file in a work folder; its name says everything that the table depends on.
        make: makes the table. What is returned is always what was read back, schema metadata included.
    """
    if not is_whole(path):
        remove(path)
        table = make()
        write_whole(path, lambda temporary: write_parquet(table, temporary), shared=True)
        seal(path)
    return pq.read_table(path)


def seal(path: Path) -> None:
    """Flush a finished file or folder, and write down what it must hold to count as whole.

    A folder's seal lies inside it (`complete.json`), so that it moves and goes with the folder.
    """
    files = list(_files(path))
    for file in files:
        flush(file)
    marks = {_name(file, path): {"n_bytes": file.stat().st_size, "sha256": file_sha256(file)} for file in files}
    write_text_whole(seal_of(path), json.dumps(marks, indent=1))


def seal_of(path: Path) -> Path:
    """Where the seal of a file or folder lies."""
    return path / FOLDER_SEAL if path.is_dir() else path.with_name(path.name + _FILE_SEAL)


def is_whole(path: Path) -> bool:
    """Whether a file or folder is there, sealed, and what its seal says; what is there but damaged is reported."""
    if not path.exists():
        return False
    problem = _problem(path)
    if problem:
        logger.warning("%s: %s (a kill or a power cut?); it will be made again", path, problem)
    return not problem


def remove(path: Path) -> None:
    """Remove a work file or folder with its seal, the seal first."""
    if not path.is_symlink():
        seal_of(path).unlink(missing_ok=True)
    discard(path)


def discard(path: Path) -> None:
    """Remove a file, a folder, or a link (and never what a link leads to); or nothing, where nothing is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Force a file's content, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _problem(path: Path) -> str | None:
    """What is wrong with a work file or folder, in words; None where it is whole."""
    try:
        marks = json.loads(seal_of(path).read_bytes())
        expected = {name: (mark["n_bytes"], mark["sha256"]) for name, mark in marks.items()}
    except FileNotFoundError:
        return "was never finished"
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return "its seal is not readable"
    files = {_name(file, path): file for file in _files(path)}
    for name, (n_bytes, sha256) in expected.items():
        if name not in files:
            return f"lacks {name}"
        if files[name].stat().st_size != n_bytes:
            return f"{name} has {files[name].stat().st_size} bytes instead of {n_bytes}"
        if file_sha256(files[name]) != sha256:
            return f"{name} does not match its hash"
    return None if expected else "its seal is empty"


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and file != path / FOLDER_SEAL and file.suffix != _TEMPORARY:
            yield file


def _name(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix() if path.is_dir() else file.name
