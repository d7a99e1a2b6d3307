"""Which event types are kept (`ingest.keep`): rows by the values of raw columns, compared as people mean them.

So 1, "01", true and yes are one value. Knows no files.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
import pandas as pd

from tsrec.data.missing_values import is_missing_word
from tsrec.errors import quoted

_TRUTH = dict.fromkeys(("true", "t", "yes", "y", "on"), "1") | dict.fromkeys(("false", "f", "no", "n", "off"), "0")
_NUMERAL = re.compile(r"\+?(-?)0*(\d+)(?:\.(\d*?)0*)?")
_SHOWN_VALUES = 10
_SHOWN_CHARS = 40


def as_numbers(values: pd.Series) -> pd.Series:
    """The values as numbers, true as 1 and false as 0 in any usual spelling; NaN for all that is neither."""
    numbers = pd.to_numeric(values, errors="coerce")
    odd = numbers.isna() & values.notna()
    if odd.any():
        words = values[odd].astype("str").str.strip().str.lower()
        numbers = numbers.astype("float64")
        numbers[odd] = words.map(_TRUTH).astype("float64")
    return numbers


class EventTypeFilter:
    """Finds the rows whose columns hold one of the values of `ingest.keep`, and remembers what the columns hold."""

    def __init__(self, keep: Mapping[str, Sequence[str | None]]) -> None:
        self.columns = tuple(keep)
        self._wanted = {column: {_text(value): value for value in values} for column, values in keep.items()}
        self._found: dict[str, set[str]] = {column: set() for column in keep}
        self._others: dict[str, dict[str, None]] = {column: {} for column in keep}  # the first values not asked for

    def keeps(self, raw: pd.DataFrame) -> np.ndarray:
        """(R,) bool: which rows stay. All columns of `ingest.keep` have to be there."""
        kept = np.ones(len(raw), dtype=bool)
        for column, wanted in self._wanted.items():
            codes, distinct = pd.factorize(_hashable(raw[column]), use_na_sentinel=False)
            meant = [_meant(value, wanted) for value in distinct]
            self._found[column].update(text for text in meant if text is not None)
            others = self._others[column]
            unwanted = (str(value) for value, text in zip(distinct, meant, strict=True) if text is None)
            others.update(dict.fromkeys(islice(unwanted, _SHOWN_VALUES + 1 - len(others))))
            kept &= np.array([text is not None for text in meant], dtype=bool)[codes]
        return kept

    def values_not_found(self) -> list[str]:
        """The values that are asked for and that no row holds, a sentence each, with what the column holds instead."""
        return [
            f"{column} is never {value!r}; {self._held_instead(column)}"
            for column, wanted in self._wanted.items()
            for text, value in wanted.items()
            if text not in self._found[column]
        ]

    def n_values(self) -> int:
        """How many values are asked for, in all columns together."""
        return sum(map(len, self._wanted.values()))

    def _held_instead(self, column: str) -> str:
        others = [quoted(value, _SHOWN_CHARS) for value in self._others[column]]
        more = " ..." if len(others) > _SHOWN_VALUES else ""
        return f"other values there are {', '.join(others[:_SHOWN_VALUES]) or 'none'}{more}"


def _meant(value: object, wanted: Mapping[str, str | None]) -> str | None:
    """Which of the wanted values a raw one is; None where it is none of them."""
    text = _text(value)
    if text in wanted:
        return text
    other = "" if is_missing_word(text) else _TRUTH.get(text.lower())
    return other if other in wanted else None


def _text(value: object) -> str:
    """A value in the form in which equal ones are the same text: 1, 1.0, "01", true and yes are "1", missing ones "".
    Letters alone stay: in another column, f stands beside m."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    text = "" if value is None or value is pd.NaT or value != value else str(value).strip()  # NaN is not itself
    if text.lower() in ("true", "false", "yes", "no"):
        return _TRUTH[text.lower()]
    number = _NUMERAL.fullmatch(text)
    if not number:
        return text
    sign, whole, part = number[1], number[2], number[3]
    return f"{sign}{whole}.{part}" if part else f"{sign if int(whole) else ''}{whole}"


def _hashable(values: pd.Series) -> pd.Series:
    if values.dtype == object:
        return values.map(lambda value: value if isinstance(value, str | int | float | None) else str(value))
    return values
