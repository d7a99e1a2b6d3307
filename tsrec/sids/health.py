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

    Args:
        codes: (N, L) int, before collisions are settled: what the quantizer did, not what was made of it.
        sizes: codes that each level has.
        errors: (L,) quantization errors, or none.
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
    collapse = describe_collapse(health, config)
    if collapse:
        raise CodebookError(
            f"{collapse}; are the item texts all alike? Look at ingest.text_fields, or lower sids.codes_per_level"
        )


def describe_collapse(health: pd.DataFrame, config: SidsConfig) -> str | None:
    """What is wrong with the first collapsed level, in words; None where all are in order."""
    for row in health.itertuples(index=False):
        if row.utilization < config.min_utilization:
            return (
                f"codebook collapse at level {row.level + 1}: {row.used} of {row.n_codes} codes in use, below "
                f"sids.min_utilization = {config.min_utilization:.0%}"
            )
    largest = float(health["largest_cluster"].iloc[0])
    if largest > config.max_largest_cluster:
        return (
            f"codebook collapse at level 1: one code holds {largest:.0%} of all items, above "
            f"sids.max_largest_cluster = {config.max_largest_cluster:.0%}"
        )
    return None
