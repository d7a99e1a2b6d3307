"""New items among old ones: SIDs by frozen codebooks, each as near as is still free. An old SID never changes.

Knows vectors, codebooks and which SIDs are taken; nothing of items, files or stages.
"""

from collections.abc import Iterator, Sequence

import faiss
import numpy as np

from tsrec.errors import CodebookError

Codebooks = Sequence[np.ndarray]
"""L arrays (n_codes, D) float32."""


def quantize(vectors: np.ndarray, codebooks: Codebooks) -> tuple[np.ndarray, np.ndarray]:
    """The nearest code on every level's residual.

    Args:
        vectors: (N, D) float32.
        codebooks: one per level.

    Returns:
        (N, L) int64 codes, and (N, L) float32: the squared length of what is left after each level.
    """
    residuals = np.ascontiguousarray(vectors, dtype=np.float32)
    codes, errors = [], []
    for book in codebooks:
        index = faiss.IndexFlatL2(book.shape[1])
        index.add(np.ascontiguousarray(book))
        nearest = index.search(residuals, 1)[1][:, 0]
        residuals = residuals - book[nearest]
        codes.append(nearest)
        errors.append(np.square(residuals).sum(axis=1))
    return np.stack(codes, axis=1).astype(np.int64), np.stack(errors, axis=1)


def assign_free(vectors: np.ndarray, codebooks: Codebooks, taken: np.ndarray) -> tuple[np.ndarray, int]:
    """Give every vector a SID that nobody has.

    That is the nearest free code of the last level under the nearest prefix; where all of those are taken, under the
    next nearest prefix, the later levels changing first. Vectors that lie nearest to their codes choose first.

    Args:
        vectors: (M, D) float32.
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
    nearest, errors = quantize(vectors, codebooks)
    used: dict[tuple[int, ...], np.ndarray] = {}
    for *prefix, code in taken.tolist():
        used.setdefault(tuple(prefix), np.zeros(sizes[-1], dtype=bool))[code] = True
    codes = np.empty_like(nearest)
    for row in np.argsort(errors[:, -1], kind="stable"):
        for prefix, residual in _prefixes(vectors[row], codebooks[:-1]):
            full = used.setdefault(prefix, np.zeros(sizes[-1], dtype=bool))
            if full.all():
                continue
            distances = np.square(residual - codebooks[-1]).sum(axis=1)
            code = int(np.argmin(np.where(full, np.inf, distances)))
            full[code] = True
            codes[row] = (*prefix, code)
            break
    return codes, int((codes != nearest).any(axis=1).sum())


def _prefixes(residual: np.ndarray, codebooks: Codebooks) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """All prefixes, each level's nearest code first and the last level's changing first, and what each leaves."""
    if not codebooks:
        yield (), residual
        return
    book = codebooks[0]
    for code in np.argsort(np.square(residual - book).sum(axis=1), kind="stable"):
        for rest, left in _prefixes(residual - book[code], codebooks[1:]):
            yield (int(code), *rest), left
