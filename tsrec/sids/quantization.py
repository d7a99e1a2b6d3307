"""What every quantizer is: a transform into a space that codebooks divide level by level, and those codebooks.

Each level takes the centroid nearest to what the levels before have left. Independent levels fit in, too: their
centroids are zero outside their own dimensions. So one kind of quantizer is assigned, measured and moved. A new one is
a function that gives a `Quantization`, and one that reads its transform; both stand in `quantizer_registry.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import faiss
import numpy as np

Codebooks = Sequence[np.ndarray]
"""L arrays (n_codes, Z) float32."""

_ROUNDING = 1e-9  # share of the mean squared length that rounding may leave where a centroid equals its vector


class Transform(Protocol):
    """Between vectors (N, D) and the space of the codebooks (N, Z), both float32; frozen once it is fitted.

    The last `n_prices` of the Z coordinates are 0 for every vector: in centroids they hold the price of a code (see
    `balanced`). They do not count in errors.
    """

    @property
    def n_prices(self) -> int:
        """Number of coordinates that hold prices."""
        ...

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, Z)."""
        ...

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(N, Z) -> (N, D), as near to what was encoded as it can be."""
        ...

    def save(self, path: Path) -> None:
        """Write a safetensors file for `load`, unless there is nothing to write."""
        ...


class Identity:
    """Codebooks divide the space of the vectors themselves."""

    n_prices: int = 0

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """The same vectors."""
        return vectors

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """The same vectors."""
        return latents

    def save(self, path: Path) -> None:
        """There is nothing to write."""


@dataclass(frozen=True)
class Quantization:
    """What a quantizer makes of N vectors on L levels.

    `codes` (N, L) int64; `codebooks` L arrays (n_codes, Z) float32; `residuals` (N, Z) float32: what the last level
    had to quantize, its own centroid not yet subtracted; `errors` (L,) mean squared length of what remains after
    each level, in the codebooks' space; `counts` for the manifest.
    """

    codes: np.ndarray
    codebooks: Codebooks
    residuals: np.ndarray
    errors: list[float]
    transform: Transform = field(default_factory=Identity)
    counts: Mapping[str, int | float] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return tuple(len(book) for book in self.codebooks)


def quantize(latents: np.ndarray, codebooks: Codebooks, n_prices: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The nearest code on every level's residual.

    Args:
        latents: (N, Z) float32.
        codebooks: one per level.
        n_prices: number of last coordinates that hold prices of codes, and do not count in errors.

    Returns:
        (N, L) int64 codes, and (N, L) float32: the squared length of the residual after each level.
    """
    residuals = np.ascontiguousarray(latents, dtype=np.float32)
    codes, errors = [], []
    for book in codebooks:
        index = faiss.IndexFlatL2(book.shape[1])
        index.add(np.ascontiguousarray(book))
        nearest = index.search(residuals, 1)[1][:, 0]
        residuals = residuals - book[nearest]
        codes.append(nearest)
        errors.append(np.square(residuals[:, : residuals.shape[1] - n_prices]).sum(axis=1))
    return np.stack(codes, axis=1).astype(np.int64), np.stack(errors, axis=1)


def sum_of_centroids(codes: np.ndarray, codebooks: Codebooks) -> np.ndarray:
    """(N, Z) float32: the sum of the centroids of (N, L) codes, over as many levels as there are `codebooks`."""
    total = np.zeros((len(codes), codebooks[0].shape[1]), dtype=np.float32)
    for level, book in enumerate(codebooks):
        total += book[codes[:, level]]
    return total


def reconstruction_errors(
    vectors: np.ndarray, codes: np.ndarray, codebooks: Codebooks, transform: Transform
) -> np.ndarray:
    """(N, D) float32: squared error of every dimension of vectors that are reconstructed from their codes.

    Unlike errors in the codebooks' space, these can be compared between quantizers.
    """
    decoded = transform.decode(sum_of_centroids(codes, codebooks))
    return np.square(vectors - decoded)


def zero_rounding_errors(errors: Sequence[float], latents: np.ndarray) -> list[float]:
    """Mean squared residuals (L,) with rounding errors as 0; `latents` (N, Z) give the scale."""
    threshold = _ROUNDING * float(np.square(latents, dtype=np.float64).sum(axis=1).mean())
    return [error if error > threshold else 0.0 for error in errors]


def largest_group(prefixes: np.ndarray) -> int:
    """Size of the largest group of equal rows of (N, L) codes."""
    return int(np.unique(prefixes, axis=0, return_counts=True)[1].max())
