"""Vectors of length 1, whose inner products are cosines, and vectors as a column of a table. Knows no stage."""

import numpy as np
import pyarrow as pa

_MOST_VALUES = 2**31 - 1  # of one chunk: what offsets of 32 bits can count


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32: each row scaled to length 1, rows of zeros as they are; inner products become cosines."""
    rows = vectors.astype(np.float32)
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled


def list_column(rows: np.ndarray) -> pa.ChunkedArray:
    """(N, D) numbers as a column of lists, without a Python object for each row.

    It has one chunk, or several where 32-bit offsets cannot count all values. Wider offsets would be another type.
    """
    at_once = _rows_at_once(rows.shape[1])
    starts = range(0, max(1, len(rows)), at_once)
    return pa.chunked_array([_list_array(rows[start : start + at_once]) for start in starts])


def _rows_at_once(n_values: int) -> int:
    """Rows of so many values that one chunk holds."""
    return max(1, _MOST_VALUES // max(1, n_values))


def _list_array(rows: np.ndarray) -> pa.ListArray:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(rows.ravel()))
