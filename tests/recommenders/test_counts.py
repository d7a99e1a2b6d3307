"""Popularity, transitions and item-kNN: by hand, against double loops, and against published reruns."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recommenders.conftest import catalogue_of, fitted, histories_of, scores_of
from tsrec.columns import Split
from tsrec.histories import Histories
from tsrec.recommenders.ranking import Filter, fill_with_popular

T, V, X, H = (split.value for split in (Split.TRAIN, Split.VALID, Split.TEST, Split.HISTORY))

# HR@10 and NDCG@10 on test, as the data's own README gives them.
PUBLISHED = {
    ("industrial", "popular", False): (0.0527, 0.0419),
    ("industrial", "transitions", False): (0.1332, 0.0969),
    ("industrial", "transitions", True): (0.1132, 0.0863),
    ("beauty", "popular", False): (0.0114, 0.0053),
    ("beauty", "transitions", False): (0.0691, 0.0404),
    ("beauty", "transitions", True): (0.0817, 0.0517),
}


def reference_transitions(histories: Histories, n_items: int, event: int) -> np.ndarray:
    """Transitions as its description reads, in plain loops; unscored items stay 0."""
    counts = np.zeros((n_items, n_items))
    popularity = np.zeros(n_items)
    for user in range(histories.n_users):
        rows = range(int(histories.offsets[user]), int(histories.offsets[user + 1]))
        sequence = [int(histories.items[row]) for row in rows if histories.splits[row] == T]
        for place, source in enumerate(sequence):
            popularity[source] += 1
            for distance in (1, 2, 3):
                if place + distance < len(sequence):
                    counts[source, sequence[place + distance]] += 1 / distance
    scores = np.zeros(n_items)
    for recency, item in enumerate(reversed(histories.history_of(event)[-10:]), start=1):
        scores += counts[item] / np.sqrt(max(popularity[item], 1)) / recency
        scores[item] += 0.5 / recency
    return scores


def test_popular_counts_train_events_alone() -> None:
    histories = histories_of({"a": [(0, T), (1, T), (2, V), (2, X)], "b": [(3, H), (1, T), (2, X)]}, 4)
    scores = scores_of(fitted("popular", histories, 4), histories, histories.target_events(Split.TEST), 4)
    assert scores.tolist() == [[1, 2, 0, 0], [1, 2, 0, 0]]


def test_transitions_by_hand() -> None:
    # 0 -> 1 (distance 1) and 0 -> 2 (distance 2), 1 -> 2; each source seen once but 0, which is seen twice.
    histories = histories_of({"a": [(0, T), (1, T), (2, T)], "b": [(0, T), (3, X)]}, 5)
    scores = scores_of(fitted("transitions", histories, 5), histories, histories.target_events(Split.TEST), 5)[0]
    assert scores[:3] == pytest.approx([0.5, 1 / np.sqrt(2), 0.5 / np.sqrt(2)])
    assert scores[3:].tolist() == [0, 0]


def test_items_without_a_transition_follow_by_popularity() -> None:
    users = {"a": [(0, T), (1, T)], "b": [(3, T)], "c": [(4, T)], "d": [(4, T)], "e": [(0, T), (2, X)]}
    histories = histories_of(users, 5)
    pasts, allow = [histories.history_of(int(histories.target_events(Split.TEST)[0]))], Filter(5)
    ranked = fitted("transitions", histories, 5).rank(pasts, 5, allow)
    assert ranked.items.tolist() == [[1, 0, -1, -1, -1]]
    filled = fill_with_popular(ranked, catalogue_of(histories, 5).by_popularity(), allow)
    assert filled.items.tolist() == [[1, 0, 4, 3, 2]]
    assert np.isfinite(filled.scores).tolist() == [[True, True, False, False, False]]


def test_item_knn_is_the_cosine_of_users() -> None:
    histories = histories_of({"a": [(0, T), (1, T), (1, T)], "b": [(0, T), (2, T)], "c": [(0, T), (3, X)]}, 4)
    scores = scores_of(fitted("item-knn", histories, 4), histories, histories.target_events(Split.TEST), 4)[0]
    assert scores == pytest.approx([0, 1 / np.sqrt(3), 1 / np.sqrt(3), 0])


@st.composite
def user_events(draw: st.DrawFn) -> dict[str, list[tuple[int, str]]]:
    event = st.tuples(st.integers(0, 7), st.sampled_from([T, T, T, V, H]))
    sequences = draw(st.lists(st.lists(event, min_size=1, max_size=14), min_size=1, max_size=6))
    return {f"u{user}": [*events, (0, X)] for user, events in enumerate(sequences)}


@settings(max_examples=60, deadline=None)
@given(user_events())
def test_transitions_equal_the_double_loop(users: dict[str, list[tuple[int, str]]]) -> None:
    histories = histories_of(users, 8)
    events = histories.target_events(Split.TEST)
    scores = scores_of(fitted("transitions", histories, 8), histories, events, 8)
    expected = np.stack([reference_transitions(histories, 8, int(event)) for event in events])
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("method", ["popular", "transitions", "item-knn"])
def test_nothing_after_train_is_learned(method: str) -> None:
    known = {"a": [(0, T), (1, T), (2, T)], "b": [(0, T), (1, V)]}
    later = {"a": [*known["a"], (5, V), (6, X)], "b": [*known["b"], (7, X)]}
    before, after = histories_of(known, 8), histories_of(later, 8)
    old = scores_of(fitted(method, before, 8), before, before.target_events(Split.VALID), 8)
    new = scores_of(fitted(method, after, 8), after, after.target_events(Split.VALID)[-1:], 8)
    assert old.tolist() == new.tolist()


def test_published_figures(benchmark: tuple[str, Histories, int, list[str]]) -> None:
    """The published figures are those of plain dictionaries, whose ties stand in order of first sight.

    The stage breaks ties by item index instead, which moves HR@10 by up to 0.002 here; so the plain lists are held to
    the published figures, and our scores to the plain ones. 1e-4: one figure is off by one in its last digit.
    """
    name, histories, n_items, file_order = benchmark
    events, member = histories.target_events(Split.TEST), fitted("transitions", histories, n_items)
    popularity, moves = _count_with_dictionaries(histories, file_order)
    top = [item for item, _ in popularity.most_common()]
    ranks: dict[tuple[str, bool], list[int]] = {}
    for number, event in enumerate(events):
        target, history = int(histories.items[event]), histories.history_of(int(event)).tolist()
        scores = _score_with_dictionaries(popularity, moves, history[-10:])
        if number % 10 == 0:
            row = scores_of(member, histories, np.array([event]), n_items)[0]
            np.testing.assert_allclose(row[list(scores)], list(scores.values()), rtol=1e-4)
            assert (row > 0).sum() == len(scores)
        best = sorted(scores, key=lambda item: -scores[item])
        best += [item for item in top[:100] if item not in scores]
        new = [item for item in best if item not in set(history)]
        for key, ranked in ((("popular", False), top), (("transitions", False), best), (("transitions", True), new)):
            ranks.setdefault(key, []).append(ranked[:10].index(target) if target in ranked[:10] else 10)
    for (method, exclude_seen), places in ranks.items():
        published = PUBLISHED[name, method, exclude_seen]
        assert _metrics(np.array(places)) == pytest.approx(published, abs=1.01e-4), (method, exclude_seen)
    counted = scores_of(fitted("popular", histories, n_items), histories, events[:1], n_items)[0]
    assert {item: int(counted[item]) for item in np.flatnonzero(counted)} == popularity


def _count_with_dictionaries(
    histories: Histories, user_order: list[str]
) -> tuple[Counter[int], dict[int, dict[int, float]]]:
    popularity: Counter[int] = Counter()
    moves: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    items, splits = histories.items.tolist(), histories.splits.tolist()
    places = dict(zip(histories.user_ids, pairwise(histories.offsets.tolist()), strict=True))
    for start, stop in (places[user] for user in user_order):
        sequence = [items[row] for row in range(start, stop) if splits[row] == T]
        popularity.update(sequence)
        for place, source in enumerate(sequence):
            for distance, target in enumerate(sequence[place + 1 : place + 4], start=1):
                moves[source][target] += 1 / distance
    return popularity, moves


def _score_with_dictionaries(
    popularity: Counter[int], moves: dict[int, dict[int, float]], recent: list[int]
) -> dict[int, float]:
    scores: dict[int, float] = defaultdict(float)
    for recency, item in enumerate(reversed(recent), start=1):
        for target, weight in moves.get(item, {}).items():
            scores[target] += weight / (recency * math.sqrt(max(popularity[item], 1)))
        scores[item] += 0.5 / recency
    return scores


def _metrics(ranks: np.ndarray) -> np.ndarray:
    """HR@10 and NDCG@10 of ranks from 0."""
    hits = ranks < 10
    return np.array([hits.mean(), (hits / np.log2(ranks + 2.0)).mean()])
