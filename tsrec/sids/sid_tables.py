"""The tables that the sids stage writes, whether items get their SIDs for the first time or in a refresh."""

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.sid.vectors import list_column
from tsrec.store import ArtifactWriter

FACTORS = "item_factors"
Assignment = tuple[np.ndarray, tuple[int, ...], pd.DataFrame]
"""Codes (N, L), codes per level, codebook health."""


def write_sids(name: str, item_ids: list[str], codes: np.ndarray, out: ArtifactWriter) -> None:
    """Write the table `name`: each item's SID, of (N, L) `codes`."""
    out.write_table(name, pa.table({C.ITEM: pa.array(item_ids), C.CODES: list_column(codes.astype(np.int16))}))


def write_factors(item_ids: list[str], factors: np.ndarray, out: ArtifactWriter) -> None:
    """Write the table of (N, F) co-occurrence factors, and count the items that have none."""
    out.write_table(FACTORS, pa.table({C.ITEM: pa.array(item_ids), C.EMBEDDING: list_column(factors)}))
    out.count(n_without_cooccurrence=int((factors == 0).all(axis=1).sum()))


def mean_error(errors: np.ndarray) -> float:
    """Mean of (N,) reconstruction errors, as the manifest has it; 0 of no items."""
    return round(float(errors.mean(dtype=np.float64)), 6) if len(errors) else 0.0
