"""Ties, exports that run from new to old, duplicates."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import HEADER, Ingest, with_log
from tsrec.config import IngestConfig
from tsrec.config.ingest import InteractionColumns
from tsrec.data.data_quality import data_quality_lines
from tsrec.data.events import Events
from tsrec.data.ordering import find_duplicates, find_ties, sort_by_user_and_time
from tsrec.errors import DataError

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
    forward, names = sort_by_user_and_time(_events(rows), NAMES)
    backward, _ = sort_by_user_and_time(_events(rows[::-1]), NAMES)
    assert names.tolist() == ["a", "b", "c", "d"]
    expected = sorted(range(len(rows)), key=lambda row: (NAMES[rows[row][0]], rows[row][1], row))
    assert forward.item.tolist() == expected
    if len({time for _, time in rows}) > 1 and any(
        len({time for user, time in rows if user == one}) > 1 for one in range(4)
    ):  # without any change of time, nothing tells the direction
        assert (len(rows) - 1 - backward.item).tolist() == expected


def test_where_rows_follow_no_direction_ties_keep_raw_order() -> None:
    rows = [(0, 5), (0, 1), (0, 5), (0, 3), (0, 1), (0, 4), (1, 2), (1, 2)]
    ordered, _ = sort_by_user_and_time(_events(rows), NAMES[:2])
    assert ordered.item.tolist() == [6, 7, 1, 4, 3, 5, 0, 2]


def test_a_user_whose_rows_run_backward_among_others_that_do_not() -> None:
    rows = [(0, 3), (1, 1), (0, 2), (1, 1), (0, 2), (1, 2), (0, 1)]
    ordered, _ = sort_by_user_and_time(_events(rows), np.array(["a", "b"], dtype=object))
    assert ordered.item.tolist() == [6, 4, 2, 0, 1, 3, 5]


def test_a_newest_first_export_in_days(ingest: Ingest) -> None:
    log = HEADER + "u,a,2020-01-03\nu,c,2020-01-02\nu,b,2020-01-02\nu,a,2020-01-01\nv,b,2020-01-02\nv,a,2020-01-02\n"
    artifact = ingest(with_log(log))
    events = artifact.frame("interactions")
    assert events["item_id"].tolist() == ["a", "b", "c", "a", "a", "b"]
    assert artifact.counts["n_ties"] == 2


@given(ROWS, st.integers(1, 10))
def test_blocks_of_any_size_give_the_same_order(rows: list[tuple[int, int]], block: int) -> None:
    whole, _ = sort_by_user_and_time(_events(rows), NAMES)
    by_blocks, _ = sort_by_user_and_time(_events(rows), NAMES, block)
    for column in ("user", "item", "timestamp"):
        assert getattr(by_blocks, column).tolist() == getattr(whole, column).tolist()


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=25),
    st.integers(1, 30),
)
def test_duplicates_equal_a_plain_search(rows: list[tuple[int, int, int]], block: int) -> None:
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    users, items, times = (np.array([row[side] for row in rows]) for side in (0, 1, 2))
    nothing = np.zeros(len(rows))
    found = find_duplicates(Events(users, items, times, nothing, nothing), block)
    assert found.tolist() == [row in rows[:index] for index, row in enumerate(rows)]


REPEATED = HEADER + "u,b,7\nu,a,7\nu,c,9\nu,b,7\nu,c,8\nu,b,9\n"


@pytest.mark.parametrize(("duplicates", "items"), [("drop", "baccb"), ("keep", "babccb")])
def test_exact_duplicates_are_counted_and_dropped_or_kept(ingest: Ingest, duplicates: str, items: str) -> None:
    artifact = ingest(with_log(REPEATED), duplicates=duplicates)
    assert "".join(artifact.frame("interactions")["item_id"]) == items
    assert artifact.counts["n_duplicates"] == 1
    assert artifact.counts["n_ties"] == len(items) - 3


CLOCKS = "session,item_id,day,frame\n"


def _two_clocks(rows: list[tuple[str, str, object]]) -> str:
    """Events of one day, as (session, item, frame)."""
    return CLOCKS + "".join(f"{session},{item},2024-03-08,{frame}\n" for session, item, frame in rows)


MAPPED = {"user_id": "session", "timestamp": "day", "order": "frame"}


@pytest.mark.parametrize(
    "frames",
    [
        (719522, 100, 2_000, 30_000),
        ("1.5", "-2", "1", "1.25"),
        ("19:04:11", "7:04", "07:04:00.5", "10:00"),
        ("2024-03-08 19:00 UTC", "2024-03-08", "2024-03-08T00:00:01Z", "2024-03-08 01:00:00+00:00"),
    ],
)
def test_a_second_column_orders_events_of_one_time(ingest: Ingest, frames: tuple[object, ...]) -> None:
    rows = [("u", item, frame) for item, frame in zip("cabb", frames, strict=True)]
    for log in (rows, rows[::-1]):
        artifact = ingest(with_log(_two_clocks(log)), interaction_columns=MAPPED)
        assert artifact.frame("interactions")["item_id"].tolist() == ["a", "b", "b", "c"]
        assert (artifact.counts["n_ties"], artifact.counts["n_duplicates"]) == (0, 0)
        assert data_quality_lines(artifact) == []


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20),
    st.integers(1, 20),
)
def test_order_within_a_time_equals_a_plain_sort(rows: list[tuple[int, int, int]], block: int) -> None:
    orders = np.array([order for _, _, order in rows])
    events = replace(_events([row[:2] for row in rows]), order=orders)
    ordered, _ = sort_by_user_and_time(events, np.array(["a", "b"], dtype=object), block)
    keys = [rows[item] for item in ordered.item]
    assert keys == sorted(rows)
    assert find_ties(ordered).tolist() == [False, *(one == other for one, other in pairwise(keys))]


def test_rows_newest_first_are_known_by_the_second_column(ingest: Ingest) -> None:
    rows: list[tuple[str, str, object]] = [("u", "a", 9), ("u", "b", 5), ("u", "c", 5), ("u", "a", 1)]
    artifact = ingest(with_log(_two_clocks(rows)), interaction_columns=MAPPED)
    assert artifact.frame("interactions")["item_id"].tolist() == ["a", "c", "b", "a"]


def test_rows_without_an_order_are_left_out_and_odd_ones_refused(ingest: Ingest) -> None:
    rows: list[tuple[str, str, object]] = [("u", item, frame) for frame, item in enumerate("abcab")]
    files = with_log(_two_clocks([("u", "a", "NA"), *rows]))
    assert ingest(files, interaction_columns=MAPPED).counts["n_interactions_without_order"] == 1
    files = with_log(_two_clocks([*rows, ("u", "a", "late")]))
    with pytest.raises(DataError, match=r"row 6, field order: 'late' is not a number, an ISO date or a time of day"):
        ingest(files, interaction_columns=MAPPED)


def test_an_order_column_beside_the_order_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ingest\.order=rows needs no interaction_columns\.order"):
        IngestConfig(source="tables", order="rows", interaction_columns=InteractionColumns(order="frame"))


def test_many_ties_are_told_of_loudly(ingest: Ingest) -> None:
    rows: list[tuple[str, str, object]] = [("u", item, 0) for item in "abc"]
    mapped = {name: MAPPED[name] for name in ("user_id", "timestamp")}
    (line, *_) = data_quality_lines(
        ingest(with_log(_two_clocks(rows) + "u,a,2024-03-09,0\n"), interaction_columns=mapped)
    )
    assert line.startswith("warning: 2 of 4 interactions (50.0%) have the same user and time as another before them")
    assert "ingest.interaction_columns.order" in line


def test_a_few_ties_are_no_warning(ingest: Ingest) -> None:
    times = [*range(19), 18]
    log = HEADER + "".join(f"u,{'abc'[place % 3]},{time}\n" for place, time in enumerate(times))
    (line,) = data_quality_lines(ingest(with_log(log)))
    assert line.startswith("1 of 20 interactions (5.0%) have the same user and time as another")


@pytest.mark.parametrize(
    ("config", "question"),
    [
        ({}, "split by numbers that are no clock times, such as 0; is it one clock for all users?"),
        ({"order": "rows"}, "split by the number of their row; are they in order of time?"),
    ],
)
def test_a_split_by_time_of_numbers_that_are_no_clock_times_is_questioned(
    ingest: Ingest, config: dict[str, str], question: str
) -> None:
    log = HEADER + "".join(f"{'uv'[place % 2]},{'abc'[place % 3]},{place}\n" for place in range(40))
    files = with_log(log)
    (line,) = data_quality_lines(ingest(files, split="time", **config))
    assert line.startswith("warning: 40 of 40 interactions (100.0%) are ")
    assert question in line
    assert data_quality_lines(ingest(files, **config)) == []


def test_a_split_by_clock_times_is_not_questioned(ingest: Ingest) -> None:
    log = HEADER + "".join(f"{'uv'[place % 2]},{'abc'[place % 3]},{1_580_000_000 + place}\n" for place in range(40))
    assert data_quality_lines(ingest(with_log(log), split="time")) == []
