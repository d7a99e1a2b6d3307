"""Which items have which value in a column of the items table: what lists and searches can be narrowed to.

A cell may hold several values, with commas between them, as categories do. Knows the table alone.
"""

from collections import Counter, defaultdict
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

_SHOWN = 100  # values of a column
_LONGEST_LIST = 300  # characters of a cell
_LONGEST = 60  # characters of a value that people choose from a list


class ColumnValues:
    """Of `items` (N rows), whose columns `apart` are for nothing here."""

    def __init__(self, items: pd.DataFrame, apart: tuple[str, ...]) -> None:
        self._items = items
        self.names = [str(name) for name in items.columns if name not in apart]
        self._found: dict[str, dict[str, np.ndarray]] = {}

    @cached_property
    def choices(self) -> list[dict[str, Any]]:
        """The columns by which items can be told apart in groups, each with its commonest values."""
        return [found for name in self.names if (found := self._choice(name))]

    def items(self, column: str, value: str) -> np.ndarray:
        """(M,) numbers of the items that have a value in a column, ascending. KeyError: there is no such column."""
        return self._of(column).get(value, np.empty(0, dtype=np.int64))

    def _choice(self, name: str) -> dict[str, Any] | None:
        of_value = {value: len(items) for value, items in self._of(name).items() if "," not in value}
        shared = Counter({value: n for value, n in of_value.items() if n > 1 and len(value) <= _LONGEST})
        if not shared:
            return None
        values = [{"value": value, "n_items": number} for value, number in shared.most_common(_SHOWN)]
        return {"column": name, "n_values": len(of_value), "values": values}

    def _of(self, column: str) -> dict[str, np.ndarray]:
        if column not in self.names:
            raise KeyError(column)
        if column not in self._found:
            rows = defaultdict(list)
            for row, cell in enumerate(self._items[column].tolist()):
                for value in _values(cell):
                    rows[value].append(row)
            self._found[column] = {value: np.array(mine, dtype=np.int64) for value, mine in rows.items()}
        return self._found[column]


def _values(cell: Any) -> set[str]:
    if isinstance(cell, np.ndarray | list | tuple):
        return {part for one in cell for part in _values(one)}
    if cell is None or cell != cell:  # NaN
        return set()
    text = str(cell).strip()
    parts = text.split(",") if len(text) <= _LONGEST_LIST else ()  # prose has commas, too
    return {text, *(part.strip() for part in parts)} - {""}
