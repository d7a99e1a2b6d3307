"""The tables that the sids stage writes, whether items get their SIDs for the first time or in a refresh."""

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.store import ArtifactWriter

FACTORS = "item_factors"
Assignment = tuple[np.ndarray, tuple[int, ...], pd.DataFrame]
"""Codes (N, L), codes per level, codebook health."""


def write_sids(name: str, item_ids: list[str], codes: np.ndarray, out: ArtifactWriter) -> None:
    """Write the table `name`: each item's SID, of (N, L) `codes`."""
    sids = pa.array(list(codes.astype(np.int16)), type=pa.list_(pa.int16()))
    out.write_table(name, pa.table({C.ITEM: pa.array(item_ids), C.CODES: sids}))


def write_factors(item_ids: list[str], factors: np.ndarray, out: ArtifactWriter) -> None:
    """Write the table of (N, F) co-occurrence factors, and count the items that have none."""
    vectors = pa.array(list(factors), type=pa.list_(pa.float32()))
    out.write_table(FACTORS, pa.table({C.ITEM: pa.array(item_ids), C.EMBEDDING: vectors}))
    out.count(n_without_cooccurrence=int((factors == 0).all(axis=1).sum()))


def text_error(errors: np.ndarray, embeddings: np.ndarray) -> float:
    """Mean squared reconstruction error of the text embeddings alone, without co-occurrence factors; 0 of no items.

    Args:
        errors: (N, D + F) squared errors of every dimension; the first D are those of the texts.
        embeddings: (any number, D).
    """
    lengths = errors[:, : embeddings.shape[1]].sum(axis=1)
    return round(float(lengths.mean(dtype=np.float64)), 6) if len(errors) else 0.0
