"""Ranked lists against plain loops: the best of sparse scores, the nearest of vectors, filling up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tsrec.recommenders.exact_search import ExactSearch
from tsrec.recommenders.ranking import NO_ITEM, Filter, empty_lists, fill_with_popular, nearest_items, top_k_of_sparse

N = 9


@st.composite
def filters(draw: st.DrawFn, n_rows: int) -> Filter:
    blocked = st.lists(st.integers(0, N - 1), max_size=N).map(lambda items: np.array(items, dtype=np.int64))
    allowed = st.lists(st.booleans(), min_size=N, max_size=N).map(np.array)
    return Filter(
        N,
        draw(st.none() | st.lists(blocked, min_size=n_rows, max_size=n_rows)),
        draw(st.none() | allowed),
    )


def _may(allow: Filter, row: int, item: int) -> bool:
    free = allow.blocked is None or item not in allow.blocked[row]
    return free and (allow.allowed is None or bool(allow.allowed[item]))


def _padded(items: list[int], k: int) -> list[int]:
    return (items + [NO_ITEM] * k)[:k]


@settings(deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 12))
def test_best_of_sparse_equals_sorting(data: st.DataObject, n_rows: int, k: int) -> None:
    scores = np.array(
        data.draw(
            st.lists(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=N, max_size=N), min_size=n_rows, max_size=n_rows)
        )
    )
    allow = data.draw(filters(n_rows))
    found = top_k_of_sparse(sparse.csr_matrix(scores.astype(float)), k, allow)
    for row in range(n_rows):
        known = [item for item in range(N) if scores[row, item] and _may(allow, row, item)]
        expected = sorted(known, key=lambda item: (-scores[row, item], item))
        assert found.items[row].tolist() == _padded(expected, k)


@settings(deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 12))
def test_nearest_equals_sorting(data: st.DataObject, n_rows: int, k: int) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = random.normal(size=(N, 4)).astype(np.float32)
    queries = random.normal(size=(n_rows, 4)).astype(np.float32)
    allow = data.draw(filters(n_rows))
    found = nearest_items(ExactSearch(vectors), queries, k, allow)
    scores = queries @ vectors.T
    for row in range(n_rows):
        expected = sorted((item for item in range(N) if _may(allow, row, item)), key=lambda item: -scores[row, item])
        assert found.items[row].tolist() == _padded(expected, k)


@settings(deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 12))
def test_fill_leaves_no_gap_and_shows_nothing_else(data: st.DataObject, n_rows: int, k: int) -> None:
    allow = data.draw(filters(n_rows))
    ranked = empty_lists(n_rows, k)
    kept: list[list[int]] = []
    for row in range(n_rows):
        drawn = data.draw(st.lists(st.integers(0, N - 1), unique=True, max_size=k))
        kept.append([item for item in drawn if _may(allow, row, item)])
        ranked.items[row, : len(kept[row])] = kept[row]
        ranked.scores[row, : len(kept[row])] = 1.0
    popularity = np.array(data.draw(st.permutations(range(N))))
    filled = fill_with_popular(ranked, popularity, allow)
    for row in range(n_rows):
        rest = [item for item in popularity.tolist() if item not in kept[row] and _may(allow, row, item)]
        assert filled.items[row].tolist() == _padded(kept[row] + rest, k)
        assert np.isfinite(filled.scores[row]).sum() == len(kept[row])


def test_a_catalogue_of_a_hundred_thousand_is_never_a_matrix() -> None:
    """A thousand lists of so many items, were they dense, would be 800 MB."""
    n_items, n_rows = 100_000, 1000
    random = np.random.default_rng(0)
    rows = np.repeat(np.arange(n_rows), 50)
    scores = sparse.csr_matrix(
        (random.random(len(rows)), (rows, random.integers(0, n_items, len(rows)))), (n_rows, n_items)
    )
    blocked = [random.integers(0, n_items, 10_000 if row == 0 else 5) for row in range(n_rows)]
    allow = Filter(n_items, blocked)
    filled = fill_with_popular(top_k_of_sparse(scores, 200, allow), np.arange(n_items), allow)
    assert (filled.items >= 0).all()
    assert not set(filled.items[0].tolist()) & set(blocked[0].tolist())


@pytest.mark.parametrize("k", [1, 5])
def test_no_history_at_all_gives_no_list(k: int) -> None:
    assert top_k_of_sparse(sparse.csr_matrix((0, N)), k, Filter(N)).items.shape == (0, k)
