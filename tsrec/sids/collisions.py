"""Unique SIDs: items that collide move to the next nearest free code of the last level."""

import logging
import math
from collections.abc import Callable

import numpy as np

from tsrec.errors import CodebookError
from tsrec.sids.free_sids import assign_free
from tsrec.sids.quantization import Quantization, row_groups, row_slices

logger = logging.getLogger(__name__)


def count_colliding(codes: np.ndarray) -> int:
    """Number of items whose SID (a row of the (N, L) codes) another item has too."""
    sizes = np.bincount(row_groups(codes))
    return int(sizes[sizes > 1].sum())


def unique_codes(quantization: Quantization, vectors: np.ndarray) -> tuple[np.ndarray, int]:
    """Give every vector a SID of its own; where its prefix is full, the nearest free one under another prefix.

    Args:
        quantization: of the vectors.
        vectors: (N, D) float32.

    Returns:
        new (N, L) codes, and how many items moved.

    Raises:
        CodebookError: there are fewer SIDs than items.
    """
    sizes, n_items = quantization.sizes, len(vectors)
    if n_items > math.prod(sizes):
        raise CodebookError(
            f"{n_items} items, but {math.prod(sizes)} SIDs; raise the last of sids.codes_per_level to "
            f"{-(-n_items // math.prod(sizes[:-1]))}, or set sids.unique=false to let items share SIDs"
        )

    def residuals_of(rows: slice | np.ndarray) -> np.ndarray:
        return quantization.last_residuals(vectors[rows], quantization.codes[rows])

    codes, n_moved, without = make_unique(quantization.codes, residuals_of, quantization.codebooks[-1])
    if len(without):
        logger.warning(
            "%d of %d items find all %d codes of the last level taken under their prefix, and go under another; with "
            "more codes in sids.codes_per_level they would stay",
            *(len(without), n_items, sizes[-1]),
        )
        latents = quantization.transform.encode(vectors[without])
        taken = np.delete(codes, without, axis=0)
        codes[without], _ = assign_free(latents, quantization.codebooks, taken)
    return codes, n_moved


def make_unique(
    codes: np.ndarray, residuals_of: Callable[[slice | np.ndarray], np.ndarray], centroids: np.ndarray
) -> tuple[np.ndarray, int, np.ndarray]:
    """Give items a SID of their own, moving as few as possible and keeping all but the last code.

    Of the items that share a SID, the nearest to the last level's centroid keeps it; the others take, nearest first,
    the next nearest code that is free under their prefix.

    Args:
        codes: (N, L) int.
        residuals_of: (M, D) what the last level quantizes of some items, asked for a part of them at a time.
        centroids: (n_codes, D) of the last level.

    Returns:
        new (N, L) codes; how many items moved; and the items whose prefix has fewer codes than items, and none left
        for them, with the codes that they had.
    """
    prefixes, last_codes = row_groups(codes[:, :-1]), codes[:, -1]
    sizes = np.bincount(prefixes)
    distances = np.concatenate(
        [np.square(residuals_of(rows) - centroids[last_codes[rows]]).sum(axis=1) for rows in row_slices(len(codes))]
    )
    order = np.lexsort((distances, last_codes, prefixes))
    repeats = (prefixes[order][1:] == prefixes[order][:-1]) & (last_codes[order][1:] == last_codes[order][:-1])
    moving = np.sort(order[1:][repeats])
    moving = moving[np.lexsort((distances[moving], prefixes[moving]))]
    stops, prefix = np.cumsum(sizes), -1
    unique, without = codes.copy(), []
    for some in row_slices(len(moving)):
        for item, residual in zip(moving[some], residuals_of(moving[some]), strict=True):
            if prefixes[item] != prefix:
                prefix = prefixes[item]
                taken = np.zeros(len(centroids), dtype=bool)
                taken[last_codes[order[stops[prefix] - sizes[prefix] : stops[prefix]]]] = True
            if taken.all():
                without.append(item)
                continue
            away = np.square(residual - centroids).sum(axis=1)
            away[taken] = np.inf
            code = away.argmin()
            taken[code] = True
            unique[item, -1] = code
    return unique, len(moving), np.array(without, dtype=np.int64)
