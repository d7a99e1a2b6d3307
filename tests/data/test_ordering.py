"""Ties, exports that run from new to old, duplicates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import ITEMS, Ingest
from tsrec.data.events import Events
from tsrec.data.ordering import find_duplicates, in_order

HEADER = "user_id,item_id,timestamp\n"
ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30)  # user, time


def _events(rows: list[tuple[int, int]]) -> Events:
    """Raw events in the order of the list; each one's item is its number."""
    users, times = (np.array([row[side] for row in rows]) for side in (0, 1))
    nothing = np.zeros(len(rows), dtype=np.float32)
    items = np.arange(len(rows), dtype=np.int32)
    return Events(users.astype(np.int32), items, times, nothing, np.full(len(rows), -1, dtype=np.int8))


NAMES = np.array(["d", "b", "c", "a"], dtype=object)


@given(ROWS)
def test_a_log_comes_out_alike_from_old_to_new_and_turned_round(rows: list[tuple[int, int]]) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    forward, names = in_order(_events(rows), NAMES)
    backward, _ = in_order(_events(rows[::-1]), NAMES)
    assert names.tolist() == ["a", "b", "c", "d"]
    expected = sorted(range(len(rows)), key=lambda row: (NAMES[rows[row][0]], rows[row][1], row))
    assert forward.item.tolist() == expected
    if len({time for _, time in rows}) > 1 and any(
        len({time for user, time in rows if user == one}) > 1 for one in range(4)
    ):  # without any change of time, nothing tells the direction
        assert (len(rows) - 1 - backward.item).tolist() == expected


def test_where_rows_follow_no_direction_ties_keep_raw_order() -> None:
    rows = [(0, 5), (0, 1), (0, 5), (0, 3), (0, 1), (0, 4), (1, 2), (1, 2)]
    ordered, _ = in_order(_events(rows), NAMES[:2])
    assert ordered.item.tolist() == [6, 7, 1, 4, 3, 5, 0, 2]


def test_a_user_whose_rows_run_backward_among_others_that_do_not() -> None:
    rows = [(0, 3), (1, 1), (0, 2), (1, 1), (0, 2), (1, 2), (0, 1)]
    ordered, _ = in_order(_events(rows), np.array(["a", "b"], dtype=object))
    assert ordered.item.tolist() == [6, 4, 2, 0, 1, 3, 5]


def test_a_newest_first_export_in_days(ingest: Ingest) -> None:
    log = HEADER + "u,a,2020-01-03\nu,c,2020-01-02\nu,b,2020-01-02\nu,a,2020-01-01\nv,b,2020-01-02\nv,a,2020-01-02\n"
    artifact = ingest({"items.csv": ITEMS, "interactions.csv": log})
    events = artifact.frame("interactions")
    assert events["item_id"].tolist() == ["a", "b", "c", "a", "a", "b"]
    assert artifact.counts["n_ties"] == 2


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=25))
def test_duplicates_equal_a_plain_search(rows: list[tuple[int, int, int]]) -> None:
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    users, items, times = (np.array([row[side] for row in rows]) for side in (0, 1, 2))
    nothing = np.zeros(len(rows))
    found = find_duplicates(Events(users, items, times, nothing, nothing))
    assert found.tolist() == [row in rows[:index] for index, row in enumerate(rows)]


REPEATED = HEADER + "u,b,7\nu,a,7\nu,c,9\nu,b,7\nu,c,8\nu,b,9\n"


@pytest.mark.parametrize(("duplicates", "items"), [("drop", "baccb"), ("keep", "babccb")])
def test_exact_duplicates_are_counted_and_dropped_or_kept(ingest: Ingest, duplicates: str, items: str) -> None:
    artifact = ingest({"items.csv": ITEMS, "interactions.csv": REPEATED}, duplicates=duplicates)
    assert "".join(artifact.frame("interactions")["item_id"]) == items
    assert artifact.counts["n_duplicates"] == 1
    assert artifact.counts["n_ties"] == len(items) - 3
