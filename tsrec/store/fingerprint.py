"""Fingerprints: the identity of an artifact is a hash of everything it was made from, never of when or where."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, or, for a folder, of its files' relative names and bytes in sorted order."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def fingerprint(
    stage: str,
    version: int,
    config: Mapping[str, Any],
    parents: Mapping[str, str],
    raw_inputs: Mapping[str, str],
) -> str:
    """16 hex digits that name an artifact.

    Args:
        stage: the stage's name.
        version: the stage's code version, raised whenever its result for the same inputs changes.
        config: the canonical configuration that this stage reads, as plain JSON values.
        parents: parent stage -> its fingerprint.
        raw_inputs: name of each raw input file -> its SHA-256.
    """
    identity = {
        "stage": stage,
        "version": version,
        "config": config,
        "parents": dict(parents),
        "raw_inputs": dict(raw_inputs),
    }
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]
