"""k-means on every level: of the residuals that earlier levels leave, or of each level's own dimensions."""

from collections.abc import Callable, Sequence

import faiss
import numpy as np

from tsrec.config import SidsConfig
from tsrec.machine.progress import progress
from tsrec.sids.quantization import Quantization, largest_group, quantize, zero_rounding_errors

_ITERATIONS = 50  # of each level: twice as many as faiss's own
_MIN_ITEMS_PER_CODE = 4  # so that items of a small catalogue share codes


def residual_kmeans(vectors: np.ndarray, config: SidsConfig) -> Quantization:
    """Quantize (N, D) float32 vectors with faiss k-means on every level's residuals; deterministic in the seed."""
    return kmeans_levels(vectors, config, [slice(None)] * len(config.codes_per_level))


def kmeans_levels(vectors: np.ndarray, config: SidsConfig, columns: Sequence[slice]) -> Quantization:
    """Quantize (N, D) float32 vectors level by level, each by k-means of its `columns` of the residuals."""

    def codebook(level: int, residuals: np.ndarray, n_codes: int) -> np.ndarray:
        own = columns[level]
        # Where every level has dimensions of its own, none is a residual of another.
        untouched = level == 0 or own != columns[level - 1]
        book = np.zeros((n_codes, residuals.shape[1]), dtype=np.float32)
        level_vectors = np.ascontiguousarray(residuals[:, own])
        book[:, own] = kmeans(level_vectors, n_codes, config.seed + level, from_items=untouched)
        return book

    codes, codebooks, errors = fit_levels(np.ascontiguousarray(vectors, dtype=np.float32), config, codebook)
    means = [float(level.mean()) for level in errors]
    return Quantization(codes=codes, codebooks=codebooks, errors=zero_rounding_errors(means, vectors))


def fit_levels(
    latents: np.ndarray,
    config: SidsConfig,
    codebook: Callable[[int, np.ndarray, int], np.ndarray],
    n_prices: int = 0,
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Learn one codebook after the other, each of what the ones before it leave.

    Args:
        latents: (N, Z) float32.
        config: settings of the stage.
        codebook: gives one (n_codes, Z), from its level, the (N, Z) residuals there, and its number of codes.
        n_prices: number of last coordinates that hold prices of codes.

    Returns:
        (N, L) int64 codes; L codebooks; and for each level (N,) squared residuals behind it.
    """
    residuals, codes = latents, np.empty((len(latents), 0), dtype=np.int64)
    codebooks, errors = [], []
    for level in progress(range(len(config.codes_per_level)), desc="quantizing", unit="level"):
        book = codebook(level, residuals, n_codes_of_level(level, codes, config))
        nearest, error = quantize(residuals, [book], n_prices)
        residuals = residuals - book[nearest[:, 0]]
        codes = np.hstack([codes, nearest])
        codebooks.append(book)
        errors.append(error[:, 0])
    return codes, codebooks, errors


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


def kmeans(vectors: np.ndarray, n_codes: int, seed: int, *, from_items: bool) -> np.ndarray:
    """(n_codes, D) float32 centroids of (N, D) vectors.

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
    return np.asarray(clustering.centroids).copy()


def partition_means(residuals: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """(n_codes, D) float32 means of a random partition, where k-means of a residual level starts.

    Starting at single items, as faiss does, leaves most codes with the one item that they started at: residuals lie
    in all directions, and a mean of several, being shorter, is nearer to everything than any single one.
    """
    part = np.random.default_rng(seed).permutation(len(residuals)) % n_codes
    sums = np.zeros((n_codes, residuals.shape[1]), dtype=np.float64)
    np.add.at(sums, part, residuals)
    return (sums / np.bincount(part, minlength=n_codes)[:, None]).astype(np.float32)
