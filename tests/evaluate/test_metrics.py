"""Metrics equal their definitions, written out slowly over lists."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.evaluate.intervals import bootstrap_means
from tsrec.evaluate.metrics import coverage, per_target

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
    found = per_target(ranks, k)
    for row, items in enumerate(lists):
        expected = _slow(items, target, k)
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected)


@given(LISTS, st.integers(1, 12))
def test_coverage_counts_items_of_the_first_k_places(lists: list[list[int]], k: int) -> None:
    items = np.array([item for recommended in lists for item in recommended], dtype=np.int64)
    ranks = np.array([rank for recommended in lists for rank in range(1, len(recommended) + 1)], dtype=np.int64)
    seen = {item for recommended in lists for item in recommended[:k]}
    assert coverage(items, ranks, k, 16) == len(seen) / 16


def test_intervals_equal_resampling_by_hand() -> None:
    values = np.random.default_rng(0).random((40, 3))
    low, high = bootstrap_means(values, 120, 0.9, seed=5)
    random = np.random.default_rng(5)
    means = [values[random.integers(0, 40, 40)].mean(axis=0) for _ in range(120)]
    np.testing.assert_allclose([low, high], np.quantile(means, [0.05, 0.95], axis=0))


def test_intervals_have_the_width_that_theory_gives() -> None:
    hits = (np.arange(2000) < 300).astype(float)[:, None]
    low, high = bootstrap_means(hits, 1000, 0.95, seed=1)
    half = 1.96 * math.sqrt(0.15 * 0.85 / 2000)
    assert low[0] == pytest.approx(0.15 - half, abs=2e-3)
    assert high[0] == pytest.approx(0.15 + half, abs=2e-3)


def test_a_metric_without_spread_has_an_interval_without_width() -> None:
    low, high = bootstrap_means(np.ones((5, 1)), 100, 0.95, seed=1)
    assert low[0] == high[0] == 1
