"""Reading raw files in batches, with errors that name file, row and field. Knows formats, not data sets."""

import ast
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.errors import DataError

_ROWS = 200_000
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".inter", ".item")


def file_format(path: Path) -> str:
    """`.csv`, `.jsonl` ...: the suffix that says how to read a file, whether or not it is gzipped."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix in _SUFFIXES), "")


def find_file(folder: Path, stems: tuple[str, ...], name: str | None, field: str) -> Path:
    """The file `name` in `folder`, or else the only readable one whose name holds one of `stems`.

    Raises:
        DataError: none, or more than one.
    """
    if name is not None:
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: no such file (ingest.{field})")
        return path
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; set ingest.path to the folder that holds the raw files")
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and file_format(path) and any(stem in path.name.lower() for stem in stems)
    ]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(
            f"{folder}: expected one file named like {' or '.join(stems)}, found {names}; set ingest.{field}"
        )
    return found[0]


def read_batches(path: Path, lenient_json: bool = False) -> Iterator[pd.DataFrame]:
    """Yield the rows of a CSV, TSV, JSON-lines, Parquet or RecBole atomic file, in batches.

    Args:
        path: the file, gzipped or not.
        lenient_json: also accept lines that are Python literals (Amazon 2014 metadata is).

    Raises:
        DataError: the file is missing, cut off, not UTF-8, or has a line that cannot be parsed.
    """
    kind = file_format(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if kind == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(_ROWS):
                yield batch.to_pandas()
        elif kind in (".csv", ".tsv", ".inter", ".item"):
            yield from _read_separated(path, "," if kind == ".csv" else "\t")
        elif kind:
            yield from _read_json_lines(path, lenient_json)
        else:
            raise DataError(f"{path}: unknown format; expected one of {', '.join(_SUFFIXES)}, gzipped or not")
    except EOFError:
        raise DataError(f"{path}: the gzip stream ends too early; the file is cut off, fetch it again") from None
    except gzip.BadGzipFile as error:
        raise DataError(f"{path}: not a gzip file: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it first") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from None


def require_columns(frame: pd.DataFrame, columns: dict[str, str], path: Path) -> None:
    """Raises DataError naming the first of `columns` (ours -> theirs) that the file lacks."""
    for ours, theirs in columns.items():
        if theirs not in frame.columns:
            found = ", ".join(map(str, frame.columns))
            raise DataError(f"{path}: no column {theirs!r} (for {ours}); it has {found}; map it in ingest.*_columns")


def _read_separated(path: Path, separator: str) -> Iterator[pd.DataFrame]:
    # RecBole writes no quotes; a lone one in a title must not swallow lines.
    quoting = 0 if separator == "," else 3
    try:
        with pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, chunksize=_ROWS, quoting=quoting, encoding="utf-8"
        ) as reader:
            yield from reader
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty") from None
    except pd.errors.ParserError as error:
        raise DataError(f"{path}: unparsable line: {error}") from None


def _read_json_lines(path: Path, lenient: bool) -> Iterator[pd.DataFrame]:
    parse: Callable[[str], Any] = _parse_lenient if lenient else json.loads
    opener = gzip.open if path.suffix == ".gz" else Path.open
    rows: list[dict[str, Any]] = []
    with opener(path, "rt", encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = parse(line)
            except (ValueError, SyntaxError) as error:
                raise DataError(f"{path}: line {number}: not a JSON object: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {number}: expected a JSON object, found a {type(row).__name__}")
            rows.append(row)
            if len(rows) == _ROWS:
                yield pd.DataFrame(rows)
                rows = []
    if rows:
        yield pd.DataFrame(rows)


def _parse_lenient(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line)
