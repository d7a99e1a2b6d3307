"""Ids as they stand in raw data -> text, and why two files' ids do not meet. Knows no files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from tsrec.errors import DataError

_EXACT = 2.0**53  # above it a float skips whole numbers: digits of the id are lost


def as_ids(values: pd.Series, path: Path) -> pd.Series:
    """Text of every id. Libraries keep whole numbers as floats where a value is missing: 5.0 is the id 5.

    Raises:
        DataError: a float too large to hold all digits of an id.
    """
    if isinstance(values.dtype, pd.StringDtype):
        return values
    if pd.api.types.is_float_dtype(values) or values.dtype == object:
        floats = values[values.map(lambda value: isinstance(value, float))].astype(float)
        if (floats.abs() >= _EXACT).any():
            example = floats[floats.abs() >= _EXACT].iloc[0]
            raise DataError(
                f"{path}: field {values.name}: {example!r} is a floating-point number that lost the last digits of "
                "an id; keep ids as text where the file is made"
            )
        values = values.map(_text, na_action="ignore")
    return values.astype("str")


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _without_point(ids: pd.Series) -> pd.Series:
    return ids.str.replace(r"\.0+$", "", regex=True)


def _without_zeros(ids: pd.Series) -> pd.Series:
    return ids.str.replace(r"^0+(?=.)", "", regex=True)


# what happened, and the form in which such ids meet again; the simplest cause first
_CAUSES: tuple[tuple[str, Callable[[pd.Series], pd.Series]], ...] = (
    ("blanks stand around the ids of one file", lambda ids: ids.str.strip()),
    ("letters differ in case", lambda ids: ids.str.lower()),
    ("the ids of one file were taken for numbers and lost their leading zeros", _without_zeros),
    ("the ids of one file were taken for floating-point numbers (.0)", _without_point),
    (
        "the ids of one file were taken for floating-point numbers (.0) and lost their leading zeros",
        lambda ids: _without_zeros(_without_point(ids.str.strip())),
    ),
)


def why_apart(unknown: pd.Index, known: pd.Index) -> tuple[str, str, str] | None:
    """Why ids are not among the known ones: the cause that explains most of them, if it explains half.

    Returns:
        The cause in words, an unknown id, and the known id that it stands for; None where no cause is seen.
    """
    best, explained = None, 0
    ours, theirs = unknown.to_series(), known.to_series()
    for cause, form in _CAUSES:
        found = pd.Index(form(theirs)).drop_duplicates().get_indexer(form(ours)) >= 0
        if int(found.sum()) > explained:
            explained = int(found.sum())
            first = ours.iloc[[int(np.argmax(found))]]
            meant = theirs[(form(theirs) == form(first).iloc[0]).to_numpy()].iloc[0]
            best = (cause, str(first.iloc[0]), str(meant))
    return best if 2 * explained >= len(unknown) else None
