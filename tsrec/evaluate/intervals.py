"""Percentile bootstrap over users (Efron 1979): targets of one user are not independent, so they are drawn together."""

import numpy as np

MIN_USERS = 10
"""With fewer users there is no interval and no p. A sign test's p is at least 2 / 2^users: .002 for ten users, which is
about the smallest that 1,000 resamples give. One user's resamples are all the same, as if everything were certain."""
CONFIDENCE = 0.95
"""Level of the intervals."""
N_SAMPLES = 1000
"""Resamples of users behind an interval."""
SEED = 1
"""Seed of the resamples. All methods share them, so that they are compared on the same ones."""
_CHUNK = 50  # resamples at once: 50 x 1 million users of float64 are 0.4 GB


def bootstrap_means(values: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Column means over resampled users.

    Args:
        values: (T, M) float64, one row per target, one column per metric; all columns are resampled together, so that
            differences of columns are paired.
        users: (T,) int, whose target each row is.

    Returns:
        (N_SAMPLES, M) float64; NaN where there are fewer than `MIN_USERS` users, and so in `interval` and `p_value`.
    """
    random = np.random.default_rng(SEED)
    _, user_number = np.unique(users, return_inverse=True)
    n_users = int(user_number.max()) + 1
    if n_users < MIN_USERS:
        return np.full((N_SAMPLES, values.shape[1]), np.nan)
    counts = np.bincount(user_number).astype(np.float64)
    sums = np.zeros((n_users, values.shape[1]))
    np.add.at(sums, user_number, values)
    means = []
    for start in range(0, N_SAMPLES, _CHUNK):
        # `weights` (resamples, users): how often each user is drawn. A mean is then a quotient of two products.
        weights = np.empty((min(_CHUNK, N_SAMPLES - start), n_users))
        for row in weights:
            row[:] = np.bincount(random.integers(0, n_users, n_users), minlength=n_users)
        means.append(weights @ sums / (weights @ counts)[:, None])
    return np.concatenate(means)


def interval(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds (M,) of resampled means (n_samples, M) at the level `CONFIDENCE`."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return low, high


def p_value(differences: np.ndarray) -> np.ndarray:
    """(M,) two-sided p of resampled differences (n_samples, M): twice the share on the other side of 0, at least one
    resample."""
    n_samples = len(differences)
    below, above = (differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0)
    p = np.minimum(1.0, 2 * np.maximum(np.minimum(below, above), 1) / n_samples)
    return np.where(np.isnan(differences).any(axis=0), np.nan, p)
