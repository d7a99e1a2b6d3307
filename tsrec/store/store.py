"""The artifact store: `<root>/<dataset>/<stage>/<fingerprint>/`, each with a manifest.

Atomic: an artifact is written to the sibling `<fingerprint>.partial`, flushed, and renamed; a folder without a valid
manifest does not exist. Two processes that want the same artifact: one holds its lock and builds, the other waits
and reads. Looking changes nothing; who builds an artifact anew sets a corrupt one aside, under the lock. A remote root
(fsspec URL) is mirrored in a local cache: built and verified there, and shared as `remote` says.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tsrec.errors import ArtifactError, ConfigError, CorruptArtifactError
from tsrec.machine.addresses import is_url, place_problem
from tsrec.store import locks
from tsrec.store.artifact import WORK_NAME, Artifact, ArtifactWriter
from tsrec.store.disk_errors import explain_disk_errors
from tsrec.store.host_environment import host_environment
from tsrec.store.manifest import MANIFEST_NAME, ArtifactKey, Manifest, is_artifact_path
from tsrec.store.remote import Published, RemoteMirror
from tsrec.store.work_files import discard, flush

logger = logging.getLogger(__name__)

PARTIAL, CORRUPT, INCOMING = ".partial", ".corrupt", ".incoming"
ABANDONED_AFTER = timedelta(days=7)


class ArtifactStore:
    """All artifacts below one root, a local folder or an fsspec URL.

    Raises:
        ConfigError: the root is almost a URL, as a `Path` of one is, or one that cannot be opened.
    """

    def __init__(self, root: str | Path) -> None:
        if problem := place_problem(str(root)):
            raise ConfigError(f"store: {root} {problem}")
        self.remote = RemoteMirror(str(root)) if is_url(str(root)) else None
        self.root = self.remote.cache if self.remote else Path(root).expanduser().resolve()
        self.address = self.remote.url if self.remote else str(self.root)  # opens the same store in another process

    def find(self, key: ArtifactKey) -> Artifact | None:
        """The finished, verified artifact of `key`, or None. One that fails its check is reported and left in place.

        With a remote root what is there is fetched into the mirror, and what only the mirror has is uploaded (a run
        was killed in between); nothing is removed from the remote. Raises ArtifactError where it cannot be reached.
        """
        if self.remote is None:
            return self._sound(key)
        sound, published = self._sound(key), self.remote.newest(key.path)
        if _agree(sound, published):
            return sound
        with locks.hold(self.root / key.path):
            return self._settle(key)

    def build(self, key: ArtifactKey, make: Callable[[ArtifactWriter], None], since: str = "") -> Artifact:
        """Return the artifact of `key`, calling `make` to write it where it does not exist yet.

        One that was made before `since` (ISO, UTC) is made again, and stands until the new one is whole. If `make`
        raises or the process dies, nothing appears in the store; the writer's `work` folder stays for the next attempt.
        Raises ArtifactError where the disk refuses (see `refusals`).
        """
        final = self.root / key.path
        with explain_disk_errors(self.root), locks.hold(final):
            existing = self._settle(key)  # whoever held the lock before us may have built it
            if existing and existing.manifest.created >= since:
                return existing
            started = time.monotonic()
            writer = _open_partial(final.with_suffix(PARTIAL))
            make(writer)
            manifest = Manifest(
                key=key,
                files=writer.entries(),
                counts=writer.counts,
                created=datetime.now(UTC).isoformat(timespec="microseconds"),
                seconds=round(time.monotonic() - started, 3),
                **host_environment(),
            )
            _finish(writer.path, manifest)
            _put_in_place(writer.path, final)
            if existing:  # sound, and set aside for the new one alone
                shutil.rmtree(final.with_suffix(CORRUPT), ignore_errors=True)
            return self._share(Artifact(final, manifest), instead_of=existing)

    def list(self, dataset: str = "*", stage: str = "*") -> list[Artifact]:
        """All finished artifacts, oldest first, or those of a data set or stage alone. Their files are not verified,
        nor fetched from a remote root."""
        found = {manifest.key.path: manifest for manifest in self._manifests(dataset, stage)}
        for manifest in self.remote.manifests(dataset, stage) if self.remote else ():
            found.setdefault(manifest.key.path, manifest)
        artifacts = [Artifact(self.root / path, manifest) for path, manifest in found.items()]
        return sorted(artifacts, key=lambda artifact: (artifact.manifest.created, str(artifact.path)))

    def verify(self, artifact: Artifact) -> None:
        """Check a listed artifact, fetching it where it is only remote. Raises CorruptArtifactError."""
        if (artifact.path / MANIFEST_NAME).is_file() or self.remote is None:
            artifact.verify()
        elif self.find(artifact.manifest.key) is None:
            raise CorruptArtifactError(f"{artifact.manifest.key.path}: the remote's copy does not match its manifest")

    def open(self, fingerprint: str) -> Artifact:
        """The verified artifact whose fingerprint starts with `fingerprint`. Raises ArtifactError if not just one."""
        matches = [a for a in self.list() if a.fingerprint.startswith(fingerprint)]
        if len(matches) != 1:
            what = "no artifact" if not matches else f"{len(matches)} artifacts"
            raise ArtifactError(f"{what} in {self.root} start with {fingerprint!r}; see `tsrec artifacts list`")
        return self.verified(matches[0])

    def verified(self, artifact: Artifact) -> Artifact:
        """A listed artifact with its files checked, and fetched where it is only remote.

        Raises:
            ArtifactError: it is gone, or a file does not match its hash.
        """
        found = self.find(artifact.manifest.key)
        if found is None:
            raise ArtifactError(f"{artifact.path}: gone or damaged; run the pipeline again")
        return found

    def delete(self, key: ArtifactKey) -> None:
        """Remove an artifact, its manifest first, so that a half-removed one does not exist."""
        final = self.root / key.path
        with locks.hold(final):
            if self.remote:
                self.remote.delete(key.path)
            if final.is_symlink():
                final.unlink()  # what it leads to is somebody else's
                return
            (final / MANIFEST_NAME).unlink(missing_ok=True)
            shutil.rmtree(final, ignore_errors=True)

    def is_in_use(self, path: Path) -> bool:
        """Whether somebody, here or on another machine, works on an artifact or on a leftover of it now (`locks`)."""
        with locks.hold_if_free(path.with_suffix("")) as free:
            return not free

    def leftovers(self) -> Iterator[Path]:
        """Partial, half-fetched and corrupt folders that killed or damaged runs left behind; nothing that only has
        such a suffix."""
        for suffix in (PARTIAL, INCOMING, CORRUPT):
            for path in sorted(self.root.glob(f"*/*/*{suffix}")):
                if is_artifact_path(path.with_suffix("").relative_to(self.root).as_posix()):
                    yield path

    def _sound(self, key: ArtifactKey) -> Artifact | None:
        """The local artifact where there is one that passes its check. Changes nothing."""
        path = self.root / key.path
        if not (path / MANIFEST_NAME).is_file():
            return None
        try:
            artifact = Artifact(path, Manifest.read(path / MANIFEST_NAME))
            artifact.verify()
        except (ArtifactError, OSError) as error:  # OSError: another process is putting it in place or removing it
            logger.warning("%s; it will be rebuilt, the damaged copy set aside", error)
            return None
        return artifact

    def _settle(self, key: ArtifactKey) -> Artifact | None:
        """Under the lock: the artifact that mirror and remote agree on afterwards; None where neither has it whole."""
        sound = self._sound(key)
        if sound or self.remote is None:
            return sound and self._share(sound)
        while published := self.remote.newest(key.path):
            fetched = self._fetch(key, published)
            if fetched:
                return fetched
        return None

    def _share(self, artifact: Artifact, instead_of: Artifact | None = None) -> Artifact:
        """Under the lock: upload a local artifact, or put what another machine uploaded first in its place; one that
        was made `instead_of` another replaces that one."""
        if self.remote is None:
            return artifact
        key = artifact.manifest.key
        while True:
            published = self.remote.publish(key.path, artifact.path, artifact.manifest, over=instead_of is not None)
            if _agree(artifact, published):
                return artifact
            fetched = self._fetch(key, published)
            if fetched:
                return fetched

    def _fetch(self, key: ArtifactKey, published: Published) -> Artifact | None:
        """Under the lock: copy an artifact from the remote into the mirror; None where that copy is damaged."""
        assert self.remote is not None
        final = self.root / key.path
        incoming = final.with_suffix(INCOMING)
        discard(incoming)
        try:
            self.remote.download(key.path, published, incoming)
        except CorruptArtifactError as error:
            logger.warning("%s; it will be rebuilt, the damaged copy stays where it is", error)
            return None
        _put_in_place(incoming, final)
        return Artifact(final, published.manifest)

    def _manifests(self, dataset: str, stage: str) -> Iterator[Manifest]:
        for path in sorted(self.root.glob(f"{dataset}/{stage}/*/{MANIFEST_NAME}")):
            if path.parent.suffix:
                continue  # .partial and .corrupt do not exist
            try:
                yield Manifest.read(path)
            except ArtifactError as error:
                logger.warning("%s", error)


def _open_partial(path: Path) -> ArtifactWriter:
    """Open the sibling that an artifact is built in; only the `work` folder of an earlier attempt is kept."""
    if path.is_symlink():  # others may write to a store; nothing is emptied or written where their links lead
        path.unlink()
    path.mkdir(parents=True, exist_ok=True)
    for child in path.iterdir():
        if child.name != WORK_NAME or child.is_symlink():
            discard(child)
    return ArtifactWriter(path)


def _finish(partial: Path, manifest: Manifest) -> None:
    """Write the manifest and force everything to the disk."""
    shutil.rmtree(partial / WORK_NAME, ignore_errors=True)
    (partial / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    for path in sorted(partial.rglob("*")):
        flush(path)
    flush(partial)


def _put_in_place(folder: Path, final: Path) -> None:
    """Under the lock: rename a whole artifact to its final name; what lies there is set aside."""
    if final.is_symlink():
        final.unlink()
    elif final.exists():
        aside = final.with_suffix(CORRUPT)
        discard(aside)
        final.rename(aside)
    folder.rename(final)
    flush(final.parent)


def _agree(artifact: Artifact | None, published: Published | None) -> bool:
    """Whether mirror and remote hold the same files, or both nothing."""
    if artifact is None or published is None:
        return artifact is None and published is None
    return artifact.manifest.files == published.files
