"""The tables of metrics and of paired differences: every method's lists against the same targets, slice by slice."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsrec.columns import ALL
from tsrec.columns import Columns as C
from tsrec.config import EvaluateConfig
from tsrec.evaluate.intervals import interval, p_value, resampled_sums
from tsrec.evaluate.metrics import coverage, metrics_per_target

if TYPE_CHECKING:
    from scipy import sparse

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
    ranks = {method: target_ranks(items, targets) for method, items in lists.items()}
    coverages = {method: [coverage(items[:, :k], n_items) for k in config.k] for method, items in lists.items()}
    return score_ranks(ranks, coverages, users, slices, config, against)


def score_ranks(
    ranks: Mapping[str, np.ndarray],
    coverages: Mapping[str, Sequence[float]],
    users: np.ndarray,
    slices: Mapping[str, np.ndarray],
    config: EvaluateConfig,
    against: tuple[str, ...],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `score` returns, of ranks in place of lists.

    Args:
        ranks: method -> (T,) the rank of the target's item from 1; 0 where the list lacks it.
        coverages: method -> its coverage at each cut-off.
        users: (T,) the user of every target; users are resampled, not targets.
        slices: name -> (T,) bool; empty ones are left out.
        config: the cut-offs.
        against: methods that all others are compared with.
    """
    names = [(method, metric, k) for method in ranks for k in config.k for metric in METRICS]
    hits, worth = _hits(list(ranks.values()), max(config.k)), _values(np.arange(1, max(config.k) + 1), config.k)

    def values_of(sums: np.ndarray) -> np.ndarray:
        """(S, M) sums of each metric from the number of hits at each rank (S, methods * K).

        Rank by rank, so that methods with the same hits get the same sums to the last bit.
        """
        by_rank = sums.reshape(len(sums), len(ranks), -1)
        values = sum(by_rank[:, :, rank, None] * own for rank, own in enumerate(worth))
        return np.asarray(values).reshape(len(sums), -1)

    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for name, mask in slices.items():
        if not mask.any():
            continue
        # All methods at once, so that they share the resamples of users.
        own, n = hits[np.flatnonzero(mask)], int(mask.sum())
        sums, counts = resampled_sums(own, users[mask])
        resampled, means = values_of(sums) / counts[:, None], values_of(np.asarray(own.sum(axis=0)))[0] / n
        low, high = interval(resampled)
        rows += [
            _row(method, name, metric, k, means[i], low[i], high[i], n) for i, (method, metric, k) in enumerate(names)
        ]
        if name == ALL:
            differences = _differences(names, means, resampled, against, n)
    for method, shares in coverages.items():
        for k, share in zip(config.k, shares, strict=True):
            rows.append(_row(method, ALL, "coverage", k, share, np.nan, np.nan, len(users)))
    order = {method: number for number, method in enumerate(ranks)}
    metrics = pd.DataFrame(rows).sort_values(C.METHOD, key=lambda column: column.map(order), kind="stable")
    return metrics, pd.DataFrame(differences)


def target_ranks(items: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(T,) int64: the rank from 1 of each target (T,) in its list of `items` (T, K); 0 where the list lacks it."""
    hit = items == targets[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def target_values(items: np.ndarray, targets: np.ndarray, cut_offs: tuple[int, ...]) -> np.ndarray:
    """(T, cut-offs * METRICS) float64 of one method, cut-offs outermost; a target that is not in its list scores 0."""
    return _values(target_ranks(items, targets), cut_offs)


def _values(ranks: np.ndarray, cut_offs: tuple[int, ...]) -> np.ndarray:
    return np.stack([metrics_per_target(ranks, k)[metric] for k in cut_offs for metric in METRICS], axis=1)


def _hits(ranks: Sequence[np.ndarray], k: int) -> "sparse.csr_matrix":
    """(T, methods * k) of 0 and 1: which targets each method ranks first, second, and so on."""
    from scipy import sparse

    blocks = []
    for own in ranks:
        hit = np.flatnonzero((own > 0) & (own <= k))
        blocks.append(sparse.csr_matrix((np.ones(len(hit)), (hit, own[hit] - 1)), shape=(len(own), k)))
    return sparse.csr_matrix(sparse.hstack(blocks))


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
