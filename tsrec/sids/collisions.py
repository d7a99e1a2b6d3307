"""Unique SIDs: items that collide move to the next nearest free code of the last level."""

import numpy as np

from tsrec.errors import CodebookError


def count_colliding(codes: np.ndarray) -> int:
    """Number of items whose SID (a row of the (N, L) codes) another item has too."""
    _, inverse, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    return int((sizes[inverse.ravel()] > 1).sum())


def make_unique(codes: np.ndarray, residuals: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, int]:
    """Give every item a SID of its own, moving as few as possible and keeping all but the last code.

    Of the items that share a SID, the nearest to the last level's centroid keeps it; the others take, nearest first,
    the next nearest code that is free under their prefix.

    Args:
        codes: (N, L) int.
        residuals: (N, D) what the last level quantizes.
        centroids: (n_codes, D) of the last level.

    Returns:
        new (N, L) codes, and how many items moved.

    Raises:
        CodebookError: more items share a prefix than the last level has codes.
    """
    unique = codes.copy()
    _, prefixes = np.unique(codes[:, :-1], axis=0, return_inverse=True)
    n_moved = 0
    for members in _groups(prefixes.ravel()):
        if len(members) > len(centroids):
            raise CodebookError(
                f"{len(members)} items share the prefix {codes[members[0], :-1].tolist()}, but the last level has "
                f"{len(centroids)} codes; raise the last of sids.codes_per_level to {len(members)}, or set "
                "sids.unique=false to let them share"
            )
        # Item by item: all at once would hold M x n_codes x D numbers.
        distances = np.stack([((residuals[item] - centroids) ** 2).sum(axis=1) for item in members])  # (M, n_codes)
        last_codes = codes[members, -1]
        order = np.lexsort((members, distances[np.arange(len(members)), last_codes]))
        taken = np.zeros(len(centroids), dtype=bool)
        waiting = []
        for index in order:
            if taken[last_codes[index]]:
                waiting.append(index)
            else:
                taken[last_codes[index]] = True
        for index in waiting:
            code = int(np.argmin(np.where(taken, np.inf, distances[index])))
            taken[code] = True
            unique[members[index], -1] = code
        n_moved += len(waiting)
    return unique, n_moved


def _groups(labels: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
