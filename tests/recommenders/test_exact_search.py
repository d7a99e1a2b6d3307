"""Exact search against sorting all products: few queries, which faiss answers, and many, by blocks of products."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsrec.recommenders.exact_search import ExactSearch


@settings(deadline=None)
@given(
    seed=st.integers(0, 999),
    n_vectors=st.integers(1, 60),
    n_queries=st.sampled_from([1, 3, 20, 41]),
    block=st.integers(1, 70),
    some=st.booleans(),
    data=st.data(),
)
def test_as_sorting_all_products(
    seed: int, n_vectors: int, n_queries: int, block: int, some: bool, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    # Whole numbers: every product is exact, whatever the order of its sums, and many are equal.
    vectors, queries = (random.integers(-2, 3, size=(n, 3)).astype(np.float32) for n in (n_vectors, n_queries))
    allowed = random.random(n_vectors) < 0.6 if some else np.ones(n_vectors, dtype=bool)
    k = data.draw(st.integers(0, int(allowed.sum())))
    if not k:
        return
    products, rows = ExactSearch(vectors).search(queries, k, allowed if some else None, block)
    plain = np.where(allowed, queries @ vectors.T, -np.inf)
    assert np.array_equal(products, -np.sort(-plain, axis=1)[:, :k])
    assert np.array_equal(products, np.take_along_axis(plain, rows, axis=1))
    assert all(len(set(found)) == k for found in rows.tolist())


@pytest.mark.parametrize("n_queries", [5, 50])
def test_finds_what_sorting_finds(n_queries: int) -> None:
    random = np.random.default_rng(n_queries)
    vectors, queries = (random.normal(size=(n, 16)).astype(np.float32) for n in (3_000, n_queries))
    products, rows = ExactSearch(vectors).search(queries, 40, block=700)
    plain = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    assert np.array_equal(rows, np.argsort(-plain, axis=1)[:, :40])
    assert products == pytest.approx(np.take_along_axis(plain, rows, axis=1), abs=1e-5)
