"""k-means on every level: of the residuals that earlier levels leave, or of each level's own dimensions."""

from collections.abc import Sequence

import faiss
import numpy as np

from tsrec.config import SidsConfig
from tsrec.machine.progress import progress
from tsrec.sids.quantization import Quantization, largest_group, zero_rounding_errors

_ITERATIONS = 50  # of each level: twice as many as faiss's own
_MIN_ITEMS_PER_CODE = 4  # so that items of a small catalogue share codes


def residual_kmeans(vectors: np.ndarray, config: SidsConfig) -> Quantization:
    """Quantize (N, D) float32 vectors with faiss k-means on every level's residuals; deterministic in the seed."""
    return kmeans_levels(vectors, config, [slice(None)] * len(config.codes_per_level))


def kmeans_levels(vectors: np.ndarray, config: SidsConfig, columns: Sequence[slice]) -> Quantization:
    """Quantize (N, D) float32 vectors level by level, each by k-means of its `columns` of the residuals."""
    residuals = np.ascontiguousarray(vectors, dtype=np.float32).copy()
    codes = np.empty((len(vectors), 0), dtype=np.int64)
    codebooks: list[np.ndarray] = []
    errors: list[float] = []
    last = residuals
    for level in progress(range(len(config.codes_per_level)), desc="quantizing", unit="level"):
        n_codes = n_codes_of_level(level, codes, config)
        level_vectors = np.ascontiguousarray(residuals[:, columns[level]])
        # Where every level has dimensions of its own, none is a residual of another.
        untouched = level == 0 or columns[level] != columns[level - 1]
        nearest, centroids = kmeans(level_vectors, n_codes, config.seed + level, from_items=untouched)
        book = np.zeros((n_codes, residuals.shape[1]), dtype=np.float32)
        book[:, columns[level]] = centroids
        last = residuals
        residuals = residuals - book[nearest]
        codes = np.column_stack([codes, nearest])
        codebooks.append(book)
        errors.append(float((residuals**2).sum(axis=1).mean()))
    return Quantization(codes, codebooks, last, zero_rounding_errors(errors, np.asarray(vectors)))


def n_codes_of_level(level: int, codes: np.ndarray, config: SidsConfig) -> int:
    """How many codes a level gets, given the (N, level) codes of earlier levels.

    These are fewer than configured where the catalogue has too few items. But where SIDs must be unique, the last level
    gets as many as the largest group of items with one prefix needs.
    """
    max_codes = max_codes_per_level(len(codes))
    if config.unique and 0 < level == len(config.codes_per_level) - 1:
        max_codes = max(max_codes, largest_group(codes))
    return min(config.codes_per_level[level], max_codes, len(codes))


def max_codes_per_level(n_items: int) -> int:
    """The most codes that a level gets in a catalogue of `n_items`, unless uniqueness needs more."""
    return max(2, n_items // _MIN_ITEMS_PER_CODE)


def kmeans(vectors: np.ndarray, n_codes: int, seed: int, *, from_items: bool) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the nearest centroid of every vector, and the (n_codes, D) centroids.

    `from_items`: start at single vectors, as faiss does, else at the means of a random partition.
    """
    clustering = faiss.Kmeans(
        vectors.shape[1],
        n_codes,
        niter=_ITERATIONS,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=10_000,
    )
    clustering.train(vectors, init_centroids=None if from_items else partition_means(vectors, n_codes, seed))
    return clustering.index.search(vectors, 1)[1][:, 0], np.asarray(clustering.centroids).copy()


def partition_means(residuals: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """(n_codes, D) float32 means of a random partition, where k-means of a residual level starts.

    Starting at single items, as faiss does, leaves most codes with the one item that they started at: residuals lie
    in all directions, and a mean of several, being shorter, is nearer to everything than any single one.
    """
    part = np.random.default_rng(seed).permutation(len(residuals)) % n_codes
    sums = np.zeros((n_codes, residuals.shape[1]), dtype=np.float64)
    np.add.at(sums, part, residuals)
    return (sums / np.bincount(part, minlength=n_codes)[:, None]).astype(np.float32)
