"""The trie holds exactly the SIDs that it was built from."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tsrec.decode.trie import Trie

SIDS = st.tuples(st.integers(1, 40), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 6))
)


def _walk(trie: Trie) -> list[tuple[int, ...]]:
    paths: list[tuple[int, ...]] = [()]
    for start, codes in zip(trie.child_start, trie.child_code, strict=True):
        paths = [(*path, int(codes[e])) for n, path in enumerate(paths) for e in range(start[n], start[n + 1])]
    return paths


@given(SIDS)
def test_exactly_the_given_sids(codes: np.ndarray) -> None:
    assert _walk(Trie.build(codes)) == sorted({tuple(sid) for sid in codes.tolist()})


@given(SIDS)
def test_every_item_is_found_under_its_own_sid(codes: np.ndarray) -> None:
    trie = Trie.build(codes)
    leaves = _walk(trie)
    found = {int(item): leaf for leaf in range(trie.n_leaves) for item in trie.items_of(leaf)}
    assert sorted(found) == list(range(len(codes)))
    assert all(leaves[found[item]] == tuple(sid) for item, sid in enumerate(codes.tolist()))
    assert all(trie.paths[item, -1] == leaf for item, leaf in found.items())


@given(SIDS)
def test_the_items_below_every_node_are_counted(codes: np.ndarray) -> None:
    trie = Trie.build(codes)
    for level, start in enumerate(trie.item_starts):
        np.testing.assert_array_equal(np.diff(start), np.bincount(trie.paths[:, level]))
        assert all((trie.paths[trie.items[a:b], level] == n).all() for n, (a, b) in enumerate(pairwise(start)))


def test_items_that_share_a_sid_come_in_order_of_priority() -> None:
    trie = Trie.build(np.array([[1, 2], [1, 2], [0, 0], [1, 2]]), priority=np.array([1, 5, 9, 5]))
    assert trie.items_of(1).tolist() == [1, 3, 0]
