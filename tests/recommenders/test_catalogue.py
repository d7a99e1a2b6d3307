"""What the catalogue counts: all train events, and the newest of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recommenders.conftest import catalogue_of, histories_of, item_ids
from tsrec.columns import Split
from tsrec.recommenders.catalogue import Catalogue

T, V, X, H = (split.value for split in (Split.TRAIN, Split.VALID, Split.TEST, Split.HISTORY))
EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=40)


def _counted(events: list[tuple[int, int]]) -> Catalogue:
    items, times = np.array(events, dtype=np.int64).reshape(-1, 2).T
    return Catalogue.from_events(item_ids(5).to_numpy(dtype=object), items, times)


@given(EVENTS)
def test_recent_events_as_their_description_reads(events: list[tuple[int, int]]) -> None:
    catalogue = _counted(events)
    expected = np.zeros(5)
    for item, time in events:
        newer = sum(other > time for _, other in events) / len(events)
        expected[item] += np.exp(-newer / 0.05)
    np.testing.assert_allclose(catalogue.recent_counts, expected, atol=1e-9)
    assert catalogue.train_counts.tolist() == [sum(item == mine for item, _ in events) for mine in range(5)]


@given(EVENTS, st.integers(1, 1000), st.integers(-(10**9), 10**9))
def test_no_unit_of_time_matters(events: list[tuple[int, int]], unit: int, start: int) -> None:
    moved = _counted([(item, start + unit * time) for item, time in events])
    np.testing.assert_array_equal(moved.popularity(), _counted(events).popularity())


def test_popularity_by_hand() -> None:
    catalogue = _counted([(0, 1)] * 95 + [(1, 2)] * 5)  # 5 of 100 are newer than item 0's
    popularity = catalogue.popularity()
    assert popularity.dtype == np.float32
    np.testing.assert_allclose(popularity[0], np.log1p([95, 95 / np.e]) / 4, rtol=1e-6)
    np.testing.assert_allclose(popularity[1], np.log1p([5, 5]) / 4, rtol=1e-6)
    assert not popularity[2:].any()
    without = catalogue.popularity(recent=False)
    assert without[:, 0].tolist() == popularity[:, 0].tolist() and not without[:, 1].any()


def test_only_train_events_count() -> None:
    catalogue = catalogue_of(histories_of({"a": [(0, T), (1, T), (2, V), (2, X)], "b": [(3, H), (1, T)]}, 4), 4)
    assert catalogue.train_counts.tolist() == [1, 2, 0, 0]
    assert catalogue.recent_counts[1] == pytest.approx(2)  # nothing that counts is newer
    assert not catalogue.recent_counts[2:].any()
