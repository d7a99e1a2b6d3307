"""Ids as they stand in raw data -> text, and why two files' ids do not meet. Knows no files."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from tsrec.data.texts import CONTROL, SURROGATE
from tsrec.errors import DataError

_CONTROL = CONTROL + "|[\u2028\u2029]"
_HALF = re.compile(SURROGATE)  # of a character: no text can be written with it
_HIDDEN = re.compile(f"{_CONTROL}|{SURROGATE}")
_EXACT = 2.0**53  # above it a float skips whole numbers: digits of the id are lost


def no_ids(values: pd.Series) -> np.ndarray:
    """(E,) bool: which values can be nobody's id: a list, an object, true or false. Missing ones are not asked for."""
    if values.dtype == object:
        return np.array([isinstance(value, bool | list | tuple | dict | set) for value in values], dtype=bool)
    return np.full(len(values), values.dtype == bool)


def as_ids(values: pd.Series, path: Path) -> tuple[pd.Series, int]:
    """Text of every id, and how many were escaped. Ids are joined on, printed and pasted, so they are not cleaned:
    characters that a terminal obeys or does not show are written out (`\\x1b`, `\\u202e`). Libraries keep whole
    numbers as floats where a value is missing: 5.0 is the id 5.

    Raises:
        DataError: a float too large to hold all digits of an id.
    """
    n_broken = 0
    if pd.api.types.is_float_dtype(values) or values.dtype == object:
        _refuse_rounded(values, path)
        texts = [_text(value) for value in values]
        broken = [place for place, text in enumerate(texts) if _HALF.search(text)]  # no column of text can hold it
        for place in broken:
            texts[place] = _escaped(texts[place])
        values, n_broken = pd.Series(texts, index=values.index, name=values.name, dtype="str"), len(broken)
    values = values.astype("str")
    odd = values.str.contains(_CONTROL, regex=True)
    if odd.any():
        values = values.copy()
        values[odd] = values[odd].map(_escaped)
    return values, n_broken + int(odd.sum())


def _refuse_rounded(values: pd.Series, path: Path) -> None:
    floats = values[values.map(lambda value: isinstance(value, float))].astype(float)
    if (floats.abs() >= _EXACT).any():
        example = floats[floats.abs() >= _EXACT].iloc[0]
        raise DataError(
            f"{path}: field {values.name}: {example!r} is a floating-point number that lost the last digits of "
            "an id; keep ids as text where the file is made"
        )


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:  # a UUID as Parquet stores it
            return value.hex()
    return str(value)


def _escaped(text: str) -> str:
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], text)


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
