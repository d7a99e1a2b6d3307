"""Percentile bootstrap over targets (Efron 1979)."""

import numpy as np

_CHUNK = 50


def bootstrap_means(values: np.ndarray, n_samples: int, confidence: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence intervals of column means.

    Args:
        values: (T, M) float, one row per target, one column per metric; all are resampled together.

    Returns:
        lower and upper bounds, each (M,).
    """
    random = np.random.default_rng(seed)
    n_targets = len(values)
    means = []
    for start in range(0, n_samples, _CHUNK):
        size = min(_CHUNK, n_samples - start)
        # How often each target is drawn: the same as drawing indices, without gathering rows.
        weights = random.multinomial(n_targets, np.full(n_targets, 1 / n_targets), size=size)
        means.append(weights @ values / n_targets)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high
