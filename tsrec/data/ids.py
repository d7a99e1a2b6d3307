"""Ids as they stand in raw data -> text, and why ids of two files do not match. Knows no files."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from tsrec.data.texts import CONTROL, SURROGATE
from tsrec.errors import DataError

_CONTROL = CONTROL + "|[\u2028\u2029]"
_HALF = re.compile(SURROGATE)  # of a character: no text can be written with it
_HIDDEN = re.compile(f"{_CONTROL}|{SURROGATE}")
_EXACT = 2.0**53  # above it a float skips whole numbers: digits of the id are lost
_SCIENTIFIC = re.compile(r"\s*[+-]?\d(?:[.,](?P<part>\d*))?[eE]\+(?P<exponent>\d\d+)\s*")


def invalid_ids(values: pd.Series) -> np.ndarray:
    """(E,) bool: which values can be nobody's id: a list, an object, true or false. Missing ones are not asked for."""
    if values.dtype == object:
        return np.array([isinstance(value, bool | list | tuple | dict | set) for value in values], dtype=bool)
    return np.full(len(values), values.dtype == bool)


def has_lost_digits(values: pd.Series) -> np.ndarray:
    """(E,) bool: texts such as 4,00638E+12, which spreadsheets make of long numbers: the digits after 4,00638 are lost,
    and different numbers become one."""
    found = np.zeros(len(values), dtype=bool)
    if values.dtype == object:
        values = values.map(lambda value: value if isinstance(value, str) else "").astype("str")
    if isinstance(values.dtype, pd.StringDtype):
        suspects = values.str.contains("E+", case=False, regex=False, na=False).to_numpy(dtype=bool)
        found[suspects] = [_lacks_digits(value) for value in values[suspects]]
    return found


def ids_as_text(values: pd.Series, path: Path) -> tuple[pd.Series, int]:
    """Text of every id, and how many were escaped. Ids are joined on, printed and pasted, so they are not cleaned:
    characters that a terminal obeys or does not show are written out (`\\x1b`, `\\u202e`). Libraries keep whole
    numbers as floats where a value is missing, and databases as decimals: 5.0 is the id 5.

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
    for value in values:
        if isinstance(value, float) and abs(value) >= _EXACT:
            raise DataError(
                f"{path}: field {values.name}: {value!r} is a floating-point number that lost the last digits of an "
                "id; keep ids as text where the file is made"
            )


def _lacks_digits(text: str) -> bool:
    number = _SCIENTIFIC.fullmatch(text)
    return number is not None and len(number["part"] or "") < int(number["exponent"])


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
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


def _without_marks(ids: pd.Series) -> pd.Series:
    return ids.str.replace(r"""^=?(["'])(.*)\1$""", r"\2", regex=True)


def _without_zeros(ids: pd.Series) -> pd.Series:
    return ids.str.replace(r"^0+(?=.)", "", regex=True)


_AS_TEXT = "keep ids as text where the files are made (pandas: dtype=str)"
_AS_FLOATS = "the ids of one file were taken for floating-point numbers (.0)"
_NO_ZEROS = " and lost their leading zeros"
_ALIKE = "write them alike in both files"
# what happened, what to do, and the form in which such ids meet again; the simplest cause first
_CAUSES: tuple[tuple[str, str, Callable[[pd.Series], pd.Series]], ...] = (
    ("blanks stand around the ids of one file", _ALIKE, lambda ids: ids.str.strip()),
    ("letters differ in case", _ALIKE, lambda ids: ids.str.lower()),
    ('the ids of one file stand in marks ("A1", ="A1")', _ALIKE, _without_marks),
    ("the ids of one file were taken for numbers" + _NO_ZEROS, _AS_TEXT, _without_zeros),
    (_AS_FLOATS, _AS_TEXT, _without_point),
    (_AS_FLOATS + _NO_ZEROS, _AS_TEXT, lambda ids: _without_zeros(_without_point(ids.str.strip()))),
)


def why_ids_differ(unknown: pd.Index, known: pd.Index) -> tuple[str, str, str] | None:
    """Why ids are not among the known ones: the cause that explains most of them, if it explains half.

    Returns:
        The cause and what to do, in words, an unknown id, and the known id that it stands for; None where no cause is
        seen.
    """
    best, explained = None, 0
    unknown_ids, known_ids = unknown.to_series(), known.to_series()
    for cause, cure, form in _CAUSES:
        found = pd.Index(form(known_ids)).drop_duplicates().get_indexer(form(unknown_ids)) >= 0
        if int(found.sum()) > explained:
            explained = int(found.sum())
            first = unknown_ids.iloc[[int(np.argmax(found))]]
            meant = known_ids[(form(known_ids) == form(first).iloc[0]).to_numpy()].iloc[0]
            best = (f"{cause}; {cure}", str(first.iloc[0]), str(meant))
    return best if 2 * explained >= len(unknown) else None


def holds_several_ids(unknown: pd.Index, known: pd.Index) -> bool:
    """Whether the first unknown value is a list of ids that are known, written into one field: `N1 N2`, `['N1' 'N2']`,
    or with a mark behind each, as in `N1-1 N2-0`."""
    parts = str(unknown[0]).strip("[]{}()").split(" ")
    parts = parts if len(parts) > 1 else re.split(r"[,;|]", parts[0])
    bare = [part.strip(" ,;|'\"") for part in parts]
    both = [bare, [re.sub(r"[-:_]\d+(\.\d+)?$", "", part) for part in bare]]
    return len(parts) > 1 and any(pd.Index(ids).isin(known).mean() > 1 / 2 for ids in both)
