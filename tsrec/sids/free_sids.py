"""SIDs for new items: the nearest that is still free, by frozen codebooks.

Knows vectors, codebooks and which SIDs are taken; nothing of items, files or stages.
"""

from collections.abc import Iterator

import numpy as np

from tsrec.errors import CodebookError
from tsrec.sids.quantization import Codebooks, FrozenQuantizer


def assign_free(vectors: np.ndarray, codebooks: Codebooks, taken: np.ndarray) -> tuple[np.ndarray, int]:
    """Give every vector the nearest SID that is free.

    A vector takes the nearest free code of the last level under its nearest prefix. Where all of those are taken, it
    tries the next nearest prefix, changing later levels first. Vectors nearest to their codes choose first.

    Args:
        vectors: (M, Z) float32, encoded.
        codebooks: one per level.
        taken: (K, L) int, SIDs that are not free.

    Returns:
        (M, L) int64 codes, and how many vectors did not get their nearest SID.

    Raises:
        CodebookError: fewer SIDs are free than there are vectors.
    """
    sizes = [len(book) for book in codebooks]
    n_free = int(np.prod(sizes, dtype=np.float64)) - len(np.unique(taken, axis=0))
    if len(vectors) > n_free:
        raise CodebookError(
            f"{len(vectors)} new items, but only {n_free} of {np.prod(sizes):,} SIDs are free: the space is full and a "
            "rebuild is due; give `tsrec run`, with larger sids.codes_per_level"
        )
    nearest, errors = FrozenQuantizer(codebooks=codebooks).quantize(vectors)
    taken_by_prefix: dict[tuple[int, ...], np.ndarray] = {}  # prefix -> which codes of the last level are taken
    for *prefix, code in taken.tolist():
        taken_by_prefix.setdefault(tuple(prefix), np.zeros(sizes[-1], dtype=bool))[code] = True
    codes = np.empty_like(nearest)
    for row in np.argsort(errors[:, -1], kind="stable"):
        for prefix, residual in _nearest_prefixes(vectors[row], codebooks[:-1]):
            taken_codes = taken_by_prefix.setdefault(prefix, np.zeros(sizes[-1], dtype=bool))
            if taken_codes.all():
                continue
            distances = np.square(residual - codebooks[-1]).sum(axis=1)
            code = int(np.argmin(np.where(taken_codes, np.inf, distances)))
            taken_codes[code] = True
            codes[row] = (*prefix, code)
            break
    return codes, int((codes != nearest).any(axis=1).sum())


def _nearest_prefixes(residual: np.ndarray, codebooks: Codebooks) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """All prefixes with their residuals: the nearest code of each level first, later levels changing first."""
    if not codebooks:
        yield (), residual
        return
    book = codebooks[0]
    for code in np.argsort(np.square(residual - book).sum(axis=1), kind="stable"):
        for rest, remaining in _nearest_prefixes(residual - book[code], codebooks[1:]):
            yield (int(code), *rest), remaining
