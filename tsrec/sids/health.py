"""Codebook health: is the space of codes used evenly, or has one code swallowed everything?"""

import numpy as np
import pandas as pd

from tsrec.columns import Columns as C
from tsrec.config import SidsConfig
from tsrec.errors import CodebookError
from tsrec.sids.quantization import row_groups

_FEW_CODES = 8


def codebook_health(codes: np.ndarray, sizes: tuple[int, ...], errors: list[float] | None) -> pd.DataFrame:
    """One row per level (from 0): n_codes, used, utilization, perplexity, largest_cluster (share of items),
    collision_rate (share of items whose prefix up to this level another item has), quantization_error (mean squared
    length of the residual; missing for imported SIDs).

    Args:
        codes: (N, L) int as the quantizer gave them, before collisions are resolved.
        sizes: codes that each level has.
        errors: (L,) quantization errors, or none.
    """
    rows, prefixes = [], np.zeros(len(codes), dtype=np.int64)
    for level, size in enumerate(sizes):
        shares = np.bincount(codes[:, level], minlength=size) / len(codes)
        used = shares[shares > 0]
        prefixes = row_groups(np.column_stack([prefixes, codes[:, level]]))
        counts = np.bincount(prefixes)
        rows.append(
            {
                C.LEVEL: level,
                "n_codes": size,
                "used": len(used),
                "utilization": len(used) / size,
                "perplexity": float(np.exp(-(used * np.log(used)).sum())),
                "largest_cluster": float(shares.max()),
                "collision_rate": float((counts[prefixes] > 1).mean()),
                "quantization_error": errors[level] if errors else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def check_health(health: pd.DataFrame, n_items: int, config: SidsConfig) -> None:
    """Raises CodebookError where a level uses too few of its codes, or one level-1 code holds too many items."""
    collapse = describe_collapse(health, n_items, config)
    if collapse:
        trained = ", or take another sids.quantizer" if config.quantizer == "rq-vae" else ""
        raise CodebookError(
            f"{collapse}; are most item texts alike? Look at ingest.text_fields, or change that bound{trained}"
        )


def describe_collapse(health: pd.DataFrame, n_items: int, config: SidsConfig) -> str | None:
    """A message about the first collapsed level, in a catalogue of `n_items`; None where no level has collapsed."""
    has_residuals = True
    for row in health.itertuples(index=False):
        # Where earlier levels left no residual, further codes have nothing to distinguish.
        if has_residuals and row.utilization < config.min_utilization:
            return (
                f"codebook collapse at level {row.level + 1}: {row.used} of {row.n_codes} codes in use, below "
                f"sids.min_utilization={config.min_utilization:g}"
            )
        has_residuals = row.quantization_error != 0
    first = health.iloc[0]
    largest, allowed = float(first["largest_cluster"]), _largest_allowed(int(first["n_codes"]), n_items, config)
    if largest > allowed:
        return (
            f"codebook collapse at level 1: one of {first['n_codes']:.0f} codes holds {largest:.0%} of all items, "
            f"above {allowed:.0%}, which sids.max_largest_cluster={config.max_largest_cluster:g} allows"
        )
    return None


def _largest_allowed(n_codes: int, n_items: int, config: SidsConfig) -> float:
    """The share of items that one level-1 code may hold: as configured from 8 codes on, and more with fewer.

    Two codes cannot both hold less than half. The bound rises evenly from 8 codes to everything in the only one; and
    in a catalogue of fewer than 8 items a code, where single odd items take codes of their own, as far as every other
    code still has an item.
    """
    limit = config.max_largest_cluster
    if n_codes >= _FEW_CODES:
        return limit
    scaled = 1 - (1 - limit) * (n_codes - 1) / (_FEW_CODES - 1)
    single_others = 1 - (n_codes - 1) / n_items
    return max(scaled, single_others) if n_items < _FEW_CODES * n_codes else scaled
