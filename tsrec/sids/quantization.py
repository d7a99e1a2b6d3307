"""What every quantizer is: a transform into a space that codebooks divide level by level, and those codebooks.

Each level takes the centroid nearest to what the levels before have left. Independent levels fit in, too: their
centroids are zero outside their own dimensions. So one kind of quantizer is assigned, measured and moved. A new one is
a function that gives a `Quantization`, and one that reads its transform; both stand in `quantizer_registry.py`.

Whatever is done to all items is done to `ROWS_AT_ONCE` of them at a time: a second matrix of all items would not fit
beside the first one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Codebooks = Sequence[np.ndarray]
"""L arrays (n_codes, Z) float32."""

ROWS_AT_ONCE = 65_536
_ROUNDING = 1e-9  # share of the mean squared length that rounding may leave where a centroid equals its vector


class Transform:
    """Between vectors (N, D) and the space of the codebooks (N, Z), both float32; frozen once it is fitted.

    This one changes nothing. The last `n_prices` of the Z coordinates are 0 for every vector: in centroids they hold
    the price of a code (see `balanced`). They do not count in errors.
    """

    n_prices: int = 0

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, Z)."""
        return vectors

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(N, Z) -> (N, D), as near to what was encoded as it can be."""
        return latents

    def save(self, path: Path) -> None:
        """Write a safetensors file for `load`, unless there is nothing to write."""


@dataclass(frozen=True, kw_only=True)
class FrozenQuantizer:
    """L `codebooks` (n_codes, Z) float32 in the space of a `transform`. It assigns codes, and learns nothing."""

    codebooks: Codebooks
    transform: Transform = field(default_factory=Transform)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return tuple(map(len, self.codebooks))

    def quantize(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, L) int64 codes of (N, D) float32 vectors, and (N, L) squared residuals in the codebooks' space."""
        codes = np.empty((len(vectors), len(self.codebooks)), dtype=np.int64)
        errors = np.empty(codes.shape, dtype=np.float32)
        for rows in row_slices(len(vectors)):
            latents = self.transform.encode(vectors[rows])
            codes[rows], errors[rows] = quantize(latents, self.codebooks, self.transform.n_prices)
        return codes, errors

    def last_residuals(self, vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """(N, Z): what the last level has to quantize of (N, D) vectors with (N, L) codes."""
        residuals = self.transform.encode(vectors)
        for level, book in enumerate(self.codebooks[:-1]):
            residuals = residuals - book[codes[:, level]]
        return residuals

    def reconstruction_errors(self, vectors: np.ndarray, codes: np.ndarray, n_dimensions: int) -> np.ndarray:
        """(N,) float32: squared length of what codes leave of the first `n_dimensions` of vectors.

        Unlike errors in the codebooks' space, these can be compared between quantizers.

        Args:
            vectors: (N, D) float32.
            codes: (N, L) int.
            n_dimensions: those of the texts; behind them stands what is bought together.
        """
        errors = np.empty(len(vectors), dtype=np.float32)
        for rows in row_slices(len(vectors)):
            total = np.zeros((len(codes[rows]), self.codebooks[0].shape[1]), dtype=np.float32)
            for level, book in enumerate(self.codebooks):
                total += book[codes[rows, level]]
            errors[rows] = np.square(vectors[rows] - self.transform.decode(total))[:, :n_dimensions].sum(axis=1)
        return errors


@dataclass(frozen=True, kw_only=True)
class Quantization(FrozenQuantizer):
    """A quantizer, and what it makes of the N vectors that it was fitted on.

    `codes` (N, L) int64; `errors` (L,) mean squared length of what remains after each level, in the codebooks' space;
    `counts` for the manifest.
    """

    codes: np.ndarray
    errors: list[float]
    counts: Mapping[str, int | float] = field(default_factory=dict)


def quantize(latents: np.ndarray, codebooks: Codebooks, n_prices: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The nearest code on every level's residual.

    Args:
        latents: (N, Z) float32.
        codebooks: one per level.
        n_prices: number of last coordinates that hold prices of codes, and do not count in errors.

    Returns:
        (N, L) int64 codes, and (N, L) float32: the squared length of the residual after each level.
    """
    import faiss  # refreshes read the health of codebooks, and quantize nothing

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


def row_slices(n_rows: int) -> Iterator[slice]:
    """All of `n_rows` rows, `ROWS_AT_ONCE` at a time."""
    return (slice(start, start + ROWS_AT_ONCE) for start in range(0, n_rows, ROWS_AT_ONCE))


def zero_rounding_errors(errors: Sequence[float], latents: np.ndarray) -> list[float]:
    """Mean squared residuals (L,) with rounding errors as 0; `latents` (N, Z) give the scale."""
    threshold = _ROUNDING * float(np.square(latents).sum(axis=1).mean(dtype=np.float64))
    return [error if error > threshold else 0.0 for error in errors]


def row_groups(codes: np.ndarray) -> np.ndarray:
    """(N,) int64: which rows of (N, L) codes are equal; groups are numbered from 0 in the order of their codes."""
    groups = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        groups = np.unique(groups * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    return groups


def largest_group(prefixes: np.ndarray) -> int:
    """Size of the largest group of equal rows of (N, L) codes."""
    return int(np.bincount(row_groups(prefixes)).max())
