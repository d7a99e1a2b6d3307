"""Unique SIDs: whoever was alone stays, whoever moves keeps the prefix, the nearest comes first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsrec.errors import CodebookError
from tsrec.sids import quantization
from tsrec.sids.collisions import count_colliding, make_unique, unique_codes
from tsrec.sids.quantization import FrozenQuantizer, Quantization

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
    unique, n_moved, _ = make_unique(codes, residuals.__getitem__, centroids)
    np.testing.assert_array_equal(codes, before)
    assert count_colliding(unique) == 0
    np.testing.assert_array_equal(unique[:, :-1], codes[:, :-1])
    assert ((unique[:, -1] >= 0) & (unique[:, -1] < len(centroids))).all()
    _, inverse, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    alone = sizes[inverse.ravel()] == 1
    np.testing.assert_array_equal(unique[alone], codes[alone])
    # One of each colliding group stays, the others move.
    assert n_moved == (unique != codes).any(axis=1).sum() == len(codes) - len(sizes)


def _one_by_one(codes: np.ndarray, residuals: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The slow way: prefix by prefix, nearest item first; who finds its code taken waits until all the others sit."""
    unique = codes.copy()
    for prefix in {tuple(row[:-1]) for row in codes.tolist()}:
        members = [item for item, row in enumerate(codes.tolist()) if tuple(row[:-1]) == prefix]
        away = {item: np.square(residuals[item] - centroids).sum(axis=1) for item in members}
        members.sort(key=lambda item: (away[item][codes[item, -1]], item))
        first_of = {codes[item, -1]: item for item in reversed(members)}
        taken = set(first_of)
        for item in members:
            if item not in first_of.values():
                free = [code for code in range(len(centroids)) if code not in taken]
                unique[item, -1] = min(free, key=lambda code: (away[item][code], code))
                taken.add(unique[item, -1])
    return unique


@given(quantized(), st.integers(1, 50))
def test_it_is_what_the_slow_way_gives_however_many_are_looked_at_at_once(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], at_once: int
) -> None:
    codes, residuals, centroids = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "ROWS_AT_ONCE", at_once)
        unique, *_ = make_unique(codes, residuals.__getitem__, centroids)
    np.testing.assert_array_equal(unique, _one_by_one(codes, residuals, centroids))


def test_others_move_to_the_next_nearest_free_code() -> None:
    codes = np.array([[7, 1], [7, 1], [7, 1], [7, 2], [8, 1]])
    residuals = np.array([[1.3], [1.1], [0.8], [2.0], [1.4]], dtype=np.float32)
    unique, n_moved, _ = make_unique(codes, residuals.__getitem__, LINE)
    # Item 1 is nearest to centroid 1; item 2 goes to 0; for item 0 only 3 is left, as 2 belongs to item 3.
    assert unique.tolist() == [[7, 3], [7, 1], [7, 0], [7, 2], [8, 1]]
    assert n_moved == 2


def test_equal_items_are_settled_by_their_order() -> None:
    unique, *_ = make_unique(np.array([[0, 0]] * 3), np.zeros((3, 1), dtype=np.float32).__getitem__, LINE)
    assert unique.tolist() == [[0, 0], [0, 1], [0, 2]]


def test_a_single_level_has_one_empty_prefix() -> None:
    unique, n_moved, _ = make_unique(np.array([[0], [0], [1]]), np.array([[0.0], [0.1], [1.0]]).__getitem__, LINE)
    assert (unique.ravel().tolist(), n_moved) == ([0, 2, 1], 1)


def test_who_finds_a_prefix_full_is_told() -> None:
    codes, residuals = np.array([[3, 0]] * 5 + [[4, 0]] * 2), np.arange(7, dtype=np.float32)[:, None]
    unique, n_moved, without = make_unique(codes, residuals.__getitem__, LINE)
    assert (n_moved, without.tolist()) == (5, [4])  # the farthest from code 0 comes last
    assert unique[without].tolist() == [[3, 0]]
    assert count_colliding(np.delete(unique, without, axis=0)) == 0


@given(st.integers(0, 1000), st.integers(2, 16))
def test_who_finds_a_prefix_full_gets_the_nearest_free_sid_of_another(seed: int, n_items: int) -> None:
    generator = np.random.default_rng(seed)
    books = [generator.normal(size=(4, 2)).astype(np.float32) for _ in range(2)]
    vectors = (generator.normal(size=(n_items, 2)) / 4 + books[0][0]).astype(np.float32)  # crowded
    codes, errors = FrozenQuantizer(codebooks=books).quantize(vectors)
    made = Quantization(codebooks=books, codes=codes, errors=errors.mean(axis=0).tolist())
    unique, n_moved = unique_codes(made, vectors)
    assert count_colliding(unique) == 0
    assert n_moved == (unique != codes).any(axis=1).sum()
    most = np.bincount(codes[:, 0]).max()
    assert (most <= 4) == (unique[:, 0] == codes[:, 0]).all()
    for prefix in set(codes[unique[:, 0] != codes[:, 0], 0].tolist()):
        assert (unique[:, 0] == prefix).sum() == 4  # nobody leaves a prefix with room


def test_fewer_sids_than_items_are_an_error_that_says_what_to_do() -> None:
    books = [np.zeros((2, 1), dtype=np.float32), LINE]
    made = Quantization(codebooks=books, codes=np.zeros((9, 2), dtype=np.int64), errors=[0.0, 0.0])
    with pytest.raises(CodebookError, match=r"9 items, but 8 SIDs; raise the last .* to 5, or set sids.unique=false"):
        unique_codes(made, np.zeros((9, 1), dtype=np.float32))


def test_all_items_that_share_a_sid_are_counted() -> None:
    assert count_colliding(np.array([[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 0]])) == 5
