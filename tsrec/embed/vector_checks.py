"""Checks whether an encoder's vectors can be used. Knows vectors and texts; the encoder's name is for messages."""

import numpy as np

from tsrec.errors import DataError


def check_vectors(vectors: np.ndarray, texts: list[str], item_ids: list[str], encoder: str) -> None:
    """Check (N, D) float32 vectors of N texts, scaled to length 1.

    Raises:
        DataError: some are not finite; or all are the same though the texts are not. Names the encoder and the first
            such item.
    """
    usable = np.isfinite(vectors.sum(axis=1))
    if not usable.all():
        first = int(np.argmin(usable))
        raise DataError(
            f"embed.encoder {encoder!r} gives vectors with NaN or infinity for "
            f"{int((~usable).sum())} of {len(vectors)} items, the first is {item_ids[first]!r} "
            f"({texts[first][:80]!r}); its weights are damaged, or overflow in their precision: choose another encoder"
        )
    if len(set(texts)) > 1 and (vectors.min(axis=0) == vectors.max(axis=0)).all():
        raise DataError(
            f"embed.encoder {encoder!r} gives all {len(vectors)} items the same vector, whatever their texts say, e.g. "
            f"{item_ids[0]!r} ({texts[0][:80]!r}); it is untrained or damaged: choose another encoder"
        )
