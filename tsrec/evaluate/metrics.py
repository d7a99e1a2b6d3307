"""Ranking metrics with one relevant item per target, from its rank alone."""

import numpy as np


def metrics_per_target(ranks: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """HR@K, NDCG@K and MRR@K of every target.

    Args:
        ranks: (T,) int, the relevant item's rank from 1; 0 where it is not in the list.
        k: cut-off.

    Returns:
        metric name -> (T,) float64; their means are the metrics. With one relevant item the ideal DCG is 1, so NDCG
        is 1 / log2(1 + rank) (Järvelin and Kekäläinen 2002).
    """
    hit = (ranks > 0) & (ranks <= k)
    rank = np.where(hit, ranks, 1)
    return {
        "hr": hit.astype(np.float64),
        "ndcg": np.where(hit, 1 / np.log2(1 + rank), 0.0),
        "mrr": np.where(hit, 1 / rank, 0.0),
    }


def coverage(items: np.ndarray, n_items: int) -> float:
    """Share of the catalogue that appears in any list; `items` (T, K) item numbers, -1 behind the last."""
    return len(np.unique(items[items >= 0])) / n_items
