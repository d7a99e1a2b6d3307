"""SHA-256 of large files outside the store, remembered while they stay untouched: planning a run twice is quick.

One small file per hashed file in the user's cache folder. A memory holds while place, size, inode, time of change and
time of the inode's change are the same (the last cannot be set back, so a copy that keeps old times is noticed); it is
not kept for a file changed within the last seconds, whose next change could carry the same times.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from tsrec.machine.local_cache import local_cache
from tsrec.store.fingerprint import file_sha256

_LARGE = 1 << 20  # bytes; smaller files are hashed faster than they are remembered
_SETTLED_NS = 2_000_000_000


def cached_sha256(path: Path) -> str:
    """What `file_sha256` gives; from memory where the file is large and untouched since."""
    if path.is_dir():
        return file_sha256(path)
    identity = _identity(path)
    if identity["n_bytes"] < _LARGE:
        return file_sha256(path)
    memory = local_cache("hashes") / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        remembered = json.loads(memory.read_text(encoding="utf-8"))
        if remembered["identity"] == identity:
            return str(remembered["sha256"])
    digest = file_sha256(path)
    settled = time.time_ns() - max(identity["changed_ns"], identity["inode_changed_ns"]) > _SETTLED_NS
    if settled and _identity(path) == identity:
        _remember(memory, {"identity": identity, "sha256": digest, "path": str(path.absolute())})
    return digest


def _identity(path: Path) -> dict[str, int]:
    found = path.stat()
    return {
        "n_bytes": found.st_size,
        "device": found.st_dev,
        "inode": found.st_ino,
        "changed_ns": found.st_mtime_ns,
        "inode_changed_ns": found.st_ctime_ns,
    }


def _remember(memory: Path, content: dict[str, object]) -> None:
    """Losing a memory costs a second hashing, nothing more: no error, no fsync."""
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=memory.parent, delete=False, encoding="utf-8") as stream:
            json.dump(content, stream)
        Path(stream.name).replace(memory)
