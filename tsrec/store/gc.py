"""Garbage collection: what of a store is still wanted, and removing the rest.

Wanted are the newest finished reports of every data set with all their ancestors, and whole data sets that have no
report yet (nothing says which of their artifacts the first one will need).
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from tsrec.store.artifact import Artifact
from tsrec.store.store import ArtifactStore

REPORT = "report"
SHARED = "shared"  # the folder of artifacts that depend on no data set; wanted only as ancestors


@dataclass(frozen=True)
class Garbage:
    """What a collection removes, and the partial folders that it leaves alone because they are being built."""

    artifacts: list[Artifact]
    leftovers: list[Path]
    in_use: list[Path]

    @property
    def n_bytes(self) -> int:
        """Bytes that go."""
        stored = sum(entry.n_bytes for artifact in self.artifacts for entry in artifact.manifest.files.values())
        return stored + sum(_size(folder) for folder in self.leftovers)


def find_garbage(store: ArtifactStore, keep: int) -> Garbage:
    """Say what a collection would remove, and remove nothing.

    Args:
        store: the store.
        keep: newest reports kept per data set, with their ancestors.
    """
    leftovers: list[Path] = []
    in_use: list[Path] = []
    for path in store.leftovers():
        (in_use if path.suffix == ".partial" and _is_locked(path) else leftovers).append(path)
    # A run at work may be about to read any finished artifact: while there is one, only leftovers go.
    artifacts = store.list()
    wanted = _with_ancestors(_roots(artifacts, keep), artifacts)
    unwanted = [] if in_use else [artifact for artifact in artifacts if artifact.manifest.key.path not in wanted]
    return Garbage(unwanted, leftovers, in_use)


def collect(store: ArtifactStore, garbage: Garbage) -> None:
    """Remove what `find_garbage` found."""
    # Newest first: killed half way, no artifact is left without its parents.
    for artifact in reversed(garbage.artifacts):
        store.delete(artifact.manifest.key)
    for folder in garbage.leftovers:
        shutil.rmtree(folder)


def _roots(artifacts: list[Artifact], keep: int) -> list[Artifact]:
    """The `keep` newest reports of every data set; everything of a data set without one."""
    by_dataset: dict[str, list[Artifact]] = defaultdict(list)
    for artifact in artifacts:  # oldest first
        by_dataset[artifact.manifest.key.dataset].append(artifact)
    roots: list[Artifact] = []
    for dataset, members in by_dataset.items():
        reports = [artifact for artifact in members if artifact.manifest.key.stage == REPORT]
        if reports:
            roots.extend(reports[max(len(reports) - keep, 0) :])
        elif dataset != SHARED:
            roots.extend(members)
    return roots


def _with_ancestors(roots: Iterable[Artifact], artifacts: list[Artifact]) -> set[str]:
    """Paths, relative to the store, of `roots` and of everything that they were made from."""
    by_path = {artifact.manifest.key.path: artifact for artifact in artifacts}
    wanted: set[str] = set()
    queue = list(roots)
    while queue:
        key = queue.pop().manifest.key
        if key.path in wanted:
            continue
        wanted.add(key.path)
        for stage, fingerprint in key.parents.items():
            places = (f"{dataset}/{stage}/{fingerprint}" for dataset in (key.dataset, SHARED))
            queue.extend(by_path[place] for place in places if place in by_path)
    return wanted


def _is_locked(partial: Path) -> bool:
    """Whether a process is building this artifact now."""
    try:
        with FileLock(partial.with_suffix(".lock"), timeout=0):
            return False
    except Timeout:
        return True


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
