"""Reading raw files in batches, with errors that name file, row and field. Knows formats, not data sets.

Rows are counted from 1, a header not among them; lines from 1, a header among them.
"""

import ast
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tsrec.config import IngestConfig
from tsrec.errors import ConfigError, DataError

_ROWS = 200_000
_JSON_ROWS = 20_000  # a review's whole text is parsed before its few wanted fields are taken
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}
_JSON = (".jsonl", ".json", ".ndjson")
_SUFFIXES = (*_SEPARATORS, *_JSON, ".parquet")


def find_file(
    config: IngestConfig,
    field: Literal["items_file", "interactions_file"],
    patterns: tuple[str, ...],
    other_than: Path | None = None,
) -> Path:
    """The file that `field` names within `ingest.path`, or else the only readable one that fits a pattern.

    Args:
        config: the stage's section.
        field: the field of the section that may name the file.
        patterns: shell patterns in lower case that a file's lower-cased name may fit.
        other_than: a file that is already taken.

    Raises:
        ConfigError: `ingest.path` is not set.
        DataError: no such folder or file, or several files that fit.
    """
    if config.path is None:
        raise ConfigError(f"ingest.path: source {config.source!r} needs the folder of the raw files")
    folder, name = Path(config.path).expanduser(), getattr(config, field)
    if name is not None:
        return folder / name
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; set ingest.path to the folder that holds the raw files")
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and path != other_than and file_format(path) and _fits(path, patterns)
    ]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(f"{folder}: expected one file {' or '.join(patterns)}, found {names}; set ingest.{field}")
    return found[0]


def _fits(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(path.name.lower(), pattern) for pattern in patterns)


def file_format(path: Path) -> str:
    """`.csv`, `.jsonl` ...: the suffix that says how to read a file, gzipped or not; empty where unknown."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes and suffixes[-1] in _SUFFIXES else ""


def read_batches(path: Path, python_literals: bool = False) -> Iterator[pd.DataFrame]:
    """Yield the rows of a CSV, TSV, JSON-lines, Parquet or RecBole atomic file, in batches.

    Args:
        path: the file, gzipped or not.
        python_literals: also accept lines that are Python literals, as Amazon's metadata of 2014 is.

    Raises:
        DataError: the file is missing, cut off, not UTF-8, or has a line that cannot be parsed.
    """
    kind = file_format(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if kind == ".parquet":
            yield from _read_parquet(path)
        elif kind in _JSON:
            yield from _read_json_lines(path, python_literals)
        elif kind:
            yield from _read_separated(path, _SEPARATORS[kind])
        else:
            raise DataError(f"{path}: unknown format; expected one of {', '.join(_SUFFIXES)}, gzipped or not")
    except EOFError:
        raise DataError(f"{path}: the gzip stream ends too early; the file is cut off, fetch it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: not a readable gzip file: {error}; fetch it again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: line {_undecodable_line(path)}: not UTF-8 ({error.reason}); convert it") from None


def named_columns(
    batch: pd.DataFrame, names: Mapping[str, tuple[str, ...]], needed: tuple[str, ...], path: Path, hint: str
) -> pd.DataFrame:
    """The columns of a batch under our names.

    Args:
        batch: rows as they stand in the file.
        names: our column name -> the names it may have in the file, the preferred one first.
        needed: our names that have to be there; the others may be missing.
        path: the file, for the message.
        hint: what to do about a missing column.

    Raises:
        DataError: a needed column is missing.
    """
    columns = {}
    for ours, candidates in names.items():
        theirs = next((name for name in candidates if name in batch.columns), None)
        if theirs is not None:
            columns[ours] = batch[theirs]
        elif ours in needed:
            found = ", ".join(map(str, batch.columns))
            raise DataError(f"{path}: no column {' or '.join(candidates)} (for {ours}); it has {found}; {hint}")
    return pd.DataFrame(columns, index=batch.index)


def _read_parquet(path: Path) -> Iterator[pd.DataFrame]:
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(_ROWS):
                yield batch.to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from None


def _read_separated(path: Path, separator: str) -> Iterator[pd.DataFrame]:
    # RecBole writes no quotes; a lone one in a title must not swallow lines.
    quoting = 0 if separator == "," else 3
    try:
        with pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, chunksize=_ROWS, quoting=quoting, encoding="utf-8"
        ) as reader:
            for batch in reader:
                if not isinstance(batch.index, pd.RangeIndex):  # pandas took a surplus first field for row labels
                    raise DataError(f"{path}: unparsable: rows have more fields than the header names")
                yield batch
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty") from None
    except pd.errors.ParserError as error:
        raise DataError(f"{path}: unparsable line: {str(error).removeprefix('Error tokenizing data. ')}") from None


def _read_json_lines(path: Path, python_literals: bool) -> Iterator[pd.DataFrame]:
    parse: Callable[[str], Any] = _parse_json_or_literal if python_literals else json.loads
    opener = gzip.open if path.suffix.lower() == ".gz" else Path.open
    rows: list[dict[str, Any]] = []
    with opener(path, "rt", encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = parse(line)
            except (ValueError, SyntaxError, RecursionError) as error:
                raise DataError(f"{path}: line {number}: not a JSON object: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {number}: expected a JSON object, found a {type(row).__name__}")
            rows.append(row)
            if len(rows) == _JSON_ROWS:
                yield pd.DataFrame(rows)
                rows = []
    if rows:
        yield pd.DataFrame(rows)


def _parse_json_or_literal(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line.strip())


def _undecodable_line(path: Path) -> int:
    """Number of the first line that is not UTF-8: readers report only a place within their buffer."""
    opener = gzip.open if path.suffix.lower() == ".gz" else Path.open
    with opener(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0
