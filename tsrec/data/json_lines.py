"""JSON in batches: one object a line (or one Python literal, as Amazon's metadata of 2014 is), or one array of
objects."""

import ast
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tsrec.data.compressed_files import open_text
from tsrec.errors import DataError

_EXPECTED = "expected one object a line, or one array of objects in the whole file"
_ROWS = 20_000  # a review's whole text is parsed before its few wanted fields are taken


def read(path: Path, encoding: str, wanted: Collection[str]) -> Iterator[tuple[pd.DataFrame, tuple[str, ...]]]:
    """Yield batches of the wanted fields, and the names of all fields of a batch. Values stay what JSON says.

    Raises:
        DataError: a line or entry is no object; names it.
    """
    rows: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for row in _array(path, encoding) if _is_array(path, encoding) else _lines(path, encoding):
        names.update(dict.fromkeys(map(str, row)))
        rows.append({name: row[name] for name in wanted if name in row})
        if len(rows) == _ROWS:
            yield _frame(rows), tuple(names)
            rows = []
    if rows:
        yield _frame(rows), tuple(names)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    # Columns of objects: where one row lacks a number, pandas would make 7.0 of all others' 7.
    return pd.DataFrame(rows, index=pd.RangeIndex(len(rows)), dtype=object)


def _is_array(path: Path, encoding: str) -> bool:
    """Does the text begin with an array of objects? One that ends within its line is left to `_lines`."""
    with open_text(path, encoding) as stream:
        first = next((line.strip() for line in stream if line.strip()), "")
    return first.startswith("[") and (first == "[" or first[1:].lstrip().startswith("{"))


def _array(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    with open_text(path, encoding) as stream:
        try:
            entries = json.load(stream)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: not a JSON array of objects: {error}") from None
    yield from (_object(entry, f"{path}: entry {number}") for number, entry in enumerate(entries, start=1))


def _lines(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    row, n_rows = {}, 0
    with open_text(path, encoding) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                row = _object(_json_or_literal(line), f"{path}: line {number}")
            except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
                raise DataError(f"{path}: line {number}: not a JSON object: {error}; {_EXPECTED}") from None
            n_rows += 1
            yield row
    if n_rows == 1 and len(row) > 1 and all(isinstance(value, dict) for value in row.values()):
        raise DataError(f"{path}: one object holds the whole table; {_EXPECTED} (pandas: orient='records', lines=True)")


def _object(row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected a JSON object, found a {type(row).__name__}")
    return row


def _json_or_literal(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        try:
            return ast.literal_eval(line.strip())
        except (ValueError, SyntaxError):
            raise error from None  # what JSON misses is the likelier fault
