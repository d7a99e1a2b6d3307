"""Item clusters: the items that share a SID token, or the beginning of a SID. Knows codes and vectors, no
words."""

from dataclasses import dataclass

import numpy as np

from tsrec.sid.space import format_sid, format_token


@dataclass(frozen=True)
class ItemCluster:
    """The `items` (M,) int64, ascending, whose SIDs carry `token`: one token, or the first `level` + 1 of a SID."""

    token: str
    level: int
    items: np.ndarray


def token_clusters(codes: np.ndarray, from_level: int = 0) -> list[ItemCluster]:
    """The cluster of every token in use, level by level (0 is the first), code by code.

    Args:
        codes: (n_items, n_levels), integer.
        from_level: the first level whose tokens are wanted.
    """
    return [
        ItemCluster(format_token(level, int(code)), level, items)
        for level in range(from_level, codes.shape[1])
        for (code,), items in _grouped(codes[:, [level]])
    ]


def prefix_clusters(codes: np.ndarray, from_level: int = 0) -> list[ItemCluster]:
    """The cluster of every beginning of a SID, the short ones first; each in the order of its codes.

    Args:
        codes: (n_items, n_levels), integer.
        from_level: the last level (0 is the first) of the shortest beginnings that are wanted.
    """
    return [
        ItemCluster(format_sid(prefix), level, items)
        for level in range(from_level, codes.shape[1])
        for prefix, items in _grouped(codes[:, : level + 1])
    ]


def nearest_first(embeddings: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Order a cluster's items by how near (cosine) they are to its mean; ties in the order of the items table.

    Args:
        embeddings: (n_items, D) float32.
        items: (M,) int64.
    """
    mine = embeddings[items].astype(np.float64)
    mine /= np.maximum(np.linalg.norm(mine, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return items[np.argsort(-(mine @ mine.mean(axis=0)).round(12), kind="stable")]


def _grouped(rows: np.ndarray) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Distinct rows in order, and where each stands."""
    if not len(rows):
        return []
    distinct, place = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(place.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(place.ravel()))[:-1]
    return [(tuple(row.tolist()), items) for row, items in zip(distinct, np.split(order, ends), strict=True)]
