"""Was the last row of a text file cut off in its time? 1403349 reads as a number, 2014-06 as a date. Knows no files."""

import re

import pandas as pd

_MANY_CHARACTERS = 8  # a time as text has as many; places in an order may have fewer
_WITHOUT_FRACTION = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d( ?(Z|UTC|GMT|[+-]\d\d:?\d\d))*"
)  # many programs leave a zero out


class LastRow:
    """Looks at one batch after the other; a file's last row is the last one of a batch."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._shortest = 10**9

    def is_cut(self, times: pd.Series) -> bool:
        """Whether the last time is shorter than every other one seen so far, at least two, all of them long."""
        if not isinstance(times.dtype, pd.StringDtype) or not len(times):
            return False  # Parquet and JSON do not lose their ends unnoticed
        lengths = times.str.split(".", n=1).str[0].str.len() if self._numbers(times) else times.str.len()
        others = min(self._shortest, int(lengths.iloc[:-1].min())) if len(lengths) > 1 else self._shortest
        last = int(lengths.iloc[-1])
        enough = self._n_rows + len(times) > 2
        self._n_rows += len(times)
        self._shortest = min(others, last)
        return (
            enough
            and last < others
            and others >= _MANY_CHARACTERS
            and not _WITHOUT_FRACTION.fullmatch(str(times.iloc[-1]))
        )

    @staticmethod
    def _numbers(times: pd.Series) -> bool:
        return "-" not in str(times.iloc[0])[1:]
