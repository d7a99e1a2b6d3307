"""Sorts each user's events by time, whichever way the raw rows run; finds duplicates and ties."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tsrec.data.events import SPLITS, Events

_CLEARLY = 0.9  # share of all changes of time between a user's neighbouring rows that go one way


def sort_by_user_and_time(events: Events, user_ids: pd.Index) -> tuple[Events, pd.Index]:
    """Events by user id and time; users renumbered in order of their ids (U,), all of them.

    Events of one user and time stand by their order where a column gives it, by their split where it is given
    (history, train, valid, test), then in raw order; in reverse where the raw rows run from new to old (see
    `newest_first`).
    """
    by_id = pc.array_sort_indices(pa.array(user_ids, pa.string())).to_numpy()  # without a Python string for each
    rank = np.empty(len(user_ids), dtype=np.int32)
    rank[by_id] = np.arange(len(user_ids), dtype=np.int32)
    events = replace(events, user=rank[events.user])
    keys = [events.timestamp, events.user]  # lexsort: the last key counts first, and equal rows keep their order
    if events.order is not None:
        keys.insert(0, events.order)
    if events.split is not None:
        keys.insert(0, split_rank(events.split))
    backward = newest_first(events, len(user_ids))
    if backward.any():
        place = np.arange(len(events))
        keys.insert(0, np.where(backward[events.user], -place, place))
    return events.take(np.lexsort(keys)), user_ids[by_id]


def newest_first(events: Events, n_users: int) -> np.ndarray:
    """(U,) bool: users whose raw rows run from new to old, so that their ties have to be turned round.

    A user whose times only fall from row to row runs backward, one whose times only rise does not. Who shows neither
    (all events at one time) or both goes with the whole data: backward where 90 % of all changes fall.
    """
    by_user = np.argsort(events.user, kind="stable")
    owner, times = events.user[by_user], events.timestamp[by_user]
    later, earlier = times[1:] > times[:-1], times[1:] < times[:-1]
    if events.order is not None:
        order = events.order[by_user]
        tied = ~(later | earlier)
        later |= tied & (order[1:] > order[:-1])
        earlier |= tied & (order[1:] < order[:-1])
    del by_user  # of ten million events, every array counts
    same = owner[1:] == owner[:-1]
    rises = np.bincount(owner[1:][same & later], minlength=n_users)
    falls = np.bincount(owner[1:][same & earlier], minlength=n_users)
    mostly = falls.sum() > 0 and falls.sum() >= _CLEARLY * (falls.sum() + rises.sum())
    return (falls > 0) & (rises == 0) | (mostly & ((rises == 0) | (falls > 0)))


def split_rank(split: np.ndarray) -> np.ndarray:
    """(E,) int8: in which order a user's events of each split may stand: history 0, train 1, valid 2, test 3."""
    return (split + 1) % len(SPLITS)


def find_duplicates(events: Events) -> np.ndarray:
    """(E,) bool: events of the same user, item, time and order as an earlier row. Events come in order."""
    tied = find_ties(events)
    found = np.zeros(len(events), dtype=bool)
    involved = np.flatnonzero(tied | np.append(tied[1:], False))
    group = np.cumsum(~tied[involved])
    found[involved] = pd.DataFrame({"group": group, "item": events.item[involved]}).duplicated().to_numpy()
    return found


def find_ties(events: Events) -> np.ndarray:
    """(E,) bool: events of the same user, time and order as the row before. Events come in order."""
    tied = np.zeros(len(events), dtype=bool)
    tied[1:] = (events.user[1:] == events.user[:-1]) & (events.timestamp[1:] == events.timestamp[:-1])
    if events.order is not None:
        tied[1:] &= events.order[1:] == events.order[:-1]
    return tied
