"""Registry of all quantizers, and how one is saved in an artifact: the table `codebooks` and, for some, a transform."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import SidsConfig
from tsrec.sid.vectors import list_column
from tsrec.sids import balanced, opq, rq_vae
from tsrec.sids.kmeans import residual_kmeans
from tsrec.sids.quantization import FrozenQuantizer, Quantization, Transform, zero_rounding_errors
from tsrec.store import Artifact, ArtifactWriter

_TRANSFORM = "transform.safetensors"
_MAX_FITTED = 200_000  # items that codebooks are learned on; more make them no better, and take longer
_FITTED_PER_CODE = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Quantizer:
    """One kind of quantizer.

    `fit` quantizes (N, D) float32 vectors; the same vectors and settings give the same result. A level may have fewer
    codes than configured where items are few. `load` reads the transform that `Quantization.transform` saved, if any.
    """

    fit: Callable[[np.ndarray, SidsConfig], Quantization]
    load: Callable[[Path], Transform] | None = None


QUANTIZERS = {
    "residual-kmeans": Quantizer(residual_kmeans),
    "balanced-kmeans": Quantizer(balanced.balanced_kmeans, balanced.load),
    "rq-vae": Quantizer(rq_vae.rq_vae, rq_vae.load),
    "opq": Quantizer(opq.opq, opq.load),
}


def fit_quantizer(vectors: np.ndarray, config: SidsConfig) -> Quantization:
    """Quantize (N, D) float32 vectors; the same vectors and settings give the same result.

    Of more than `_MAX_FITTED` vectors, or `_FITTED_PER_CODE` for each code of the largest level where that is more, a
    random sample of so many is fitted on. All of them are assigned by what comes of it, part by part.
    """
    fit = QUANTIZERS[config.quantizer].fit
    n_fitted = max(_MAX_FITTED, _FITTED_PER_CODE * max(config.codes_per_level))
    if len(vectors) <= n_fitted:
        return fit(vectors, config)
    logger.info("codebooks are learned on %d of %d items", n_fitted, len(vectors))
    sample = vectors[np.sort(np.random.default_rng(config.seed).choice(len(vectors), n_fitted, replace=False))]
    fitted = fit(sample, config)
    codes, errors = fitted.quantize(vectors)
    means = zero_rounding_errors(errors.mean(axis=0, dtype=np.float64).tolist(), fitted.transform.encode(sample))
    return replace(fitted, codes=codes, errors=means)


def save_quantizer(quantization: Quantization, out: ArtifactWriter) -> None:
    """Write what `open_quantizer` reads."""
    books = quantization.codebooks
    table = {
        C.LEVEL: pa.array(np.concatenate([np.full(len(book), level) for level, book in enumerate(books)])),
        C.CODE: pa.array(np.concatenate([np.arange(len(book)) for book in books])),
        C.CENTROID: list_column(np.concatenate(books)),
    }
    out.write_table("codebooks", pa.table(table))
    quantization.transform.save(out.path / _TRANSFORM)


def open_quantizer(artifact: Artifact, config: SidsConfig) -> FrozenQuantizer:
    """Open the quantizer of an artifact that was made with the settings `config`."""
    levels = artifact.table("codebooks", [C.LEVEL])[C.LEVEL].to_numpy()
    centroids = artifact.matrix("codebooks", C.CENTROID)
    books = [centroids[levels == level] for level in range(int(levels.max()) + 1)]
    load = QUANTIZERS[config.quantizer].load
    transform = load(artifact.file(_TRANSFORM)) if load else Transform()
    return FrozenQuantizer(codebooks=books, transform=transform)


def copy_quantizer(base: Artifact, out: ArtifactWriter) -> None:
    """Copy the quantizer of `base` into another artifact."""
    out.write_table("codebooks", base.table("codebooks"))
    if base.has(_TRANSFORM):
        (out.path / _TRANSFORM).write_bytes(base.file(_TRANSFORM).read_bytes())
