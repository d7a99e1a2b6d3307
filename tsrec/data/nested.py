"""Events nested in rows, as a session a line: `events.ts` is the field `ts` of each entry of the list `events`.

Knows columns, not files.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsrec.data.files import Batch
from tsrec.data.texts import structure_of
from tsrec.errors import DataError

_Tree = dict[str, Any]  # field -> the tree of its fields, or the whole dotted name where it is one that is wanted


def with_parents(names: Collection[str]) -> set[str]:
    """The names, and those of the columns that the dotted ones may stand in."""
    parts = [name.split(".") for name in names]
    return {".".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)}


def explode_nested(batch: Batch, names: Collection[str], item: Collection[str]) -> Batch:
    """The batch with a column for each dotted name that is found in it.

    Where the item's id (`item`: the names it may have) is such a name, lists become a row for each entry, with the
    other columns and the number of their row repeated. Else rows stay rows, and what a list holds becomes a list. A
    list that a name ends at stays a value.

    Raises:
        DataError: two lists stand beside each other in one row; names them.
    """
    rows, tree = batch.rows, _Tree()
    into_rows = any(name not in rows and _column_of(name, rows) for name in item)
    if not into_rows and len(names) > 1:
        for name in sorted(names):  # each by itself: lists beside each other need not belong together
            batch = explode_nested(batch, [name], item)
        return batch
    for name in sorted(names):
        column = None if name in rows else _column_of(name, rows)
        if column is not None:
            branch = tree.setdefault(column, {})
            *between, last = name[len(column) + 1 :].split(".")
            for field in between:
                branch = branch.setdefault(field, {})
            branch[last] = name
    if not tree:
        return batch
    found: list[dict[str, Any]] = []
    n_each = np.zeros(len(rows), dtype=np.int64)
    for place, values in enumerate(zip(*(rows[column] for column in tree), strict=True)):
        try:
            entries, is_list = _entries(dict(zip(tree, values, strict=True)), tree)
        except ValueError as error:
            raise DataError(f"{batch.path}: row {batch.first_row + place}: {error}") from None
        if is_list and not into_rows:
            present = dict.fromkeys(name for entry in entries for name in entry)
            entries = [{name: [entry[name] for entry in entries if name in entry] for name in present}]
        n_each[place] = len(entries)
        found += entries
    result = rows.take(np.repeat(np.arange(len(rows)), n_each))
    for name in dict.fromkeys(name for entry in found for name in entry):
        result[name] = pd.Series([entry.get(name) for entry in found], dtype=object).to_numpy()
    return replace(batch, rows=result)


def dotted_names(rows: pd.DataFrame) -> list[str]:
    """What lists of objects and objects in the first rows hold, by dotted names."""
    names: dict[str, None] = {}
    for column in rows:
        first = next((value for value in rows[column] if structure_of(value)), None)
        names |= dict.fromkeys(_names_in(str(column), first))
    return list(names)


def _column_of(name: str, rows: pd.DataFrame) -> str | None:
    """The column that a dotted name begins with, the longest one."""
    parts = name.split(".")
    starts = (".".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1))
    return next((start for start in starts if start in rows), None)


def _entries(value: Any, tree: _Tree) -> tuple[list[dict[str, Any]], bool]:
    """What `tree` asks for, of each entry of a list, or of the one object; and whether there was a list."""
    structure = structure_of(value)
    if isinstance(structure, list):
        return [entry for part in structure for entry in _entries(part, tree)[0]], True
    entries: list[dict[str, Any]] = [{}]
    list_in: str | None = None
    for field, branch in tree.items():
        if structure is None or field not in structure:
            continue
        if isinstance(branch, str):
            entries = [entry | {branch: structure[field]} for entry in entries]
            continue
        inner, is_list = _entries(structure[field], branch)
        if is_list and list_in is not None:
            both = f"{list_in} and {field}"
            raise ValueError(f"{both} are lists beside each other; it is not clear what belongs together")
        list_in = field if is_list else list_in
        entries = [entry | more for entry in entries for more in inner]
    return entries, list_in is not None


def _names_in(name: str, value: Any) -> list[str]:
    structure = structure_of(value)
    if isinstance(structure, list):
        structure = next((part for part in structure if isinstance(part, Mapping)), None)
    inner = structure.items() if isinstance(structure, Mapping) else ()
    return [dotted for key, part in inner for dotted in _names_in(f"{name}.{key}", part) or [f"{name}.{key}"]]
