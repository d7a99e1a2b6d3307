"""New SIDs by frozen codebooks: always free, always the nearest that is, against a list of all SIDs in order."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsrec.errors import CodebookError
from tsrec.sids.free_sids import assign_free
from tsrec.sids.quantization import quantize


def _books(sizes: tuple[int, ...], seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(size, 3)).astype(np.float32) / (level + 1) for level, size in enumerate(sizes)]


def _in_order(vector: np.ndarray, books: list[np.ndarray]) -> list[tuple[int, ...]]:
    """Every SID, the slow way: sorted by how near its first code is, then the second to what that leaves, ..."""
    ranked = []
    for codes in itertools.product(*(range(len(book)) for book in books)):
        residual, places = vector, []
        for code, book in zip(codes, books, strict=True):
            distances = np.square(residual - book).sum(axis=1)
            places.append(int(np.argsort(np.argsort(distances, kind="stable"))[code]))
            residual = residual - book[code]
        ranked.append((places, codes))
    return [codes for _, codes in sorted(ranked)]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.sampled_from([(3,), (2, 3), (3, 2), (2, 2, 3), (3, 3, 2)]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_everyone_gets_the_nearest_that_is_free(sizes: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    books, every = _books(sizes, seed), list(itertools.product(*map(range, sizes)))
    taken = data.draw(st.lists(st.sampled_from(every), unique=True, max_size=len(every) - 1))
    n_new = data.draw(st.integers(1, len(every) - len(taken)))
    vectors = np.random.default_rng(seed + 1).normal(size=(n_new, 3)).astype(np.float32)
    codes, n_moved = assign_free(vectors, books, np.array(taken, dtype=np.int64).reshape(-1, len(sizes)))
    gone, nearest_first = set(taken), np.argsort(quantize(vectors, books)[1][:, -1], kind="stable")
    expected = {}
    for row in nearest_first:
        expected[int(row)] = next(sid for sid in _in_order(vectors[row], books) if sid not in gone)
        gone.add(expected[int(row)])
    assert {row: tuple(map(int, sid)) for row, sid in enumerate(codes)} == expected
    assert n_moved == sum(expected[row] != _in_order(vectors[row], books)[0] for row in expected)


def test_a_full_space_asks_for_a_rebuild() -> None:
    books = _books((2, 2), 0)
    taken = np.array([[0, 0], [0, 1], [1, 0]])
    with pytest.raises(CodebookError, match=r"2 new items, but only 1 of 4 SIDs are free: .* a rebuild is due"):
        assign_free(np.zeros((2, 3), dtype=np.float32), books, taken)
    codes, _ = assign_free(np.zeros((1, 3), dtype=np.float32), books, taken)
    assert codes.tolist() == [[1, 1]]
