"""Percentile bootstrap over targets (Efron 1979)."""

import numpy as np

_CHUNK = 50  # resamples at once: 50 x 1 million targets of float64 are 0.4 GB


def bootstrap_means(values: np.ndarray, n_samples: int, confidence: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence intervals of column means.

    Args:
        values: (T, M) float64, one row per target, one column per metric; all columns are resampled together.
        n_samples: number of resamples.
        confidence: level of the interval, such as 0.95.
        seed: of the resamples.

    Returns:
        lower and upper bounds, each (M,) float64.
    """
    random = np.random.default_rng(seed)
    n_targets = len(values)
    means = []
    for start in range(0, n_samples, _CHUNK):
        # How often each target is drawn; then a mean is a product, and no row is gathered.
        weights = np.empty((min(_CHUNK, n_samples - start), n_targets))
        for row in weights:
            row[:] = np.bincount(random.integers(0, n_targets, n_targets), minlength=n_targets)
        means.append(weights @ values / n_targets)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high
