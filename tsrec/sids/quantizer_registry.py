"""Registry of all quantizers, and how one is saved in an artifact: the table `codebooks` and, for some, a transform."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import SidsConfig
from tsrec.sids import balanced, opq, rq_vae
from tsrec.sids.kmeans import residual_kmeans
from tsrec.sids.quantization import Codebooks, Identity, Quantization, Transform, quantize, reconstruction_errors
from tsrec.store import Artifact, ArtifactWriter

_TRANSFORM = "transform.safetensors"


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


@dataclass(frozen=True)
class FrozenQuantizer:
    """A quantizer from an artifact: it assigns codes, and is not fitted any more."""

    transform: Transform
    codebooks: Codebooks

    def quantize(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, Z) encodings, (N, L) codes, and (N, L) squared residuals, of (N, D) float32 vectors."""
        latents = self.transform.encode(vectors)
        return latents, *quantize(latents, self.codebooks, self.transform.n_prices)

    def reconstruction_errors(self, vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """(N, D) squared errors of vectors that are reconstructed from (N, L) codes."""
        return reconstruction_errors(vectors, codes, self.codebooks, self.transform)


def save_quantizer(quantization: Quantization, out: ArtifactWriter) -> None:
    """Write what `open_quantizer` reads."""
    books = quantization.codebooks
    table = {
        C.LEVEL: pa.array(np.concatenate([np.full(len(book), level) for level, book in enumerate(books)])),
        C.CODE: pa.array(np.concatenate([np.arange(len(book)) for book in books])),
        C.CENTROID: pa.array([row for book in books for row in book], type=pa.list_(pa.float32())),
    }
    out.write_table("codebooks", pa.table(table))
    quantization.transform.save(out.path / _TRANSFORM)


def open_quantizer(artifact: Artifact, config: SidsConfig) -> FrozenQuantizer:
    """Open the quantizer of an artifact that was made with the settings `config`."""
    levels = artifact.table("codebooks", [C.LEVEL])[C.LEVEL].to_numpy()
    centroids = artifact.matrix("codebooks", C.CENTROID)
    books = [centroids[levels == level] for level in range(int(levels.max()) + 1)]
    load = QUANTIZERS[config.quantizer].load
    return FrozenQuantizer(load(artifact.file(_TRANSFORM)) if load else Identity(), books)


def copy_quantizer(base: Artifact, out: ArtifactWriter) -> None:
    """Copy the quantizer of `base` into another artifact."""
    out.write_table("codebooks", base.table("codebooks"))
    if base.has(_TRANSFORM):
        (out.path / _TRANSFORM).write_bytes(base.file(_TRANSFORM).read_bytes())
