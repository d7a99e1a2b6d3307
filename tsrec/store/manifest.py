"""The manifest: one JSON file that says what an artifact is, what it was made from and what it must hash to."""

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tsrec.errors import ArtifactError
from tsrec.store.fingerprint import fingerprint

MANIFEST_NAME = "manifest.json"
SHARED = "shared"  # in place of a data set's name: artifacts that depend on no data; no data set may be called so
_BASE = "base"
_LIBRARIES = (
    "tsrec",
    "torch",
    "transformers",
    "sentence-transformers",
    "faiss-cpu",
    "pandas",
    "pyarrow",
    "numpy",
)

Count = int | float | str


def base_role(stage: str) -> str:
    """The role of an artifact of `stage` that another extends, among its parents. No variant may be called so."""
    return f"{stage}:{_BASE}"


def is_base(role: str) -> bool:
    """Whether a parent of this role was extended, or only looked back at."""
    return role.partition(":")[2] == _BASE


class FileEntry(BaseModel):
    """One stored file: its size in bytes, its SHA-256, and for Parquet its rows and columns."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    n_bytes: int
    n_rows: int | None = None
    columns: dict[str, str] | None = None


class ArtifactKey(BaseModel):
    """Where an artifact lives and everything its fingerprint covers."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    stage: str
    fingerprint: str
    stage_version: int
    config: dict[str, Any]
    parents: dict[str, str]
    raw_inputs: dict[str, str]

    @classmethod
    def covering(
        cls,
        dataset: str,
        stage: str,
        version: int,
        config: dict[str, Any],
        parents: dict[str, str],
        raw_inputs: dict[str, str] | None = None,
    ) -> "ArtifactKey":
        """The key with the fingerprint of what is given; arguments as of `fingerprint`."""
        raw = raw_inputs or {}
        return cls(
            dataset=dataset,
            stage=stage,
            fingerprint=fingerprint(stage, version, config, parents, raw),
            stage_version=version,
            config=config,
            parents=parents,
            raw_inputs=raw,
        )

    @property
    def path(self) -> str:
        """The artifact's directory, relative to the store."""
        return f"{self.dataset}/{self.stage}/{self.fingerprint}"


class Manifest(BaseModel):
    """What `manifest.json` holds."""

    model_config = ConfigDict(frozen=True)

    key: ArtifactKey
    files: dict[str, FileEntry]
    counts: dict[str, Count]
    created: str
    seconds: float
    host: str
    python: str
    libraries: dict[str, str]

    def to_json(self) -> str:
        """Indented JSON, for people too."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read and validate. Raises ArtifactError where the file is missing, cut off or of another form."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ArtifactError(f"{path}: not a valid manifest: {error}") from None


def host_facts() -> Mapping[str, Any]:
    """Host, Python and library versions, as the manifest records them."""
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"host": platform.node(), "python": platform.python_version(), "libraries": libraries}
