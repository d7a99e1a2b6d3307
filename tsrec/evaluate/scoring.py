"""The tables of metrics and of paired differences: every method's lists against the same targets, slice by slice."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tsrec.columns import ALL
from tsrec.columns import Columns as C
from tsrec.config import EvaluateConfig
from tsrec.evaluate.intervals import bootstrap_means, interval, p_value
from tsrec.evaluate.metrics import coverage, metrics_per_target

METRICS = ("hr", "ndcg", "mrr")


def score(
    lists: Mapping[str, np.ndarray],
    targets: np.ndarray,
    users: np.ndarray,
    slices: Mapping[str, np.ndarray],
    n_items: int,
    config: EvaluateConfig,
    against: tuple[str, ...],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics of every method, and their paired differences from the methods `against`.

    Args:
        lists: method -> (T, K) item numbers, best first, -1 behind the last.
        targets: (T,) the item of every target.
        users: (T,) the user of every target; users are resampled, not targets.
        slices: name -> (T,) bool; empty ones are left out.
        n_items: size of the catalogue, for coverage, which has no interval and is given for all targets only.
        against: methods that all others are compared with.

    Returns:
        metrics: columns method, slice, metric, k, value, ci_low, ci_high, n.
        differences, over all targets: columns method, against, metric, k, value (method minus against), ci_low,
        ci_high, p (two-sided, of the same resamples), n. Bounds and p are missing where there are fewer than
        `intervals.MIN_USERS` users.
    """
    names = [(method, metric, k) for method in lists for k in config.k for metric in METRICS]
    values = np.concatenate([target_values(items, targets, config.k) for items in lists.values()], axis=1)  # (T, M)
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for name, mask in slices.items():
        if not mask.any():
            continue
        # All methods at once, so that they share the resamples of users.
        resampled = bootstrap_means(values[mask], users[mask])
        low, high = interval(resampled)
        means, n = values[mask].mean(axis=0), int(mask.sum())
        rows += [
            _row(method, name, metric, k, means[i], low[i], high[i], n) for i, (method, metric, k) in enumerate(names)
        ]
        if name == ALL:
            differences = _differences(names, means, resampled, against, n)
    for method, items in lists.items():
        for k in config.k:
            rows.append(_row(method, ALL, "coverage", k, coverage(items[:, :k], n_items), np.nan, np.nan, len(targets)))
    order = {method: number for number, method in enumerate(lists)}
    metrics = pd.DataFrame(rows).sort_values(C.METHOD, key=lambda column: column.map(order), kind="stable")
    return metrics, pd.DataFrame(differences)


def target_values(items: np.ndarray, targets: np.ndarray, cut_offs: tuple[int, ...]) -> np.ndarray:
    """(T, cut-offs * METRICS) float64 of one method, cut-offs outermost; a target that is not in its list scores 0."""
    hit = items == targets[:, None]
    ranks = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)
    return np.stack([metrics_per_target(ranks, k)[metric] for k in cut_offs for metric in METRICS], axis=1)


def _differences(
    names: list[tuple[str, str, int]],
    means: np.ndarray,
    resampled: np.ndarray,
    against: tuple[str, ...],
    n: int,
) -> list[dict[str, Any]]:
    column_of = {name: i for i, name in enumerate(names)}
    pairs = [
        (name, other) for other in against for name in names if name[0] != other and (other, *name[1:]) in column_of
    ]
    columns = np.array([column_of[name] for name, _ in pairs], dtype=np.int64)
    other_columns = np.array([column_of[(other, *name[1:])] for name, other in pairs], dtype=np.int64)
    paired = resampled[:, columns] - resampled[:, other_columns]
    low, high = interval(paired)
    p = p_value(paired)
    return [
        {
            C.METHOD: name[0],
            C.AGAINST: other,
            C.METRIC: name[1],
            C.K: name[2],
            C.VALUE: float(means[columns[i]] - means[other_columns[i]]),
            C.CI_LOW: float(low[i]),
            C.CI_HIGH: float(high[i]),
            C.P: float(p[i]),
            C.N: n,
        }
        for i, (name, other) in enumerate(pairs)
    ]


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
