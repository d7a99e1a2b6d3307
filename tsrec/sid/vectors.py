"""Vectors of length 1, whose inner products are cosines, and vectors as a column of a table. Knows no stage."""

import numpy as np
import pyarrow as pa


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32: each row scaled to length 1, rows of zeros as they are; inner products become cosines."""
    rows = vectors.astype(np.float32)
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled


def list_column(rows: np.ndarray) -> pa.ListArray:
    """(N, D) numbers as a column of lists, without a Python object for each row."""
    offsets = np.arange(len(rows) + 1) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(rows.ravel()))
