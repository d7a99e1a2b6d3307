"""The metrics table: every method's lists against the same targets, over all of them and slice by slice."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tsrec.columns import Columns as C
from tsrec.config import EvaluateConfig
from tsrec.evaluate.intervals import bootstrap_means
from tsrec.evaluate.metrics import coverage, per_target
from tsrec.evaluate.shards import ITEM_NUMBER, ROW
from tsrec.evaluate.slices import ALL

_METRICS = ("hr", "ndcg", "mrr")


def score(
    lists: Mapping[str, pa.Table],
    targets: np.ndarray,
    slices: Mapping[str, np.ndarray],
    n_items: int,
    config: EvaluateConfig,
) -> pd.DataFrame:
    """Metrics of every method: columns method, slice, metric, k, value, ci_low, ci_high, n.

    Args:
        lists: method -> columns row (index into `targets`), rank from 1, item (index).
        targets: (T,) the relevant item of every target.
        slices: name -> (T,) bool; empty ones are left out.
        n_items: size of the catalogue, for coverage, which has no interval and is given for all targets only.
    """
    names = [(method, metric, k) for method in lists for k in config.k for metric in _METRICS]
    values = np.concatenate([_values(table, targets, config.k) for table in lists.values()], axis=1)  # (T, M)
    rows: list[dict[str, Any]] = []
    for name, mask in slices.items():
        if not mask.any():
            continue
        # All methods at once: they share the resamples, so their intervals are over the same targets.
        low, high = bootstrap_means(values[mask], config.bootstrap_samples, config.confidence, config.seed)
        means, n = values[mask].mean(axis=0), int(mask.sum())
        rows += [
            _row(method, name, metric, k, means[i], low[i], high[i], n) for i, (method, metric, k) in enumerate(names)
        ]
    for method, table in lists.items():
        items, ranks = table[ITEM_NUMBER].to_numpy(), table[C.RANK].to_numpy()
        for k in config.k:
            covered = coverage(items, ranks, k, n_items)
            rows.append(_row(method, ALL, "coverage", k, covered, np.nan, np.nan, len(targets)))
    order = {method: number for number, method in enumerate(lists)}
    return pd.DataFrame(rows).sort_values(C.METHOD, key=lambda column: column.map(order), kind="stable")


def _values(table: pa.Table, targets: np.ndarray, cut_offs: tuple[int, ...]) -> np.ndarray:
    """(T, cut-offs * metrics) float64 of one method; a target that is not in its list scores 0."""
    rows, items, ranks = (table[name].to_numpy() for name in (ROW, ITEM_NUMBER, C.RANK))
    hit = items == targets[rows]
    rank_of_target = np.zeros(len(targets), dtype=np.int64)
    rank_of_target[rows[hit]] = ranks[hit]
    return np.stack([per_target(rank_of_target, k)[metric] for k in cut_offs for metric in _METRICS], axis=1)


def _row(method: str, name: str, metric: str, k: int, value: float, low: float, high: float, n: int) -> dict[str, Any]:
    return {
        C.METHOD: method,
        C.SLICE: name,
        C.METRIC: metric,
        C.K: k,
        C.VALUE: float(value),
        C.CI_LOW: float(low),
        C.CI_HIGH: float(high),
        C.N: n,
    }
