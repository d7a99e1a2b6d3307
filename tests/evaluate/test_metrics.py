"""Metrics equal their definitions, written out slowly over lists."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.evaluate.intervals import N_SAMPLES, SEED, bootstrap_means, interval, p_value
from tsrec.evaluate.metrics import coverage, metrics_per_target

LISTS = st.lists(st.lists(st.integers(0, 15), unique=True, max_size=12), min_size=1, max_size=20)


def _slow(recommended: list[int], target: int, k: int) -> dict[str, float]:
    gains = [1.0 if item == target else 0.0 for item in recommended[:k]]
    return {
        "hr": max(gains, default=0.0),
        "ndcg": sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1)),
        "mrr": max((gain / rank for rank, gain in enumerate(gains, start=1)), default=0.0),
    }


@given(LISTS, st.integers(0, 15), st.integers(1, 12))
def test_metrics_equal_their_definitions(lists: list[list[int]], target: int, k: int) -> None:
    ranks = np.array([items.index(target) + 1 if target in items else 0 for items in lists])
    found = metrics_per_target(ranks, k)
    for row, items in enumerate(lists):
        expected = _slow(items, target, k)
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected)


@given(LISTS)
def test_coverage_counts_distinct_items(lists: list[list[int]]) -> None:
    items = np.full((len(lists), 12), -1)
    for row, recommended in enumerate(lists):
        items[row, : len(recommended)] = recommended
    assert coverage(items, 16) == len({item for recommended in lists for item in recommended}) / 16


def test_resampled_means_equal_resampling_users_by_hand() -> None:
    values = np.random.default_rng(0).random((40, 3))
    users = np.random.default_rng(1).integers(0, 11, 40)
    means = bootstrap_means(values, users)
    random = np.random.default_rng(SEED)
    expected = []
    for _ in range(N_SAMPLES):
        drawn = random.integers(0, 11, 11)
        expected.append(np.concatenate([values[users == user] for user in drawn]).mean(axis=0))
    np.testing.assert_allclose(means, expected)


def test_intervals_have_the_width_that_theory_gives() -> None:
    hits = (np.arange(2000) < 300).astype(float)[:, None]
    low, high = interval(bootstrap_means(hits, np.arange(2000)))
    half = 1.96 * math.sqrt(0.15 * 0.85 / 2000)
    assert low[0] == pytest.approx(0.15 - half, abs=2e-3)
    assert high[0] == pytest.approx(0.15 + half, abs=2e-3)


def test_targets_of_one_user_that_agree_widen_the_interval() -> None:
    hits = (np.arange(500) < 75).astype(float)
    alone = interval(bootstrap_means(hits[:, None], np.arange(500)))
    # The same share, but every user has four targets with one outcome: the interval is that of 500 users, not of 2,000.
    together = interval(bootstrap_means(np.repeat(hits, 4)[:, None], np.repeat(np.arange(500), 4)))
    np.testing.assert_allclose(together, alone)


def test_a_metric_without_spread_has_an_interval_without_width() -> None:
    low, high = interval(bootstrap_means(np.ones((10, 1)), np.arange(10)))
    assert low[0] == high[0] == 1


def test_p_is_small_where_all_resamples_agree_and_1_where_nothing_differs() -> None:
    differences = np.stack([np.full(1000, 0.01), np.zeros(1000), np.linspace(-1, 1, 1000)], axis=1)
    assert p_value(differences).tolist() == [0.002, 1.0, 1.0]


@pytest.mark.parametrize(("n_users", "is_told"), [(1, False), (4, False), (9, False), (10, True)])
def test_few_users_tell_nothing_however_many_targets_they_have(n_users: int, is_told: bool) -> None:
    """A sign test on four users that all agree has p = .125; the resamples of one are all the same."""
    differences = np.full((40, 1), 0.01)
    resampled = bootstrap_means(differences, np.arange(40) % n_users)
    low, high = interval(resampled)
    assert np.isfinite([low[0], high[0], p_value(resampled)[0]]).tolist() == [is_told] * 3
    assert is_told == (2 / 2**n_users <= 2 / N_SAMPLES)
