"""Text files that were cut off: the file stops within a line, or the time in its last row is too short.

A time that was cut still reads as one: 1403349 as a number, 2014-06 as a date. Only text of separated fields can lose
its end unnoticed: packed files, Parquet and JSON are refused by their readers.
"""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tsrec.data.compressed_files import is_packed, no_rows
from tsrec.data.files import is_separated

_LONGEST_LINE_END = 4  # bytes, in any encoding
_MANY_CHARACTERS = 8  # a time as text has as many; places in an order may have fewer
# Many programs leave a fraction of zero out.
_WITHOUT_FRACTION = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d( ?(Z|UTC|GMT|[+-]\d\d:?\d\d))*")


def lacks_line_end(path: Path) -> bool:
    """Whether a plain file of separated fields stops within a line, so that its last row may be cut."""
    if not is_separated(path) or is_packed(path) or no_rows(path):
        return False
    with path.open("rb") as stream:
        n_bytes = stream.seek(0, 2)
        stream.seek(max(0, n_bytes - _LONGEST_LINE_END))
        end = stream.read()
    return bool(end) and end.rstrip(b"\0")[-1:] not in (b"\r", b"\n")  # UTF-16 and -32 may end in zeros


class TruncatedTimeDetector:
    """Looks at the times of one file, batch after batch; a file's last row is the last one of a batch."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._shortest = 10**9

    def is_cut(self, times: pd.Series) -> bool:
        """Whether the last time is shorter than every other one seen so far, at least two, all of them long."""
        if not isinstance(times.dtype, pd.StringDtype) or not len(times):
            return False  # Parquet and JSON do not lose their ends unnoticed
        are_numbers = "-" not in str(times.iloc[0])[1:]
        texts = pa.array(times, pa.string())
        if are_numbers:  # without their fractions; pandas would make a Python list of each
            texts = pc.list_element(pc.split_pattern(texts, ".", max_splits=1), 0)
        lengths = pc.utf8_length(texts)
        others = min(self._shortest, pc.min(lengths[:-1]).as_py()) if len(lengths) > 1 else self._shortest
        last = lengths[-1].as_py()
        enough = self._n_rows + len(times) > 2
        self._n_rows += len(times)
        self._shortest = min(others, last)
        is_short = enough and last < others and others >= _MANY_CHARACTERS
        return is_short and not _WITHOUT_FRACTION.fullmatch(str(times.iloc[-1]))
