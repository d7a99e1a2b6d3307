"""Reading and writing the files of one artifact. Knows nothing of stages."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.errors import ArtifactError, CorruptArtifactError
from tsrec.store.fingerprint import file_sha256
from tsrec.store.manifest import MANIFEST_NAME, SHARED, Count, FileEntry, Manifest
from tsrec.store.parquet_file import open_parquet
from tsrec.store.work_files import write_parquet

WORK_NAME = "work"
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Artifact:
    """A finished artifact: a local folder whose files match its manifest."""

    path: Path
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """The artifact's fingerprint."""
        return self.manifest.key.fingerprint

    @property
    def counts(self) -> dict[str, Count]:
        """What the stage counted: rows dropped, texts cut, calls failed ..."""
        return self.manifest.counts

    def has(self, name: str) -> bool:
        """Whether the artifact holds the table `name` (or the file or folder of that name)."""
        return (self.path / f"{name}.parquet").exists() or (self.path / name).exists()

    def file(self, name: str) -> Path:
        """Path of a stored file or folder. Raises ArtifactError where there is none."""
        path = self.path / name
        if not path.exists():
            raise ArtifactError(f"{self.path} holds no {name!r}; it has {', '.join(self.manifest.files)}")
        return path

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A stored table, whole."""
        return pq.read_table(self.file(f"{name}.parquet"), columns=columns)

    def frame(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        """A stored table as a data frame; list columns come out as numpy arrays."""
        return self.table(name, columns).to_pandas()

    def matrix(self, name: str, column: str) -> np.ndarray:
        """A column of a stored table, of equally long lists, as `matrix_of` gives it; read part by part into its place.

        Read at once, it would take four times the memory of the matrix.
        """
        parquet = open_parquet(self.file(f"{name}.parquet"))
        matrix, start = np.empty((0, 0)), 0
        for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=[column]):
            part = matrix_of(pa.Table.from_batches([batch]), column)
            if not start:
                matrix = np.empty((parquet.metadata.num_rows, part.shape[1]), dtype=part.dtype)
            matrix[start : start + len(part)] = part
            start += len(part)
        return matrix

    def json(self, name: str) -> Any:
        """The content of `<name>.json`."""
        return json.loads(self.file(f"{name}.json").read_text(encoding="utf-8"))

    def verify(self) -> None:
        """Check every file against the manifest. Raises CorruptArtifactError naming the first that differs."""
        for name, entry in self.manifest.files.items():
            path = self.path / name
            if not path.is_file():
                raise CorruptArtifactError(f"{path}: missing, though the manifest lists it")
            if path.stat().st_size != entry.n_bytes or file_sha256(path) != entry.sha256:
                raise CorruptArtifactError(f"{path}: does not match the hash in its manifest")


def matrix_of(table: pa.Table, column: str) -> np.ndarray:
    """A column of equally long lists as one (rows, length) array of the lists' own dtype."""
    values = table[column].combine_chunks()
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)


@dataclass
class ArtifactWriter:
    """What a stage writes to. Files appear in the store only when the stage has returned.

    `work` is a folder that survives a kill: shards and checkpoints kept there are found again by the next attempt
    at the same artifact, which checks them first (`work_files`). It is removed when the artifact is finished.
    """

    path: Path
    counts: dict[str, Count] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Scratch folder that outlives a killed attempt."""
        folder = self.path / WORK_NAME
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def common(self) -> Path:
        """A folder that all artifacts of this stage share, in the whole store: for what is costly and true for all.

        It may not exist yet. Garbage collection leaves it alone, and it is never shared with other machines.
        """
        stage = self.path.parent
        return stage.parents[1] / SHARED / stage.name

    def count(self, **counts: Count) -> None:
        """Record what was dropped, cut, failed or skipped; shown in the manifest and in the report."""
        self.counts.update(counts)

    def write_table(self, name: str, table: pa.Table | pd.DataFrame) -> None:
        """Write `<name>.parquet`."""
        if isinstance(table, pd.DataFrame):
            table = pa.Table.from_pandas(table, preserve_index=False)
        write_parquet(table.replace_schema_metadata(None), self.path / f"{name}.parquet")

    def table_writer(self, name: str, schema: pa.Schema) -> pq.ParquetWriter:
        """A writer of `<name>.parquet` for tables that do not fit in memory; use it in a `with` statement."""
        return pq.ParquetWriter(self.path / f"{name}.parquet", schema, compression="zstd")

    def write_json(self, name: str, value: Any) -> None:
        """Write `<name>.json`."""
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        (self.path / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def directory(self, name: str) -> Path:
        """A folder inside the artifact, for files that libraries write themselves (models)."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def entries(self) -> dict[str, FileEntry]:
        """Hash and describe every file written so far, `work` aside."""
        return {path.relative_to(self.path).as_posix(): _describe(path) for path in self._files()}

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.path.rglob("*")):
            relative = path.relative_to(self.path)
            if path.is_file() and relative.parts[0] != WORK_NAME and relative != Path(MANIFEST_NAME):
                yield path


def _describe(path: Path) -> FileEntry:
    rows, columns = None, None
    if path.suffix == ".parquet":
        parquet = open_parquet(path)
        rows = parquet.metadata.num_rows
        columns = {column.name: str(column.type) for column in parquet.schema_arrow}
    return FileEntry(sha256=file_sha256(path), n_bytes=path.stat().st_size, n_rows=rows, columns=columns)
