"""Sorts each user's events by time, whichever way the raw rows run; finds duplicates and ties.

All of it goes by blocks of whole users, so that what is held beside the events does not grow with them.
"""

from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tsrec.data.events import SPLITS, Events

_BLOCK = 1_000_000  # events
_CLEARLY = 0.9  # share of all changes of time between a user's neighbouring rows that go one way


def sort_by_user_and_time(events: Events, user_ids: pd.Index, block: int = _BLOCK) -> tuple[Events, pd.Index]:
    """Events by user id and time; users renumbered in order of their ids (U,), all of them.

    Events of one user and time stand by their order where a column gives it, by their split where it is given
    (history, train, valid, test), then in raw order; in reverse where the raw rows run from new to old (see
    `_newest_first`).

    Args:
        events: in raw order. They are sorted where they are: a copy of them would count.
        user_ids: (U,) ids by the events' user codes.
        block: about how many events are looked at together.
    """
    by_id = pc.array_sort_indices(pa.array(user_ids, pa.string())).to_numpy()  # without a Python string for each
    rank = np.empty(len(user_ids), dtype=np.int32)
    rank[by_id] = np.arange(len(user_ids), dtype=np.int32)
    events.user[:] = rank[events.user]
    rows, blocks = _rows_by_user(events.user, len(user_ids), block)
    backward = _newest_first(events, rows, blocks, len(user_ids))
    for part in blocks:
        keys = [events.timestamp[rows[part]], events.user[rows[part]]]  # lexsort: the last key counts first
        if events.order is not None:
            keys.insert(0, events.order[rows[part]])
        if events.split is not None:
            keys.insert(0, split_rank(events.split[rows[part]]))
        if backward.any():
            keys.insert(0, np.where(backward[keys[-1]], -rows[part], rows[part]))
        rows[part] = rows[part][np.lexsort(keys)]  # equal rows keep their order
    for field in fields(events):
        if (column := getattr(events, field.name)) is not None:
            column[:] = column[rows]
    return events, user_ids[by_id]


def _rows_by_user(user: np.ndarray, n_users: int, block: int) -> tuple[np.ndarray, list[slice]]:
    """(E,) the raw rows by user, each user's in raw order, and blocks of them with all rows of their users."""
    from scipy import sparse  # costs time to load, and plans need none

    # The rows of a sparse matrix of users x events: it is made by counting, in linear time and without a sort's memory.
    events = np.arange(len(user), dtype=np.int32 if len(user) < 2**31 else np.int64)
    marks = np.ones(len(user), dtype=np.int8)
    by_user = sparse.coo_matrix((marks, (user, events)), shape=(n_users, len(user))).tocsr()
    first = by_user.indptr[:-1]  # (U,) where each user's events begin
    starts = first[np.flatnonzero(np.diff(first // block, prepend=-1))].tolist()
    return by_user.indices, [slice(*ends) for ends in pairwise([*starts, len(user)]) if ends[0] < ends[1]]


def _newest_first(events: Events, rows: np.ndarray, blocks: list[slice], n_users: int) -> np.ndarray:
    """(U,) bool: users whose raw rows run from new to old, so that their ties have to be turned round.

    A user whose times only fall from row to row runs backward, one whose times only rise does not. Who shows neither
    (all events at one time) or both goes with the whole data: backward where 90 % of all changes fall.
    """
    rises, falls = np.zeros(n_users, dtype=np.int64), np.zeros(n_users, dtype=np.int64)
    for part in blocks:
        owner, times = events.user[rows[part]], events.timestamp[rows[part]]
        later, earlier = times[1:] > times[:-1], times[1:] < times[:-1]
        if events.order is not None:
            order = events.order[rows[part]]
            tied = ~(later | earlier)
            later |= tied & (order[1:] > order[:-1])
            earlier |= tied & (order[1:] < order[:-1])
        same = owner[1:] == owner[:-1]
        users, place = slice(owner[0], owner[-1] + 1), owner[1:] - owner[0]
        for count, goes in ((rises, later), (falls, earlier)):
            count[users] = np.bincount(place[same & goes], minlength=users.stop - users.start)
    mostly = falls.sum() > 0 and falls.sum() >= _CLEARLY * (falls.sum() + rises.sum())
    return (falls > 0) & (rises == 0) | (mostly & ((rises == 0) | (falls > 0)))


def split_rank(split: np.ndarray) -> np.ndarray:
    """(E,) int8: in which order a user's events of each split may stand: history 0, train 1, valid 2, test 3."""
    return (split + 1) % len(SPLITS)


def find_duplicates(events: Events, block: int = _BLOCK) -> np.ndarray:
    """(E,) bool: events of the same user, item, time and order as an earlier row. Events come in order."""
    tied = find_ties(events)
    found = np.zeros(len(events), dtype=bool)
    for start, stop in _between_ties(tied, block):
        part = tied[start:stop]
        involved = np.flatnonzero(part | np.append(part[1:], False))
        group = np.cumsum(~part[involved])
        item = events.item[start + involved]
        found[start + involved] = pd.DataFrame({"group": group, "item": item}).duplicated().to_numpy()
    return found


def _between_ties(tied: np.ndarray, block: int) -> Iterator[tuple[int, int]]:
    """Start and stop of blocks of about `block` rows, which part no row from one that it is tied to."""
    start = 0
    while start < len(tied):
        stop = min(start + block, len(tied))
        while stop < len(tied) and tied[stop]:
            stop += 1
        yield start, stop
        start = stop


def find_ties(events: Events) -> np.ndarray:
    """(E,) bool: events of the same user, time and order as the row before. Events come in order."""
    tied = np.zeros(len(events), dtype=bool)
    tied[1:] = (events.user[1:] == events.user[:-1]) & (events.timestamp[1:] == events.timestamp[:-1])
    if events.order is not None:
        tied[1:] &= events.order[1:] == events.order[:-1]
    return tied
