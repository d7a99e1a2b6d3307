"""From beams to items: shared SIDs, short catalogues, nothing twice."""

import numpy as np
import pytest

from tests.decode.reference import N_TEXT, enumerated, random_model
from tsrec.decode import BeamSearch, Trie
from tsrec.evaluate import Recommender
from tsrec.sid import SidSpace

SPACE = SidSpace((3, 4, 5))
CODES = np.array([[0, 1, 2], [1, 1, 1], [0, 1, 2], [2, 3, 4], [0, 1, 2], [1, 1, 1], [2, 0, 0], [1, 3, 2]])
POPULARITY = np.array([1, 0, 7, 2, 1, 3, 9, 0])
MODEL = random_model(SPACE, seed=5)
PASTS = [np.array([0, 3, 6]), np.array([7]), np.array([2, 2, 1, 5, 0, 4])]


def _recommender(exclude_seen: bool) -> Recommender:
    trie = Trie.build(CODES, POPULARITY)
    return Recommender(
        search=BeamSearch(MODEL, trie, SPACE, N_TEXT),
        trie=trie,
        codes=CODES,
        item_tokens=N_TEXT + np.array(SPACE.offsets) + CODES,
        bos_id=1,
        max_history=4,
        n_beams=3,
        exclude_seen=exclude_seen,
    )


def _expected(past: np.ndarray, hidden: set[int]) -> list[tuple[int, float]]:
    """All items by the score of their SID, those that share one by popularity, then by index."""
    prompt = np.concatenate([[1], *(N_TEXT + np.array(SPACE.offsets) + CODES[item] for item in past[-4:])])
    ranked = []
    for sid, score in zip(*enumerated(MODEL, prompt, CODES, SPACE), strict=True):
        sharing = np.flatnonzero((sid == CODES).all(axis=1)).tolist()
        ranked += [(item, score) for item in sorted(sharing, key=lambda i: (-POPULARITY[i], i)) if item not in hidden]
    return ranked


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("k", [5, 8, 20])  # the search widens to k beams, so five SIDs are searched in full
def test_items_equal_full_enumeration(k: int, exclude_seen: bool) -> None:
    found = _recommender(exclude_seen).recommend(PASTS, k)
    for past, (items, scores) in zip(PASTS, found, strict=True):
        expected = _expected(past, set(past.tolist()) if exclude_seen else set())[:k]
        assert items.tolist() == [item for item, _ in expected]
        np.testing.assert_allclose(scores, [score for _, score in expected], atol=1e-4)


def test_a_user_without_history_gets_a_list() -> None:
    ((items, _),) = _recommender(True).recommend([np.array([], dtype=np.int64)], 8)
    assert sorted(items.tolist()) == list(range(8))
