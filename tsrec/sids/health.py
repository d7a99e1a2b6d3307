"""Codebook health: is the space of codes used evenly, or has one code swallowed everything?"""

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import SidsConfig
from tsrec.errors import CodebookError


def codebook_health(codes: np.ndarray, sizes: tuple[int, ...], errors: list[float] | None) -> pd.DataFrame:
    """One row per level (from 0): n_codes, used, utilization, perplexity, largest_cluster (share of items),
    collision_rate (share of items whose prefix up to this level another item has), quantization_error (mean squared
    length of the residual; missing for imported SIDs).
    """
    rows = []
    for level, size in enumerate(sizes):
        shares = np.bincount(codes[:, level], minlength=size) / len(codes)
        used = shares[shares > 0]
        _, inverse, counts = np.unique(codes[:, : level + 1], axis=0, return_inverse=True, return_counts=True)
        rows.append(
            {
                C.LEVEL: level,
                "n_codes": size,
                "used": len(used),
                "utilization": len(used) / size,
                "perplexity": float(np.exp(-(used * np.log(used)).sum())),
                "largest_cluster": float(shares.max()),
                "collision_rate": float((counts[inverse.ravel()] > 1).mean()),
                "quantization_error": errors[level] if errors else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def check_health(health: pd.DataFrame, config: SidsConfig) -> None:
    """Raises CodebookError where a level uses too few of its codes, or one level-1 code holds too many items."""
    for row in health.itertuples(index=False):
        if row.utilization < config.min_utilization:
            raise CodebookError(
                f"codebook collapse at level {row.level + 1}: {row.used} of {row.n_codes} codes in use; are the item "
                "texts all alike? Look at ingest.text_fields, or lower sids.codes_per_level"
            )
    largest = float(health["largest_cluster"].iloc[0])
    if largest > config.max_largest_cluster:
        raise CodebookError(
            f"codebook collapse at level 1: one code holds {largest:.0%} of all items (sids.max_largest_cluster = "
            f"{config.max_largest_cluster:.0%}); are the item texts all alike?"
        )
