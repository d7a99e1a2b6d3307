"""What stands for no value in raw data, the same for ids, times, ratings and texts. Knows no files."""

import numpy as np
import pandas as pd

# How libraries, databases and spreadsheets write no value; then Google Analytics', JavaScript's and MySQL's.
_WORDS = {"None", "nan", "NaN", "NaT", "<NA>", "null", "NULL", "NA", "N/A", "n/a", "#N/A", "\\N"}
_WORDS |= {"(not set)", "undefined", "0000-00-00", "0000-00-00 00:00:00"}


def is_missing_word(text: str) -> bool:
    """Whether a text that is not blank stands for no value."""
    return text.strip() in _WORDS


def is_missing_value(values: pd.Series) -> np.ndarray:
    """(E,) bool: which values are none, or a blank, or a word for none. Lists and objects are values."""
    if isinstance(values.dtype, pd.StringDtype):
        return (values.isna() | values.str.strip().isin({"", *_WORDS})).to_numpy(dtype=bool)
    if values.dtype == object:
        return np.array([_is_missing(value) for value in values], dtype=bool)
    return values.isna().to_numpy()


def _is_missing(value: object) -> bool:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        return not value.strip() or is_missing_word(value)
    return not isinstance(value, list | tuple | dict | set | np.ndarray) and bool(pd.isna(value))
