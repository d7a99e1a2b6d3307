"""Item clusters: the items that share a SID token. Knows codes and vectors, no words."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tsrec.sid.space import format_token


@dataclass(frozen=True)
class ItemCluster:
    """The `items` (M,) int64, ascending, whose SIDs carry `token`, which stands at `level` (0 is the first)."""

    token: str
    level: int
    items: np.ndarray


def token_clusters(codes: np.ndarray) -> list[ItemCluster]:
    """The cluster of every token in use, level by level (0 is the first), code by code.

    Args:
        codes: (n_items, n_levels), integer.
    """
    return [
        ItemCluster(format_token(level, code), level, items)
        for level in range(codes.shape[1])
        for code, items in _grouped(codes[:, level])
    ]


def order_by_centrality(embeddings: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Order a cluster's items by how near (cosine) they are to its mean; ties in the order of the items table.

    Args:
        embeddings: (n_items, D) float32.
        items: (M,) int64.
    """
    vectors = embeddings[items].astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return items[np.argsort(-(vectors @ vectors.mean(axis=0)).round(12), kind="stable")]


def _grouped(codes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Distinct codes (n_items,) in order, and the items of each."""
    order = np.argsort(codes, kind="stable")
    distinct, starts = np.unique(codes[order], return_index=True)
    ends = np.append(starts, len(order))[1:]
    for code, start, end in zip(distinct.tolist(), starts, ends, strict=True):
        yield code, order[start:end]
