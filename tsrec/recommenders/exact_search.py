"""Exact search for the vectors with the largest inner products, over all of them and without an approximation."""

from typing import Any

import faiss
import numpy as np

_PRODUCTS_FROM = 20  # queries from which faiss multiplies matrices too: fewer are bound by reading the vectors once
_BLOCK = 1 << 15  # vectors whose products with a batch of queries are in memory at once


class ExactSearch:
    """Finds vectors by their inner product with queries.

    A batch of queries is multiplied with the vectors block by block, which is up to five times as fast as faiss: its
    heaps, not its products, take most of the time. A few queries are faster in faiss.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        """Copy `vectors` (N, D) float32 into the index."""
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors))
        held: np.ndarray = faiss.rev_swig_ptr(self._index.get_xb(), vectors.size)
        self.vectors = held.reshape(vectors.shape)
        """(N, D) float32, the index's own: memory holds them once."""

    def search(
        self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None, block: int = _BLOCK
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `k` vectors with the largest inner products with each query.

        Args:
            queries: (B, D) float32.
            k: at most the number of vectors that are allowed.
            allowed: (N,) bool, which vectors may be found; None: all.
            block: vectors whose products are in memory at once.

        Returns:
            (B, k) float32 inner products, the largest first, and (B, k) int64 rows of the vectors.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if len(queries) < _PRODUCTS_FROM:
            return self._search_few(queries, k, allowed)
        rows = np.empty((len(queries), 0), dtype=np.int64)
        products = np.empty((len(queries), 0), dtype=np.float32)
        for start in range(0, len(self.vectors), block):
            of_block = queries @ self.vectors[start : start + block].T
            if allowed is not None:
                of_block[:, ~allowed[start : start + block]] = -np.inf
            columns = np.arange(of_block.shape[1])
            if products.shape[1] == k:  # most vectors are behind the first k of every query by now
                columns = np.flatnonzero((of_block > products.min(axis=1, keepdims=True)).any(axis=0))
                of_block = of_block[:, columns]
            best = _largest(of_block, k)
            rows = np.concatenate([rows, start + columns[best]], axis=1)
            products = np.concatenate([products, np.take_along_axis(of_block, best, axis=1)], axis=1)
            best = _largest(products, k)
            rows, products = np.take_along_axis(rows, best, axis=1), np.take_along_axis(products, best, axis=1)
        order = np.lexsort((rows, -products), axis=1)
        return np.take_along_axis(products, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def _search_few(self, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        parameters = None
        if allowed is not None:
            bits: Any = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg]  # its stubs lack it
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        products, rows = self._index.search(queries, k, params=parameters)
        return products, rows


def _largest(values: np.ndarray, k: int) -> np.ndarray:
    """(B, min(k, M)) columns of the largest of each row of (B, M) values, in no order."""
    n_values = values.shape[1]
    if k >= n_values:
        return np.tile(np.arange(n_values), (len(values), 1))
    return np.argpartition(values, n_values - k, axis=1)[:, n_values - k :]
