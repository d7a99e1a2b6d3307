"""The artifact store: `<root>/<dataset>/<stage>/<fingerprint>/`, each with a manifest.

Atomic: an artifact is written to the sibling `<fingerprint>.partial`, flushed, and renamed; a folder without a valid
manifest does not exist. Two processes that want the same artifact: one holds its lock and builds, the other waits
and reads. Corrupt artifacts are reported, set aside and rebuilt. A remote root (fsspec URL) is mirrored in a local
cache: built and verified there, uploaded with the manifest last.
"""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from tsrec.errors import ArtifactError, CorruptArtifactError
from tsrec.store.artifact import WORK_NAME, Artifact, ArtifactWriter
from tsrec.store.manifest import MANIFEST_NAME, ArtifactKey, Manifest, host_facts
from tsrec.store.remote import RemoteMirror

logger = logging.getLogger(__name__)


class ArtifactStore:
    """All artifacts below one root, a local folder or an fsspec URL."""

    def __init__(self, root: str | Path) -> None:
        self.remote = RemoteMirror(str(root)) if "://" in str(root) else None
        self.root = self.remote.cache if self.remote else Path(root).expanduser().resolve()

    def find(self, key: ArtifactKey) -> Artifact | None:
        """The finished, verified artifact of `key`, or None. One that fails its check is reported and set aside."""
        artifact = self._find_local(key) or self._fetch(key)
        if artifact and self.remote and not self.remote.has(key.path):  # killed between building and uploading
            self.remote.upload(key.path, artifact.manifest)
        return artifact

    def build(self, key: ArtifactKey, make: Callable[[ArtifactWriter], None]) -> Artifact:
        """Return the artifact of `key`, calling `make` to write it where it does not exist yet.

        If `make` raises or the process dies, nothing appears in the store; the writer's `work` folder stays for the
        next attempt.
        """
        final = self.root / key.path
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_suffix(".lock")):
            existing = self.find(key)  # whoever held the lock before us may have built it
            if existing:
                return existing
            started = time.monotonic()
            writer = _open_partial(final.with_suffix(".partial"))
            make(writer)
            manifest = Manifest(
                key=key,
                files=writer.entries(),
                counts=writer.counts,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - started, 3),
                **host_facts(),
            )
            _publish(writer.path, final, manifest)
            if self.remote:
                self.remote.upload(key.path, manifest)
        return Artifact(final, manifest)

    def list(self) -> list[Artifact]:
        """All finished artifacts, oldest first. Their files are not verified, nor fetched from a remote root."""
        found = {manifest.key.path: manifest for manifest in self._manifests()}
        for manifest in self.remote.manifests() if self.remote else ():
            found.setdefault(manifest.key.path, manifest)
        artifacts = [Artifact(self.root / path, manifest) for path, manifest in found.items()]
        return sorted(artifacts, key=lambda artifact: (artifact.manifest.created, str(artifact.path)))

    def verify(self, artifact: Artifact) -> None:
        """Check a listed artifact, fetching it where it is only remote. Raises CorruptArtifactError."""
        if self.remote and not (artifact.path / MANIFEST_NAME).is_file():
            self.remote.download(artifact.manifest.key.path)
        artifact.verify()

    def open(self, fingerprint: str) -> Artifact:
        """The verified artifact whose fingerprint starts with `fingerprint`. Raises ArtifactError if not just one."""
        matches = [a for a in self.list() if a.fingerprint.startswith(fingerprint)]
        if len(matches) != 1:
            what = "no artifact" if not matches else f"{len(matches)} artifacts"
            raise ArtifactError(f"{what} in {self.root} start with {fingerprint!r}; see `tsrec artifacts list`")
        artifact = self.find(matches[0].manifest.key)
        if artifact is None:
            raise CorruptArtifactError(f"{matches[0].path}: corrupt and set aside; run the pipeline again")
        return artifact

    def delete(self, key: ArtifactKey) -> None:
        """Remove an artifact, its manifest first, so that a half-removed one does not exist."""
        final = self.root / key.path
        if self.remote:
            self.remote.delete(key.path)
        (final / MANIFEST_NAME).unlink(missing_ok=True)
        shutil.rmtree(final, ignore_errors=True)
        final.with_suffix(".lock").unlink(missing_ok=True)

    def leftovers(self) -> Iterator[Path]:
        """Partial and corrupt folders that killed or damaged runs left behind."""
        for suffix in (".partial", ".corrupt"):
            yield from sorted(self.root.glob(f"*/*/*{suffix}"))

    def _find_local(self, key: ArtifactKey) -> Artifact | None:
        path = self.root / key.path
        if not (path / MANIFEST_NAME).is_file():
            return None
        try:
            artifact = Artifact(path, Manifest.read(path / MANIFEST_NAME))
            artifact.verify()
        except ArtifactError as error:
            logger.warning("%s; setting the artifact aside, it will be rebuilt", error)
            aside = path.with_suffix(".corrupt")
            shutil.rmtree(aside, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):  # another process saw it too
                path.rename(aside)
            return None
        return artifact

    def _fetch(self, key: ArtifactKey) -> Artifact | None:
        if self.remote is None:
            return None
        try:
            artifact = self._find_local(key) if self.remote.download(key.path) else None
        except (ArtifactError, FileNotFoundError) as error:
            logger.warning("%s", error)
            artifact = None
        if artifact is None:  # no whole copy there: what there is would only be fetched again
            self.remote.delete(key.path)
        return artifact

    def _manifests(self) -> Iterator[Manifest]:
        for path in sorted(self.root.glob(f"*/*/*/{MANIFEST_NAME}")):
            if path.parent.suffix:
                continue  # .partial and .corrupt do not exist
            try:
                yield Manifest.read(path)
            except ArtifactError as error:
                logger.warning("%s", error)


def _open_partial(path: Path) -> ArtifactWriter:
    """Open the sibling that an artifact is built in; only the `work` folder of an earlier attempt is kept."""
    path.mkdir(parents=True, exist_ok=True)
    for child in path.iterdir():
        if child.name != WORK_NAME:
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    return ArtifactWriter(path)


def _publish(partial: Path, final: Path, manifest: Manifest) -> None:
    shutil.rmtree(partial / WORK_NAME, ignore_errors=True)
    (partial / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    for path in sorted(partial.rglob("*")):
        if path.is_file():
            _flush(path)
    _flush(partial)
    if final.exists():  # a folder without a valid manifest
        shutil.rmtree(final)
    partial.rename(final)
    _flush(final.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
