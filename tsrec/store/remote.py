"""A remote store (any fsspec URL) behind a local mirror.

An artifact's files go up first and its manifest last, so that a reader never sees half of one. Work folders stay on
the machine that builds: a killed stage resumes inside on the same machine, and starts that stage again elsewhere.
"""

import hashlib
from pathlib import Path

import fsspec

from tsrec.errors import ConfigError
from tsrec.store.manifest import MANIFEST_NAME, Manifest


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
        if not self.filesystem.exists(f"{self.base}/{relative}/{MANIFEST_NAME}"):
            return False
        local = self.cache / relative
        manifest = Manifest.read(self._get(f"{relative}/{MANIFEST_NAME}", local.with_suffix(".manifest")))
        for name in manifest.files:
            self._get(f"{relative}/{name}", local / name)
        local.with_suffix(".manifest").replace(local / MANIFEST_NAME)
        return True

    def fetch_manifests(self) -> None:
        """Copy all manifests down, for listings; `find` fetches the rest when it is wanted."""
        for path in self.filesystem.glob(f"{self.base}/*/*/*/{MANIFEST_NAME}"):
            relative = str(path).removeprefix(self.base).lstrip("/")
            if not (self.cache / relative).exists():
                self._get(relative, self.cache / relative)

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
