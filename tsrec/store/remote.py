"""A remote store (any fsspec URL) behind a local mirror.

An artifact's files go up first and its manifest last, so that a reader never sees half of one. Work folders stay on
the machine that builds: a killed stage resumes inside on the same machine, and starts that stage again elsewhere.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import fsspec
from pydantic import ValidationError

from tsrec.errors import ConfigError
from tsrec.store.manifest import MANIFEST_NAME, Manifest

logger = logging.getLogger(__name__)


class RemoteMirror:
    """Uploads to and downloads from `url`; `cache` is the local folder that mirrors it."""

    def __init__(self, url: str) -> None:
        try:
            self.filesystem, self.base = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"store {url}: {error}; for S3 install the extra: pip install 'tsrec[s3]'") from None
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        self.cache = Path.home() / ".cache" / "tsrec" / "stores" / digest
        self.cache.mkdir(parents=True, exist_ok=True)

    def upload(self, relative: str, manifest: Manifest) -> None:
        """Copy a finished artifact up, its manifest last."""
        for name in [*manifest.files, MANIFEST_NAME]:
            target = f"{self.base}/{relative}/{name}"
            self.filesystem.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            self.filesystem.put_file(str(self.cache / relative / name), target)

    def download(self, relative: str) -> bool:
        """Copy an artifact down, its manifest last. False where the remote has none."""
        if not self.has(relative):
            return False
        local = self.cache / relative
        manifest = Manifest.read(self._get(f"{relative}/{MANIFEST_NAME}", local.with_suffix(".manifest")))
        for name in manifest.files:
            self._get(f"{relative}/{name}", local / name)
        local.with_suffix(".manifest").replace(local / MANIFEST_NAME)
        return True

    def has(self, relative: str) -> bool:
        """Whether the remote holds the artifact."""
        return bool(self.filesystem.exists(f"{self.base}/{relative}/{MANIFEST_NAME}"))

    def manifests(self) -> Iterator[Manifest]:
        """All manifests, for listings. They stay out of the mirror: there a manifest means that its files are too."""
        for path in sorted(self.filesystem.glob(f"{self.base}/*/*/*/{MANIFEST_NAME}")):
            try:
                yield Manifest.model_validate_json(self.filesystem.cat_file(path))
            except ValidationError as error:
                logger.warning("%s: not a valid manifest: %s", path, error)

    def delete(self, relative: str) -> None:
        """Remove an artifact from the remote, its manifest first."""
        target = f"{self.base}/{relative}"
        if self.filesystem.exists(f"{target}/{MANIFEST_NAME}"):
            self.filesystem.rm_file(f"{target}/{MANIFEST_NAME}")
        if self.filesystem.exists(target):
            self.filesystem.rm(target, recursive=True)

    def _get(self, relative: str, local: Path) -> Path:
        local.parent.mkdir(parents=True, exist_ok=True)
        self.filesystem.get_file(f"{self.base}/{relative}", str(local))
        return local
