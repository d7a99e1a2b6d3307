"""Garbage collection: what no recent report was made from may go."""

from collections import defaultdict
from pathlib import Path

from filelock import FileLock, Timeout

from tsrec.store.artifact import Artifact
from tsrec.store.store import ArtifactStore


def collectable(store: ArtifactStore, keep: int) -> tuple[list[Artifact], list[Path]]:
    """Artifacts and leftovers that can be deleted.

    Kept are, per data set, the `keep` newest reports and everything they were made from. Leftovers of a run that is
    still building are left alone.
    """
    artifacts = store.list()
    by_fingerprint = {artifact.fingerprint: artifact for artifact in artifacts}
    reports = defaultdict(list)
    for artifact in artifacts:
        if artifact.manifest.key.stage == "report":
            reports[artifact.manifest.key.dataset].append(artifact.fingerprint)
    queue = [fingerprint for marks in reports.values() for fingerprint in marks[-keep:]]
    kept: set[str] = set()
    while queue:
        fingerprint = queue.pop()
        if fingerprint in by_fingerprint and fingerprint not in kept:
            kept.add(fingerprint)
            queue.extend(by_fingerprint[fingerprint].manifest.key.parents.values())
    stale = [artifact for artifact in artifacts if artifact.fingerprint not in kept]
    return stale, [path for path in store.leftovers() if not _building(path)]


def _building(path: Path) -> bool:
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0):
            return False
    except Timeout:
        return True
