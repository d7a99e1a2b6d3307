"""Unique SIDs: whoever was alone stays, whoever moves keeps the prefix, the nearest comes first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.errors import CodebookError
from tsrec.sids.collisions import count_colliding, make_unique

LINE = np.arange(4, dtype=np.float32)[:, None]  # centroids at 0, 1, 2, 3


@st.composite
def quantized(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (N, 3), residuals and centroids of up to 40 items in few prefixes, each with room for all of its own."""
    n_items = draw(st.integers(1, 40))
    n_codes = draw(st.integers(n_items, 48))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centroids = generator.normal(size=(n_codes, 2)).astype(np.float32)
    residuals = generator.normal(size=(n_items, 2)).astype(np.float32)
    if draw(st.booleans()):
        residuals[:] = residuals[0]  # items with the very same text
    last = ((residuals[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
    return np.column_stack([generator.integers(0, 2, size=(n_items, 2)), last]), residuals, centroids


@given(quantized())
def test_sids_are_unique_and_as_few_as_possible_move(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    codes, residuals, centroids = case
    before = codes.copy()
    unique, n_moved = make_unique(codes, residuals, centroids)
    np.testing.assert_array_equal(codes, before)
    assert count_colliding(unique) == 0
    np.testing.assert_array_equal(unique[:, :-1], codes[:, :-1])
    assert ((unique[:, -1] >= 0) & (unique[:, -1] < len(centroids))).all()
    _, inverse, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    alone = sizes[inverse.ravel()] == 1
    np.testing.assert_array_equal(unique[alone], codes[alone])
    # One of each colliding group stays, the others move.
    assert n_moved == (unique != codes).any(axis=1).sum() == len(codes) - len(sizes)


@given(quantized())
def test_the_nearest_to_the_centroid_stays(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    codes, residuals, centroids = case
    unique, _ = make_unique(codes, residuals, centroids)
    distances = ((residuals - centroids[codes[:, -1]]) ** 2).sum(axis=1)
    _, groups = np.unique(codes, axis=0, return_inverse=True)
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups.ravel() == group)
        stayed = [item for item in members if unique[item, -1] == codes[item, -1]]
        assert len(stayed) == 1
        assert distances[stayed[0]] == distances[members].min()


def test_others_move_to_the_next_nearest_free_code() -> None:
    codes = np.array([[7, 1], [7, 1], [7, 1], [7, 2], [8, 1]])
    residuals = np.array([[1.3], [1.1], [0.8], [2.0], [1.4]], dtype=np.float32)
    unique, n_moved = make_unique(codes, residuals, LINE)
    # Item 1 is nearest to centroid 1; item 2 goes to 0; for item 0 only 3 is left, as 2 belongs to item 3.
    assert unique.tolist() == [[7, 3], [7, 1], [7, 0], [7, 2], [8, 1]]
    assert n_moved == 2


def test_equal_items_are_settled_by_their_order() -> None:
    unique, _ = make_unique(np.array([[0, 0]] * 3), np.zeros((3, 1), dtype=np.float32), LINE)
    assert unique.tolist() == [[0, 0], [0, 1], [0, 2]]


def test_a_single_level_has_one_empty_prefix() -> None:
    unique, n_moved = make_unique(np.array([[0], [0], [1]]), np.array([[0.0], [0.1], [1.0]]), LINE)
    assert (unique.ravel().tolist(), n_moved) == ([0, 2, 1], 1)


def test_a_full_prefix_is_an_error_that_says_what_to_do() -> None:
    codes, residuals = np.array([[3, 0]] * 5), np.zeros((5, 1), dtype=np.float32)
    with pytest.raises(
        CodebookError, match=r"5 items share the prefix \[3\], but the last level has 4 codes"
    ) as caught:
        make_unique(codes, residuals, LINE)
    for remedy in ("the last of sids.codes_per_level to 5", "sids.unique=false"):
        assert remedy in str(caught.value)


def test_all_items_that_share_a_sid_are_counted() -> None:
    assert count_colliding(np.array([[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 0]])) == 5
