"""The manifest: one JSON file that says what an artifact is, what it was made from and what it must hash to.

Others may write to a store. What a manifest or a note names becomes a path, so names are checked when they are read.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from tsrec.errors import ArtifactError
from tsrec.store.fingerprint import fingerprint

MANIFEST_NAME = "manifest.json"
SHARED = "shared"  # in place of a data set's name: artifacts that depend on no data; no data set may be called so
_BASE = "base"

Count = int | float | str

DATASET_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Dataset = Annotated[str, StringConstraints(pattern=DATASET_PATTERN)]
StageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,64}$")]

ARTIFACT_PATH_PATTERN = r"^[a-z0-9][a-z0-9._-]*/[a-z0-9_-]+/[a-z0-9]+$"


def is_artifact_path(path: str) -> bool:
    """Whether an artifact could lie at `path`, relative to a store; anything else there is not the store's."""
    return bool(re.fullmatch(ARTIFACT_PATH_PATTERN, path))


def _stays_inside(name: str) -> str:
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{name!r} is no path to a file inside the artifact")
    return name


FileName = Annotated[str, AfterValidator(_stays_inside)]
"""Path of a file, relative to its artifact, with `/` between folders."""


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

    dataset: Dataset
    stage: StageName
    fingerprint: Fingerprint
    stage_version: int
    config: dict[str, Any]
    parents: dict[str, Fingerprint]
    raw_inputs: dict[str, str]

    @classmethod
    def from_inputs(
        cls,
        dataset: str,
        stage: str,
        version: int,
        config: dict[str, Any],
        parents: dict[str, str],
        raw_inputs: dict[str, str] | None = None,
    ) -> "ArtifactKey":
        """The key of the artifact that a stage makes from these inputs; arguments as of `fingerprint`."""
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
    files: dict[FileName, FileEntry]
    counts: dict[str, Count]
    created: str
    seconds: float
    host: str
    python: str
    libraries: dict[str, str]
    threads: int | None = None  # this and the next: not known of older artifacts
    processor: str | None = None

    def to_json(self) -> str:
        """Indented JSON, for people too."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read and validate. Raises ArtifactError where the file is missing, cut off, of another form or elsewhere."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path}: not a valid manifest: {error}") from None
        return cls.parse(content, path.as_posix())

    @classmethod
    def parse(cls, content: bytes, place: str) -> Self:
        """The manifest whose JSON lies at `place`, a path that ends in `<dataset>/<stage>/<fingerprint>/<name>`.

        Raises:
            ArtifactError: it is cut off, of another form, names files outside its folder, or is another folder's.
        """
        try:
            manifest = cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ArtifactError(f"{place}: not a valid manifest: {where}: {first['msg']}") from None
        if place.split("/")[-4:-1] != manifest.key.path.split("/"):
            raise ArtifactError(f"{place}: says that it is {manifest.key.path}; move it there, or delete it")
        return manifest
