"""Filters of interactions: dropped users, time window, rating threshold, k-core; finds users with too many events."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tsrec.config import IngestConfig
from tsrec.data.events import Events
from tsrec.data.timestamps import Clock, parse_time_limit

_LARGE_SHARE = 0.05  # of all events, for one user
_TIMES_THE_MEDIAN = 5  # so that one of few users, or a busy one, is nothing odd


def without_users(events: Events, user_ids: pd.Index, dropped: Sequence[str]) -> Events:
    """The events of all users but the `dropped` ones, by their ids; `user_ids` (U,) are those of the users' codes."""
    return events.take(~user_ids.isin(list(dropped))[events.user]) if dropped else events


def overactive_users(events: Events) -> list[tuple[int, int, float]]:
    """Users with so many events that they may be no person (guests, a default): code, events, times the median's."""
    n_events = np.bincount(events.user)
    median = float(np.median(n_events[n_events > 0])) if len(events) else 0.0
    large = (n_events > _LARGE_SHARE * len(events)) & (n_events > _TIMES_THE_MEDIAN * median)
    return [(int(user), int(n_events[user]), n_events[user] / median) for user in np.flatnonzero(large)]


def filter_events(events: Events, clock: Clock, config: IngestConfig) -> tuple[Events, dict[str, int]]:
    """Apply the time window, then the rating threshold; returns what was dropped by each."""
    counts = {}
    keep = np.ones(len(events), dtype=bool)
    if config.since is not None:
        keep &= events.timestamp >= parse_time_limit(config.since, "since", clock)
    if config.until is not None:
        keep &= events.timestamp < parse_time_limit(config.until, "until", clock)
    counts["n_dropped_by_time"] = int((~keep).sum())
    events = events.take(keep)
    if config.min_rating is not None and events.rating is not None:
        keep = events.rating >= config.min_rating
        counts["n_dropped_by_rating"] = int((~keep).sum())
        events = replace(events, rating=None).take(keep)  # nothing asks for ratings any more
    return events, counts


def k_core(events: Events, min_user_events: int, min_item_events: int) -> Events:
    """Drop users and items with too few events until none is left that has too few."""
    n_of_user, n_of_item = np.bincount(events.user), np.bincount(events.item)
    keep = np.ones(len(events), dtype=bool)
    while True:
        drop = keep & ((n_of_user < min_user_events)[events.user] | (n_of_item < min_item_events)[events.item])
        if not drop.any():
            return events.take(keep)
        keep &= ~drop
        n_of_user -= np.bincount(events.user[drop], minlength=len(n_of_user))
        n_of_item -= np.bincount(events.item[drop], minlength=len(n_of_item))


def renumber(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes without gaps, in the order of the old ones: which old codes there are, and (E,) int32 the new ones."""
    present = np.bincount(codes) > 0
    return np.flatnonzero(present), (np.cumsum(present, dtype=np.int32) - 1)[codes]
