"""Time window, rating, k-core; leave-one-out and by time."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.conftest import HEADER, Ingest, with_log
from tsrec.data.data_quality import data_quality_lines
from tsrec.data.events import SPLITS, Events
from tsrec.data.filtering import k_core
from tsrec.data.splitting import by_time, leave_one_out

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


def _events(pairs: list[tuple[int, int]], times: list[int] | None = None) -> Events:
    users, items = (np.array([pair[side] for pair in pairs], dtype=np.int32) for side in (0, 1))
    stamps = np.array(times if times is not None else range(len(pairs)), dtype=np.int64)
    nothing = np.zeros(len(pairs), dtype=np.float32)
    return Events(users, items, stamps, nothing, nothing.astype(np.int8))


def _plain_k_core(pairs: list[tuple[int, int]], users: int, items: int) -> list[tuple[int, int]]:
    while True:
        by_user, by_item = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = [(u, i) for u, i in pairs if by_user[u] >= users and by_item[i] >= items]
        if kept == pairs:
            return kept
        pairs = kept


@given(PAIRS, st.integers(1, 4), st.integers(1, 4))
def test_k_core_equals_a_plain_one(pairs: list[tuple[int, int]], users: int, items: int) -> None:
    core = k_core(_events(pairs), users, items)
    assert list(zip(core.user.tolist(), core.item.tolist(), strict=True)) == _plain_k_core(pairs, users, items)


@given(PAIRS)
def test_leave_one_out_marks_the_last_two_events_of_long_enough_users(pairs: list[tuple[int, int]]) -> None:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    split, counts = leave_one_out(_events(pairs))
    short = 0
    for user in {u for u, _ in pairs}:
        marks = [SPLITS[s] for s, (u, _) in zip(split, pairs, strict=True) if u == user]
        short += len(marks) < 3
        last = ["valid", "test"] if len(marks) >= 3 else []
        assert marks == ["train"] * (len(marks) - len(last)) + last
    assert counts == {"n_users_too_short_to_split": short}


@given(st.sets(st.integers(0, 500), min_size=10, max_size=60))
def test_by_time_cuts_the_whole_log_at_80_and_90_percent(times: set[int]) -> None:
    split, _ = by_time(_events([(time % 5, 0) for time in times], list(times)))
    marks = [SPLITS[code] for _, code in sorted(zip(times, split, strict=True))]
    size = len(times)
    first, second = size * 8 // 10, size * 9 // 10
    assert marks == ["train"] * first + ["valid"] * (second - first) + ["test"] * (size - second)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.permutations(range(5)))
def test_by_time_parts_no_moment_and_asks_no_user_for_his_name(times: list[int], names: list[int]) -> None:
    split, _ = by_time(_events([(index % 5, 0) for index in range(len(times))], times))
    renamed, _ = by_time(_events([(names[index % 5], 0) for index in range(len(times))], times))
    assert split.tolist() == renamed.tolist()
    marks = {time: {SPLITS[code] for t, code in zip(times, split, strict=True) if t == time} for time in sorted(times)}
    assert all(len(found) == 1 for found in marks.values())
    order = [SPLITS.index(mark) for found in marks.values() for mark in found]
    assert order == sorted(order)
    assert set(order) == ({0, 1, 2} if len(marks) > 2 else {0})


RATED = "user_id,item_id,timestamp,rating\nu,a,1,5\nu,b,2,1\nu,c,3,\nu,a,4,4\nv,a,5,5\nu,a,6,5\nu,a,7,5\n"


def test_low_and_missing_ratings_are_dropped_and_counted(ingest: Ingest) -> None:
    artifact = ingest(with_log(RATED), min_rating=3)
    events = artifact.frame("interactions")
    assert artifact.counts["n_dropped_by_rating"] == 2
    assert events[["user_id", "item_id", "position"]].to_numpy().tolist() == [
        ["u", "a", 0],
        ["u", "a", 1],
        ["u", "a", 2],
        ["u", "a", 3],
        ["v", "a", 0],
    ]
    assert artifact.frame("items")["item_id"].tolist() == ["a", "b", "c"]


def test_k_core_drops_users_and_items_and_counts_them(ingest: Ingest) -> None:
    artifact = ingest(with_log(RATED), min_user_events=2, min_item_events=2)
    assert artifact.counts["n_dropped_by_k_core"] == 3
    assert artifact.counts["n_users_dropped_by_k_core"] == 1
    assert artifact.counts["n_items_dropped_by_k_core"] == 2
    assert artifact.frame("items")["item_id"].tolist() == ["a"]
    assert artifact.frame("interactions")["item_id"].tolist() == ["a"] * 4


@pytest.mark.parametrize("times_per_second", [1, 1000])
def test_the_time_window_takes_dates_or_raw_numbers(ingest: Ingest, times_per_second: int) -> None:
    days = [1_577_836_800 + 86_400 * day for day in range(6)]  # 1 to 6 January 2020
    rows = "".join(f"u,a,{time * times_per_second}\n" for time in days)
    files = with_log(f"user_id,item_id,timestamp\n{rows}")
    artifact = ingest(files, since="2020-01-02", until=str(days[5] * times_per_second))
    assert artifact.counts["n_dropped_by_time"] == 2
    assert artifact.frame("interactions")["timestamp"].tolist() == [t * times_per_second for t in days[1:5]]


def _log(events_of: dict[str, int]) -> str:
    """Events of each user, at a time of their own each."""
    users = [user for user, n in events_of.items() for _ in range(n)]
    return HEADER + "".join(f"{user},{'abc'[n % 3]},{n}\n" for n, user in enumerate(users))


PEOPLE = {f"u{number}": 4 for number in range(20)}


def test_an_id_of_many_events_is_named_and_can_be_left_out(ingest: Ingest) -> None:
    files = with_log(_log({**PEOPLE, "-1": 70, "guest": 50}))
    lines = [line for line in data_quality_lines(ingest(files)) if "one user" in line]
    assert lines[0] == (
        "warning: 70 of 200 interactions (35.0%) are of one user, '-1', 18 times the median's; if it is nobody's id "
        "(guests, a default), ingest.drop_users=['-1'] leaves it out"
    )
    assert "50 of 200 interactions (25.0%) are of one user, 'guest'" in lines[1]
    artifact = ingest(files, drop_users=[-1, "guest"])
    assert set(artifact.frame("interactions")["user_id"]) == set(PEOPLE)
    assert artifact.counts["n_dropped_by_user"] == 120
    assert data_quality_lines(artifact) == ["120 of 200 interactions (60.0%) go by ingest.drop_users"]


@pytest.mark.parametrize("events_of", [{"u": 50}, {"u": 50, "v": 40}, {**PEOPLE, "busy": 20}, {"0": 5, **PEOPLE}])
def test_one_of_few_users_and_a_busy_one_are_somebody(ingest: Ingest, events_of: dict[str, int]) -> None:
    assert data_quality_lines(ingest(with_log(_log(events_of)))) == []


def test_an_id_to_leave_out_that_is_no_users_is_told_of(ingest: Ingest) -> None:
    lines = data_quality_lines(ingest(with_log(_log(PEOPLE)), drop_users=["gast", "u1"]))
    assert "warning: 1 of 2 ids (50.0%) in ingest.drop_users are no user's; e.g. 'gast'" in lines
