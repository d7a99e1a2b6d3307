"""What every residual quantizer gives back, and the shape of its function. A new quantizer is one such function."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tsrec.config import SidsConfig


@dataclass(frozen=True)
class Quantization:
    """What a residual quantizer makes of N vectors of D dimensions on L levels.

    `codes` (N, L) int64; `codebooks` L arrays (n_codes, D) float32; `residuals` (N, D) float32: what the last level
    had to quantize, its own centroid not yet subtracted; `errors` (L,) mean squared length of what remains after
    each level.
    """

    codes: np.ndarray
    codebooks: list[np.ndarray]
    residuals: np.ndarray
    errors: list[float]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each level has."""
        return tuple(len(book) for book in self.codebooks)


class Quantizer(Protocol):
    """Turns (N, D) float32 embeddings into codes; the same embeddings and configuration give the same result."""

    def __call__(self, embeddings: np.ndarray, config: SidsConfig) -> Quantization:
        """Quantize; the number of codes of a level may be less than configured where items are few."""
        ...
