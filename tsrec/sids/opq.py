"""OPQ (optimized product quantization, Ge et al., CVPR 2013): levels that are independent of one another.

faiss finds a rotation, after which every level quantizes its own part of the dimensions.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
from safetensors.numpy import load_file, save_file

from tsrec.config import SidsConfig
from tsrec.errors import ConfigError
from tsrec.sids.kmeans import kmeans_levels, max_codes_per_level
from tsrec.sids.quantization import Quantization, Transform

_ROTATION = "rotation"
_ROUNDS = 20  # of codes and rotation in turn; faiss' own 50 leave no smaller an error on the sets of the benchmark
_LARGEST_BITS = 8  # of the codes that the rotation is found with; the levels' own number may be any


@dataclass(frozen=True)
class Rotation(Transform):
    """`matrix` (Z, Z) float32, orthonormal; vectors of fewer dimensions than Z are filled with zeros."""

    matrix: np.ndarray
    n_dimensions: int

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, Z)."""
        return _zero_padded(vectors, len(self.matrix)) @ self.matrix.T

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(N, Z) -> (N, D), rotated back."""
        return (latents @ self.matrix)[:, : self.n_dimensions]

    def save(self, path: Path) -> None:
        """Write the matrix without the columns that only meet zeros."""
        save_file({_ROTATION: np.ascontiguousarray(self.matrix[:, : self.n_dimensions])}, path)


def opq(vectors: np.ndarray, config: SidsConfig) -> Quantization:
    """Rotate (N, D) float32 vectors and quantize each level's share of the dimensions; deterministic in the seed.

    Raises:
        ConfigError: more levels than dimensions.
    """
    n_levels = len(config.codes_per_level)
    if n_levels > vectors.shape[1]:
        raise ConfigError(
            f"sids.codes_per_level has {n_levels} levels, and opq shares {vectors.shape[1]} dimensions out among them; "
            "take fewer levels, or another sids.quantizer"
        )
    width = -(-vectors.shape[1] // n_levels)
    rotation = Rotation(_rotation(_zero_padded(vectors, width * n_levels), config), vectors.shape[1])
    columns = [slice(level * width, (level + 1) * width) for level in range(n_levels)]
    return replace(kmeans_levels(rotation.encode(vectors), config, columns), transform=rotation)


def load(path: Path) -> Rotation:
    """Read what `Rotation.save` wrote."""
    kept = load_file(path)[_ROTATION]
    return Rotation(_zero_padded(kept, len(kept)), kept.shape[1])


def _rotation(vectors: np.ndarray, config: SidsConfig) -> np.ndarray:
    """(Z, Z) the rotation whose equal parts product codes fit best; faiss looks for it from a random one."""
    n_items, n_dimensions = vectors.shape
    n_codes = min(max(config.codes_per_level), max_codes_per_level(n_items), n_items)
    codes = faiss.ProductQuantizer(
        n_dimensions, len(config.codes_per_level), min(_LARGEST_BITS, n_codes.bit_length() - 1)
    )
    codes.cp.seed, codes.cp.min_points_per_centroid = config.seed, 1
    opq_matrix = faiss.OPQMatrix(n_dimensions, len(config.codes_per_level))
    opq_matrix.pq, opq_matrix.niter = codes, _ROUNDS
    start = np.linalg.qr(np.random.default_rng(config.seed).normal(size=(n_dimensions, n_dimensions)))[0]
    faiss.copy_array_to_vector(np.ascontiguousarray(start, dtype=np.float32).ravel(), opq_matrix.A)
    # faiss (1.15) crashes on fewer vectors than dimensions; the same ones again change nothing of what is best.
    opq_matrix.train(np.resize(vectors, (max(n_items, n_dimensions), n_dimensions)))
    matrix: np.ndarray = faiss.vector_to_array(opq_matrix.A).reshape(n_dimensions, n_dimensions)
    return matrix


def _zero_padded(vectors: np.ndarray, width: int) -> np.ndarray:
    return np.pad(np.asarray(vectors, dtype=np.float32), ((0, 0), (0, width - vectors.shape[1])))
