"""Balanced residual k-means: every code of a level serves about as many items as any other.

LC-Rec's uniform mapping and MiniOneRec's constrained k-means do the same; here a refresh can assign new items by the
same rule. Each code has a price, and an item takes the code with the least sum of squared distance and price. Prices
are those of a balanced transport between items and codes (Sinkhorn), so that codes in crowded regions cost more. A
price is stored as one more coordinate of a centroid, in which every item is 0. So the nearest centroid is the right
one, and the other modules know nothing of prices.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from tsrec.config import SidsConfig
from tsrec.sids.kmeans import fit_levels, partition_means
from tsrec.sids.quantization import Quantization, Transform, zero_rounding_errors

_SHAPE = "n_dimensions"
_ITEMS_PER_CODE = 256  # items that centroids and prices are fitted on, at most; all items are assigned by them
_ROUNDS = 20  # in each, prices and then centroids are updated
_SINKHORN_STEPS = 10  # in each round, from the prices of the previous one
_TEMPERATURE = 0.05  # of the transport's soft assignment, as a share of the mean squared distance


@dataclass(frozen=True)
class PricePadding(Transform):
    """Pads vectors of `n_dimensions` with `n_prices` zeros, one for the price of each level."""

    n_dimensions: int
    n_prices: int

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, D + L)."""
        return np.pad(np.asarray(vectors, dtype=np.float32), ((0, 0), (0, self.n_prices)))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(N, D + L) -> (N, D)."""
        return latents[:, : self.n_dimensions]

    def save(self, path: Path) -> None:
        """Write both numbers."""
        save_file({_SHAPE: np.array([self.n_dimensions, self.n_prices])}, path)


def balanced_kmeans(vectors: np.ndarray, config: SidsConfig) -> Quantization:
    """Quantize (N, D) float32 vectors level by level; deterministic in the seed."""
    transform = PricePadding(vectors.shape[1], len(config.codes_per_level))
    latents = transform.encode(vectors)

    def codebook(level: int, residuals: np.ndarray, n_codes: int) -> np.ndarray:
        book = np.zeros((n_codes, residuals.shape[1]), dtype=np.float32)
        centroids, prices = _fit_centroids_and_prices(transform.decode(residuals), n_codes, config.seed + level)
        book[:, : transform.n_dimensions] = centroids
        book[:, transform.n_dimensions + level] = np.sqrt(prices)
        return book

    codes, codebooks, errors = fit_levels(latents, config, codebook, transform.n_prices)
    means = zero_rounding_errors([float(level.mean(dtype=np.float64)) for level in errors], latents)
    return Quantization(codes=codes, codebooks=codebooks, errors=means, transform=transform)


def load(path: Path) -> PricePadding:
    """Read what `PricePadding.save` wrote."""
    return PricePadding(*map(int, load_file(path)[_SHAPE]))


def _fit_centroids_and_prices(vectors: np.ndarray, n_codes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(K, D) centroids and (K,) prices of (N, D) vectors. Prices are squared distances; the lowest is 0."""
    max_items = n_codes * _ITEMS_PER_CODE
    if len(vectors) > max_items:
        vectors = vectors[np.sort(np.random.default_rng(seed).permutation(len(vectors))[:max_items])]
    centroids = partition_means(vectors, n_codes, seed)
    lengths = np.square(vectors).sum(axis=1)[:, None]
    prices = np.zeros(n_codes, dtype=np.float32)
    for _ in range(_ROUNDS):
        distances = lengths - 2 * (vectors @ centroids.T) + np.square(centroids).sum(axis=1)
        prices = _prices(distances, prices)
        nearest = (distances + prices).argmin(axis=1)
        counts = np.bincount(nearest, minlength=n_codes)
        sums = np.zeros(centroids.shape)
        np.add.at(sums, nearest, vectors)
        centroids = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids).astype(np.float32)
    return centroids, prices - prices.min()


def _prices(distances: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """(K,) prices that spread N items evenly over K codes, by Sinkhorn steps.

    Args:
        distances: (N, K) squared distances of items and codes.
        prices: (K,) to start from.
    """
    tiny = float(np.finfo(np.float32).tiny)
    temperature = _TEMPERATURE * max(float(distances.mean()), tiny)
    even_count = len(distances) / distances.shape[1]
    for _ in range(_SINKHORN_STEPS):
        soft_counts = softmax(-(distances + prices) / temperature, axis=1).sum(axis=0)
        prices = prices + temperature * np.log(np.maximum(soft_counts, tiny) / even_count)
    return prices
