"""Vectors of length 1, whose inner products are cosines. Knows no stage."""

import numpy as np


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float32: each row scaled to length 1, rows of zeros as they are; inner products become cosines."""
    rows = vectors.astype(np.float32)
    scaled: np.ndarray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled
