"""A sparse item-to-item matrix as one safetensors file."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse


def save_sparse(matrix: sparse.csr_matrix, path: Path) -> None:
    """Write `matrix` with float32 values and sorted indices, so that the same matrix gives the same bytes."""
    matrix = matrix.astype(np.float32)
    matrix.sort_indices()
    parts = {
        "indptr": matrix.indptr.astype(np.int64),
        "indices": matrix.indices.astype(np.int32),
        "data": matrix.data,
        "shape": np.array(matrix.shape, dtype=np.int64),
    }
    save_file(parts, path)


def load_sparse(path: Path) -> sparse.csr_matrix:
    """Read what `save_sparse` wrote."""
    parts = load_file(path)
    return sparse.csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(parts["shape"]))
