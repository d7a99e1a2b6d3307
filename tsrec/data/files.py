"""Reading raw files in batches, with errors that name file, row and field. Knows formats, not data sets.

Rows are counted from 1 in every file, a header not among them; lines from 1, a header among them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
import pandas as pd

from tsrec.config import TableFormat
from tsrec.data import json_lines, parquet
from tsrec.data.compressed_files import PACKED, inner_name, is_packed, no_rows, unpacking
from tsrec.data.delimited_text import Batches, DelimitedFile
from tsrec.data.event_types import EventTypeFilter
from tsrec.data.format_hints import likely_encoding, undecodable_line
from tsrec.errors import DataError

_SEPARATED = (".csv", ".tsv", ".inter", ".item", ".dat", ".data", ".txt")
_JSON = (".jsonl", ".json", ".ndjson")
_PARQUET = (".parquet", ".pq")
_SUFFIXES = (*_SEPARATED, *_JSON, *_PARQUET)
_SHOWN_CHARS = 40
_LONGEST_VALUE = 120  # characters
_SAMPLE_ROWS = 100
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class RawFile:
    """A file to read: its place, its name within the data (the same on every machine), and the split that its name
    gives to all its rows, if any. `fetched`: a copy of what a URL names, in the machine's own cache. `is_log` where
    items are taken out of a file of interactions."""

    path: Path
    name: str
    split: str | None = None
    fetched: bool = False
    is_log: bool = False


@dataclass(frozen=True)
class Batch:
    """Rows of one file: the wanted columns of them, the number of the first one, all columns that the file has. The
    index of `rows` says how many rows after the first one each stands.

    Where `ingest.keep` chose among them: what chose, and how many it left out."""

    rows: pd.DataFrame
    path: Path
    first_row: int
    columns: tuple[str, ...]
    event_types: EventTypeFilter | None = None
    n_left_out: int = 0

    def row(self, values: pd.Series, found: np.ndarray) -> int:
        """The number of the first row that is `found` (E,) among `values`, a column of this batch or some of it."""
        return self.first_row + int(values.index[np.argmax(found)])

    def refuse(
        self, values: pd.Series, bad: np.ndarray, problem: str, hint: Callable[[pd.Series], str] = lambda _: ""
    ) -> None:
        """Raises DataError where a value is `bad` (E,), which names the first: its row, field, and its `problem`."""
        if bad.any():
            shown = repr(values.iloc[np.argmax(bad)])
            shown = shown if len(shown) <= _LONGEST_VALUE else shown[:_LONGEST_VALUE] + "..."
            place = f"{self.path}: row {self.row(values, bad)}, field {values.name}"
            raise DataError(f"{place}: {shown} is not {problem}{hint(values)}")


@dataclass
class Tally:
    """How many rows have something, and the first of them, in words."""

    n: int = 0
    example: str = ""

    def add(self, batch: Batch, values: pd.Series, found: np.ndarray) -> None:
        """Count the `found` (E,) among `values`, a column of the batch or some of it."""
        self.n += int(found.sum())
        if found.any() and not self.example:
            value = values.iloc[np.argmax(found)]
            shown = repr(value) if isinstance(value, str) else "nothing"
            self.example = f"e.g. {shown} in row {batch.row(values, found)} of {batch.path.name}"


def file_format(path: Path) -> str:
    """`.csv`, `.jsonl` ...: the suffix that says how to read a file, packed or not; empty where unknown. A part file
    without any takes its folder's (`items.csv/part-00000`)."""
    inner = inner_name(path) if is_packed(path) else path
    suffix = (inner.suffix or path.parent.suffix).lower()
    return suffix if suffix in _SUFFIXES else ""


def is_separated(path: Path) -> bool:
    """Whether a header line names the columns, and not each value or the file itself."""
    return file_format(path) not in (*_JSON, *_PARQUET)


def read_batches(files: Sequence[RawFile], form: TableFormat, wanted: Collection[str], section: str) -> Iterator[Batch]:
    """Yield the rows of CSV, TSV, JSON, Parquet or RecBole atomic files, file by file, in batches.

    Args:
        files: the files in order, packed or not.
        form: how separated text and JSON are written.
        wanted: columns that are kept, where a file has them.
        section: the setting that holds `form`, for messages.

    Raises:
        DataError: a file is missing, cut off, in another encoding, or has a row that cannot be parsed.
    """
    for file in files:
        if len(files) > 1 and file.path.is_file() and file.path.stat().st_size == 0:
            continue  # an empty partition
        first_row = 1
        partition = _partition(file.name)
        for rows, columns in _read(file.path, form, wanted, section):
            for name, value in partition.items():
                if name in wanted and name not in rows:
                    rows[name] = value
            yield Batch(rows, file.path, first_row, (*columns, *partition))
            first_row += len(rows)


def first_rows(batch: Batch, form: TableFormat, section: str) -> pd.DataFrame:
    """The first rows of the batch's file with all columns that have a name of their own, for messages."""
    named = {name for name in batch.columns if batch.columns.count(name) == 1}
    rows, _ = next(_read(batch.path, form, named, section))
    return rows[:_SAMPLE_ROWS]


def named_columns(
    batch: Batch, names: Mapping[str, tuple[str, ...]], needed: Collection[str], hint: str
) -> pd.DataFrame:
    """The columns of a batch under our names.

    Args:
        batch: rows as they stand in the file.
        names: our column name -> the names it may have in the file, the preferred one first.
        needed: our names that have to be there; the others may be missing.
        hint: what to do about a missing column.

    Raises:
        DataError: a needed column is missing.
    """
    columns = {}
    for ours, candidates in names.items():
        theirs = next((name for name in candidates if name in batch.rows), None)
        if theirs is not None:
            columns[ours] = batch.rows[theirs]
        elif ours in needed:
            found = ", ".join(map(_shown, batch.columns))
            raise DataError(f"{batch.path}: no column {' or '.join(candidates)} (for {ours}); it has {found}; {hint}")
    return pd.DataFrame(columns, index=batch.rows.index)


def _read(path: Path, form: TableFormat, wanted: Collection[str], section: str) -> Batches:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    with unpacking(path):
        yield from _read_unpacked(path, form, wanted, section)


def _read_unpacked(path: Path, form: TableFormat, wanted: Collection[str], section: str) -> Batches:
    kind = file_format(path)
    try:
        if (kind not in _PARQUET or is_packed(path)) and (what := no_rows(path)):
            raise DataError(f"{path}: {what}")
        if kind in _PARQUET:
            yield from parquet.read(path, wanted)
        elif kind in _JSON:
            yield from json_lines.read(path, form.encoding, wanted)
        elif kind or form.separator is not None:
            yield from DelimitedFile(path, kind, form, section).read(wanted)
        else:
            raise DataError(
                f"{path}: unknown format; expected a name that ends in one of {', '.join(_SUFFIXES)}, packed "
                f"({', '.join(PACKED)}) or not; rename it where it is one of these; a file of separated fields is "
                f"read whatever its name where {section}.separator is set"
            )
    except UnicodeError:
        more = DelimitedFile(path, kind, form, section).hint() if kind in _SEPARATED else ""
        line = undecodable_line(path, form.encoding) or 1  # lines of UTF-16 cannot be told apart by their bytes
        raise DataError(
            f"{path}: line {line}: not {form.encoding.upper()}; set {section}.encoding={likely_encoding(path)} if that "
            f"is how the file is written, or convert the file{more}"
        ) from None


def _shown(name: str) -> str:
    short = name if len(name) <= _SHOWN_CHARS else f"{name[:10]}...{name[10 - _SHOWN_CHARS :]}"  # the ends differ
    return short if short.isprintable() else repr(short)


def _partition(name: str) -> dict[str, str | None]:
    """The columns that stand in the names of folders: `date=2026-11-25/part-0.parquet`."""
    pairs = (folder.split("=", 1) for folder in PurePosixPath(name).parts[:-1] if "=" in folder)
    return {key: None if value == _NULL_PARTITION else unquote(value) for key, value in pairs}
