"""A remote store (any fsspec URL) behind a local mirror.

Each upload of an artifact goes into a folder of its own, so that two machines never mix their files, and exists for
readers once a manifest names it. A manifest is only ever created, never overwritten: of two machines that build one
artifact the first to write it wins, and the other uses the winner's. Where all readers would find damage, a rebuilt
copy is added under the next manifest name (`manifest-2.json`). Readers delete nothing.

Work folders stay on the machine that builds: a killed stage resumes inside on the same machine, and starts that stage
again elsewhere. Only shards that other processes made lie in the remote (`shared_shards`).
"""

import contextlib
import glob
import hashlib
import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import uuid4

from pydantic import StringConstraints

from tsrec.errors import ArtifactError, ConfigError, CorruptArtifactError, TsrecError
from tsrec.machine.addresses import open_filesystem
from tsrec.machine.local_cache import local_cache
from tsrec.store.disk_errors import explain_disk_errors
from tsrec.store.fingerprint import file_sha256
from tsrec.store.manifest import MANIFEST_NAME, Manifest, is_artifact_path
from tsrec.store.work_files import write_text_whole

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MANIFEST_NAMES = re.compile(r"manifest(?:-(\d+))?\.json")
UPLOAD = "upload-"
_UPLOAD_PATTERN = rf"{UPLOAD}[0-9A-Za-z-]+"
_MOMENT = "%Y%m%dT%H%M%S"
_ATTEMPTS = 4  # at one transfer, beyond those that fsspec's file system makes itself
_FIRST_PAUSE_S = 0.2
_WHAT_NEXT = "is it up, and are address and credentials right? Run the same command again to go on"


class Published(Manifest):
    """One copy of an artifact in the remote: its manifest, and the folder beside it that its files lie in."""

    upload: Annotated[str, StringConstraints(pattern=rf"^({_UPLOAD_PATTERN})?$")] = ""

    @property
    def manifest(self) -> Manifest:
        """The manifest as the mirror holds it."""
        return Manifest(**self.model_dump(exclude={"upload"}))


class RemoteMirror:
    """Uploads to and downloads from `url`; `cache` is the local folder that mirrors it."""

    def __init__(self, url: str) -> None:
        self.url = url
        # Without a cache of listings: other machines write too.
        self.filesystem, self.base = open_filesystem(url, "store", use_listings_cache=False)
        if glob.has_magic(self.base):  # it would be found, and removed, as a pattern
            raise ConfigError(f"store: {url}: the address of a store holds no *, ? or [")
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.cache = local_cache("stores") / digest
        with explain_disk_errors(self.cache):
            self.cache.mkdir(parents=True, exist_ok=True)
        self._damaged: set[tuple[str, str]] = set()  # artifact and upload

    def newest(self, relative: str) -> Published | None:
        """The copy of an artifact that counts, or None. Copies that this process found damaged do not.

        Raises ArtifactError where the remote cannot be reached; so do all methods.
        """
        with self._reached():
            return self._newest(relative, self._manifest_paths(relative))

    def _newest(self, relative: str, paths: dict[int, str]) -> Published | None:
        for _, path in sorted(paths.items(), reverse=True):
            published = self._read(path)
            if published and (relative, published.upload) not in self._damaged:
                return published
        return None

    def publish(self, relative: str, folder: Path, manifest: Manifest, *, over: bool = False) -> Published:
        """Copy the finished artifact in `folder` up, unless another was first; say which copy counts now.

        `over`: what is there already is to be replaced.
        """
        with self._reached():
            # The name for our manifest is fixed by this one look: if it is taken when we are done, another was first.
            paths = self._manifest_paths(relative)
            first = self._newest(relative, paths)
        if first and not over:
            return first
        number = max(paths, default=0) + 1
        upload = new_upload()
        for name in manifest.files:
            self.put(folder / name, f"{relative}/{upload}/{name}")
        ours, path = Published(**manifest.model_dump(), upload=upload), self._manifest_path(relative, number)

        def create() -> Published:
            try:
                self.filesystem.pipe_file(path, ours.to_json().encode(), mode="create")
            except Exception:
                first = self._newest(relative, self._manifest_paths(relative))
                if first is None:
                    raise
                return first  # another machine's; or ours, where only the answer to our request was lost
            # Some stores ignore that it is to be created, and overwrite: what lies there counts.
            return self._read(path) or ours

        published = self._patiently(f"writing the manifest of {relative}", create)
        if published.upload != upload:
            logger.info("%s: another machine finished first; using its copy", relative)
            self.remove_upload(f"{relative}/{upload}")
        return published

    def download(self, relative: str, published: Published, folder: Path) -> None:
        """Copy an artifact down into the new folder `folder`, its manifest last.

        Raises:
            CorruptArtifactError: the remote's copy is damaged; it stays where it is, and counts no longer here.
        """
        try:
            for name, entry in published.files.items():
                source = "/".join(part for part in (self.base, relative, published.upload, name) if part)
                self._patiently(f"fetching {source}", partial(self._get, source, folder / name, entry.sha256))
        except CorruptArtifactError:
            self._damaged.add((relative, published.upload))
            raise
        write_text_whole(folder / MANIFEST_NAME, published.manifest.to_json())

    def manifests(self, dataset: str = "*", stage: str = "*") -> list[Manifest]:
        """All manifests, or those of a data set or stage, for listings. They stay out of the mirror: there a manifest
        means that its files are too."""
        by_folder: dict[str, dict[int, str]] = defaultdict(dict)
        with self._reached():
            for path in self.filesystem.glob(f"{self.base}/{dataset}/{stage}/*/manifest*.json"):
                by_folder[path.rsplit("/", 1)[0]].update(_numbered([path]))
            found = []
            for _, paths in sorted(by_folder.items()):
                copies = (self._read(path) for _, path in sorted(paths.items(), reverse=True))
                found.extend([copy.manifest for copy in copies if copy][:1])
        return found

    def delete(self, relative: str) -> None:
        """Remove an artifact from the remote, its manifests first. Another machine's upload at work is left alone."""
        with self._reached():
            paths = self._manifest_paths(relative)
            copies = [self._read(path) for path in paths.values()]
            for path in paths.values():
                self.filesystem.rm_file(path)
            for copy in copies:
                if copy and copy.upload:
                    self.remove_upload(f"{relative}/{copy.upload}")
                for name in copy.files if copy and not copy.upload else ():
                    with contextlib.suppress(FileNotFoundError):
                        self.filesystem.rm_file(f"{self.base}/{relative}/{name}")  # `rm` takes names for patterns

    def abandoned_uploads(self, age: timedelta) -> list[str]:
        """Uploads that no manifest names and that began longer ago than `age`, relative to the store. What no upload of
        ours is called is none: `upload-*` would be removed as a pattern."""
        found = []
        with self._reached():
            for path in self.filesystem.glob(f"{self.base}/*/*/*/{UPLOAD}*"):
                folder, upload = path.rstrip("/").removeprefix(f"{self.base}/").rsplit("/", 1)
                if not (is_artifact_path(folder) and re.fullmatch(_UPLOAD_PATTERN, upload)):
                    continue
                if _began(upload) >= datetime.now(UTC) - age:
                    continue
                copies = map(self._read, self._manifest_paths(folder).values())
                if upload not in {copy.upload for copy in copies if copy}:
                    found.append(f"{folder}/{upload}")
        return found

    def put(self, local: Path, relative: str) -> None:
        """Copy one file up, and check that all of it arrived."""
        target = f"{self.base}/{relative}"

        def put() -> None:
            self.filesystem.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self.filesystem.put_file(str(local), target)
            n_bytes = self.filesystem.info(target)["size"]
            if n_bytes != local.stat().st_size:
                raise OSError(f"only {n_bytes} of {local.stat().st_size} bytes arrived")

        self._patiently(f"storing {target}", put)

    def get(self, relative: str, local: Path) -> None:
        """Copy one file down; who asks for it checks it."""
        source = f"{self.base}/{relative}"
        self._patiently(f"fetching {source}", lambda: self.filesystem.get_file(source, str(local)))

    def remove_upload(self, relative: str) -> None:
        """Remove one upload's folder: an own one that lost, one whose manifests are gone, or an abandoned one."""
        with self._reached():
            if self.filesystem.exists(f"{self.base}/{relative}"):
                self.filesystem.rm(f"{self.base}/{relative}", recursive=True)

    def write_note(self, relative: str, text: str) -> None:
        """Write a small file, over an older one of that name."""
        target = f"{self.base}/{relative}"
        with self._reached():
            self.filesystem.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self.filesystem.pipe_file(target, text.encode())

    def names(self, pattern: str) -> list[str]:
        """Paths relative to the store, in order, of what matches a glob."""
        with self._reached():
            return sorted(path.removeprefix(f"{self.base}/") for path in self.filesystem.glob(f"{self.base}/{pattern}"))

    def notes(self, pattern: str) -> dict[str, bytes]:
        """Path relative to the store -> content of the small files that match a glob."""
        names = self.names(pattern)
        with self._reached():
            found: dict[str, bytes] = {}
            for name in names:
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # removed since it was listed
                    found[name] = self.filesystem.cat_file(f"{self.base}/{name}")
            return found

    def remove_note(self, relative: str) -> None:
        """Remove a small file, where it is still there."""
        with self._reached(), contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(f"{self.base}/{relative}")

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Say in words that the remote did not answer; each file system fails with errors of its own library."""
        try:
            yield
        except TsrecError:
            raise
        except Exception as error:
            raise ArtifactError(f"store {self.url}: {_said(error)}; {_WHAT_NEXT}") from error

    def _manifest_paths(self, relative: str) -> dict[int, str]:
        """Number -> path of every manifest in an artifact's folder."""
        try:
            return _numbered(self.filesystem.ls(f"{self.base}/{relative}", detail=False))
        except FileNotFoundError:
            return {}

    def _manifest_path(self, relative: str, number: int) -> str:
        return f"{self.base}/{relative}/{MANIFEST_NAME if number == 1 else f'manifest-{number}.json'}"

    def _read(self, path: str) -> Published | None:
        try:
            return Published.parse(self.filesystem.cat_file(path), path)
        except FileNotFoundError:  # removed since it was listed
            return None
        except ArtifactError as error:
            logger.warning("%s", error)
            return None

    def _get(self, source: str, local: Path, sha256: str) -> None:
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.filesystem.get_file(source, str(local))
        except FileNotFoundError:
            raise CorruptArtifactError(f"{source}: missing, though its manifest lists it") from None
        if file_sha256(local) != sha256:
            raise CorruptArtifactError(f"{source}: does not match the hash in its manifest")

    def _patiently(self, what: str, transfer: Callable[[], T]) -> T:
        """Try a transfer several times. Each file system fails with errors of its own library: any is tried again."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return transfer()
            except Exception as error:
                if attempt < _ATTEMPTS and not isinstance(error, PermissionError):
                    logger.warning("%s: %s; trying again", what, _said(error))
                    time.sleep(_FIRST_PAUSE_S * 3 ** (attempt - 1))
                elif isinstance(error, CorruptArtifactError):
                    raise
                else:
                    raise ArtifactError(f"{what} failed: {_said(error)}; {_WHAT_NEXT}") from error
        raise AssertionError("unreachable")


def new_upload() -> str:
    """A name for an upload that begins now."""
    return f"{UPLOAD}{datetime.now(UTC).strftime(_MOMENT)}-{uuid4().hex[:12]}"


def _said(error: Exception) -> str:
    """An error of somebody's library, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _numbered(paths: Iterable[str]) -> dict[int, str]:
    names = {path: _MANIFEST_NAMES.fullmatch(path.rsplit("/", 1)[-1]) for path in paths}
    return {int(match[1] or 1): path for path, match in names.items() if match}


def _began(upload: str) -> datetime:
    """When an upload began, by its name; long ago where that does not say."""
    try:
        moment = datetime.strptime(upload.removeprefix(UPLOAD).split("-")[0], _MOMENT)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment.replace(tzinfo=UTC)
