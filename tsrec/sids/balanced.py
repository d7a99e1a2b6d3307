"""Balanced residual k-means: every code of a level serves about as many items as any other.

As in LC-Rec's uniform mapping and MiniOneRec's constrained k-means, but with a rule that a refresh can go on with: each
code has a price, and an item takes the code whose squared distance and price are least together. The prices are those
of a balanced transport between items and codes (Sinkhorn), so that popular regions are dear. A price is one more
coordinate of a centroid, where every item has 0: then "nearest" says it all, and the rest of the package knows nothing
of prices.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from tsrec.config import SidsConfig
from tsrec.machine.progress import progress
from tsrec.sids.kmeans import n_codes_of_level, partition_means
from tsrec.sids.quantization import Quantization, quantize, zero_rounding_errors

_SHAPE = "n_dimensions"
_ITEMS_PER_CODE = 256  # that centroids and prices are found on; all items are assigned by them
_ROUNDS = 20  # of centroids and prices in turn
_SWEEPS = 10  # of Sinkhorn in each round, from the prices of the round before
_BLUR = 0.05  # of the mean squared distance: how sharply the transport tells codes apart


@dataclass(frozen=True)
class PricePadding:
    """Vectors of `n_dimensions`, and a 0 behind them for the price of every level."""

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
    latents = residuals = transform.encode(vectors)
    codebooks: list[np.ndarray] = []
    codes = np.empty((len(vectors), 0), dtype=np.int64)
    errors: list[float] = []
    for level in progress(range(transform.n_prices), desc="quantizing", unit="level"):
        n_codes = n_codes_of_level(level, codes, config)
        book = np.zeros((n_codes, latents.shape[1]), dtype=np.float32)
        centroids, prices = _fit_centroids_and_prices(transform.decode(residuals), n_codes, config.seed + level)
        book[:, : transform.n_dimensions] = centroids
        book[:, transform.n_dimensions + level] = np.sqrt(prices)
        nearest, error = quantize(residuals, [book], transform.n_prices)
        last, residuals = residuals, residuals - book[nearest[:, 0]]
        codebooks.append(book)
        codes = np.hstack([codes, nearest])
        errors.append(float(error.mean(dtype=np.float64)))
    return Quantization(codes, codebooks, last, zero_rounding_errors(errors, latents), transform)


def load(path: Path) -> PricePadding:
    """Read what `Priced.save` wrote."""
    return PricePadding(*map(int, load_file(path)[_SHAPE]))


def _fit_centroids_and_prices(vectors: np.ndarray, n_codes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(K, D) centroids and (K,) prices from 0 on, in squared distance."""
    most = n_codes * _ITEMS_PER_CODE
    if len(vectors) > most:
        vectors = vectors[np.sort(np.random.default_rng(seed).permutation(len(vectors))[:most])]
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
    """(K,) prices at which (N, K) squared distances spread the items evenly, from such prices on (Sinkhorn)."""
    nothing = float(np.finfo(np.float32).tiny)
    blur = _BLUR * max(float(distances.mean()), nothing)
    even = len(distances) / distances.shape[1]
    for _ in range(_SWEEPS):
        wanted = softmax(-(distances + prices) / blur, axis=1).sum(axis=0)
        prices = prices + blur * np.log(np.maximum(wanted, nothing) / even)
    return prices
