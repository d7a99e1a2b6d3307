"""Percentile bootstrap over users (Efron 1979): targets of one user are not independent, so they are drawn together."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

MIN_USERS = 10
"""With fewer users there is no interval and no p. A sign test's p is at least 2 / 2^users: .002 for ten users, which is
about the smallest that 1,000 resamples give. One user's resamples are all the same, as if everything were certain."""
CONFIDENCE = 0.95
"""Level of the intervals."""
N_SAMPLES = 1000
"""Resamples of users behind an interval."""
SEED = 1
"""Seed of the resamples. All methods share them, so that they are compared on the same ones."""
_WEIGHTS_AT_ONCE = 4_000_000  # of users in resamples, float64: 32 MB


def bootstrap_means(values: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Column means over resampled users.

    Args:
        values: (T, M) float64, one row per target, one column per metric; all columns are resampled together, so that
            differences of columns are paired.
        users: (T,) int, whose target each row is.

    Returns:
        (N_SAMPLES, M) float64; NaN where there are fewer than `MIN_USERS` users, and so in `interval` and `p_value`.
    """
    sums, counts = resampled_sums(values, users)
    return sums / counts[:, None]


def resampled_sums(values: "np.ndarray | sparse.csr_matrix", users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column sums (N_SAMPLES, M) over resampled users, and how many targets these have (N_SAMPLES,).

    Arguments are those of `bootstrap_means`, which divides one by the other. With too few users there are NaN targets.
    """
    from scipy import sparse

    random = np.random.default_rng(SEED)
    _, user_number = np.unique(users, return_inverse=True)
    n_users = int(user_number.max()) + 1
    if n_users < MIN_USERS:
        return np.zeros((N_SAMPLES, values.shape[1])), np.full(N_SAMPLES, np.nan)
    place = (user_number, np.arange(len(users)))
    user_sums = sparse.csr_matrix((np.ones(len(users)), place), shape=(n_users, len(users))) @ values
    user_counts = np.bincount(user_number).astype(np.float64)
    at_once = max(1, _WEIGHTS_AT_ONCE // n_users)
    sums, counts = np.empty((N_SAMPLES, values.shape[1])), np.empty(N_SAMPLES)
    for start in range(0, N_SAMPLES, at_once):
        # `weights` (resamples, users): how often each user is drawn. A mean is then a quotient of two products.
        samples = slice(start, min(start + at_once, N_SAMPLES))
        weights = np.empty((samples.stop - start, n_users))
        for row in weights:
            row[:] = np.bincount(random.integers(0, n_users, n_users), minlength=n_users)
        sums[samples], counts[samples] = weights @ user_sums, weights @ user_counts
    return sums, counts


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
