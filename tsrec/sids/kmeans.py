"""Residual k-means: level by level, cluster what the levels before have left unexplained."""

import faiss
import numpy as np

from tsrec.config import SidsConfig
from tsrec.progress import progress
from tsrec.sids.quantization import Quantization

_NOTHING = 1e-9  # of the mean squared length: what rounding leaves of a vector that a centroid equals


def residual_kmeans(embeddings: np.ndarray, config: SidsConfig) -> Quantization:
    """Quantize (N, D) float32 embeddings with faiss k-means on every level's residuals; deterministic in the seed.

    A level gets fewer codes than configured where the catalogue has too few items for so many; but where SIDs have to
    be unique, the last level gets as many as the largest group of items that share a prefix needs.
    """
    residuals = np.ascontiguousarray(embeddings, dtype=np.float32).copy()
    nothing = _NOTHING * float(np.square(residuals, dtype=np.float64).sum(axis=1).mean())
    most = max(2, len(embeddings) // config.min_items_per_code)
    codes: list[np.ndarray] = []
    codebooks: list[np.ndarray] = []
    errors: list[float] = []
    last = residuals
    for level, size in enumerate(progress(config.codes_per_level, desc="quantizing", unit="level")):
        if config.unique and codes and level == len(config.codes_per_level) - 1:
            most = max(most, _largest_group(np.stack(codes, axis=1)))
        n_codes = min(size, most, len(embeddings))
        kmeans = faiss.Kmeans(
            residuals.shape[1],
            n_codes,
            niter=config.iterations,
            seed=config.seed + level,
            min_points_per_centroid=1,
            max_points_per_centroid=10_000,
        )
        start = _random_partition_means(residuals, n_codes, config.seed + level) if level else None
        kmeans.train(residuals, init_centroids=start)
        nearest = kmeans.index.search(residuals, 1)[1][:, 0]
        centroids = np.asarray(kmeans.centroids).copy()
        last = residuals
        residuals = residuals - centroids[nearest]
        codes.append(nearest)
        codebooks.append(centroids)
        error = float((residuals**2).sum(axis=1).mean())
        errors.append(error if error > nothing else 0.0)
    return Quantization(np.stack(codes, axis=1).astype(np.int64), codebooks, last, errors)


def _largest_group(prefixes: np.ndarray) -> int:
    """The most rows of (N, L) codes that are equal."""
    return int(np.unique(prefixes, axis=0, return_counts=True)[1].max())


def _random_partition_means(residuals: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """(n_codes, D) float32 means of a random partition, where k-means of a residual level starts.

    Starting at single items, as faiss does, leaves most codes with the one item that they started at: residuals lie
    in all directions, and a mean of several, being shorter, is nearer to everything than any single one.
    """
    part = np.random.default_rng(seed).permutation(len(residuals)) % n_codes
    sums = np.zeros((n_codes, residuals.shape[1]), dtype=np.float64)
    np.add.at(sums, part, residuals)
    return (sums / np.bincount(part, minlength=n_codes)[:, None]).astype(np.float32)
