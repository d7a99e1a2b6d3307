"""Clusters against a plain reading of every item's SID."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsrec.sid.clusters import order_by_centrality, token_clusters
from tsrec.sid.space import format_token

CODES = st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=20).map(np.array)


@given(CODES)
def test_every_token_has_its_items(codes: np.ndarray) -> None:
    tokens: dict[str, list[int]] = {}
    for item, sid in enumerate(codes):
        for level, code in enumerate(sid):
            tokens.setdefault(format_token(level, int(code)), []).append(item)
    assert {c.token: c.items.tolist() for c in token_clusters(codes)} == tokens
    assert all(c.token == format_token(c.level, int(codes[c.items[0], c.level])) for c in token_clusters(codes))


def test_levels_come_in_order_and_codes_by_number() -> None:
    codes = np.array([[10, 0], [2, 1], [10, 1]])
    assert [c.token for c in token_clusters(codes)] == ["<a_2>", "<a_10>", "<b_0>", "<b_1>"]


def test_no_items_have_no_clusters() -> None:
    assert token_clusters(np.zeros((0, 2), dtype=int)) == []


def test_nearest_items_come_first_ties_in_order() -> None:
    vectors = np.array([[5, 0], [0, 1], [1, 1], [2, 2]], dtype=np.float32)
    assert order_by_centrality(vectors, np.array([0, 1, 2, 3])).tolist() == [2, 3, 0, 1]
    assert order_by_centrality(vectors, np.array([1, 3])).tolist() == [1, 3]
